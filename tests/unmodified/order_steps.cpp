// SPDX-License-Identifier: BSL-1.0
// order-steps DIRECTORY CALLS SCENARIO...: the steps of qemu-order. The program starts QEMU for
// each scenario, plugs and unplugs devices over QMP, and prints what the object CALLS
// (order_calls.cpp) logged. The program runs in a booted kernel and on the simulator.
//
// SCENARIO is QEMU/WAY/STEPS/DEVICES. The file DIRECTORY/QEMU/words has the words that start QEMU,
// one a line; an "@" stands for DIRECTORY/QEMU. With "+strace" behind QEMU, strace traces it
// (DIRECTORY/strace/words), unless the variable ORDER_NO_STRACE is set. WAY is legacy or iommufd.
// DEVICES are names of PCI devices with a plus between two of them. STEPS is one of
//   plug     plug the first device and unplug it, twice
//   enable   plug the first device, enable its memory, INTx, MSI and MSI-X, reset the VM, unplug it
//   pair     plug two devices, unplug the first and then the second; again in the other order
//   quit     plug all devices, then quit
// The scenario "topology" runs DIRECTORY/topology/words, whose output is the topology of the host.
// Lines that are printed: ORDER-BEGIN SCENARIO, ORDER LINE, ORDER-QEMU TEXT (what QEMU said),
// ORDER-STRACE LINE (an ioctl of VFIO or iommufd that strace saw), ORDER-END SCENARIO ok|REASON.
// Every wait has an end (ORDER_LIMIT, seconds; 120).
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using clock_type = std::chrono::steady_clock;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

int limit() {
  const char* const text = std::getenv("ORDER_LIMIT");
  return text ? std::atoi(text) : 120;
}

// A QEMU that is controlled over its standard input and output.
class qemu {
 public:
  qemu(std::vector<std::string> words, const std::string& object, std::string work)
      : work_(std::move(work)) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      const int errors = ::open(errors_file().c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::dup2(errors, 2);
      ::close(errors);
      std::string preload = object;
      if (const char* const others = std::getenv("LD_PRELOAD"))
        preload += std::string(":") + others;
      ::setenv("LD_PRELOAD", preload.c_str(), 1);
      ::setenv("ORDER_CALLS", calls_file().c_str(), 1);
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    to_ = in[1];
    from_ = out[0];
  }
  qemu(const qemu&) = delete;
  qemu& operator=(const qemu&) = delete;
  ~qemu() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(to_);
    ::close(from_);
  }

  [[nodiscard]] std::string calls_file() const { return work_ + "/calls"; }
  [[nodiscard]] std::string errors_file() const { return work_ + "/errors"; }

  // A line of QEMU that has this text. Events before it are kept, and an error throws.
  std::string wait_for(const std::string& text) {
    for (auto& got : events_)
      if (got.find(text) != std::string::npos) return std::exchange(got, "");
    for (;;) {
      const std::string got = next_line();
      if (got.find(text) != std::string::npos) return got;
      if (got.find("\"event\"") != std::string::npos) events_.push_back(got);
      if (got.find("\"error\"") != std::string::npos) throw std::runtime_error(got);
    }
  }
  std::string call(const std::string& command, const std::string& arguments = "") {
    std::string text = "{\"execute\": \"" + command + "\"";
    if (!arguments.empty()) text += ", \"arguments\": {" + arguments + "}";
    text += "}\n";
    if (::write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw std::runtime_error("QEMU is gone");
    return wait_for("\"return\"");
  }
  void quit() {
    call("quit");
    const auto end = clock_type::now() + std::chrono::seconds(limit());
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (clock_type::now() > end) throw std::runtime_error("QEMU does not end after quit");
      ::usleep(10000);
    }
    pid_ = -1;
    if (status != 0) throw std::runtime_error("QEMU ended with " + std::to_string(status));
  }

 private:
  std::string next_line() {
    const auto end = clock_type::now() + std::chrono::seconds(limit());
    std::size_t at;
    while ((at = buffer_.find('\n')) == std::string::npos) {
      pollfd p{from_, POLLIN, 0};
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(end - clock_type::now()).count();
      if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0)
        throw std::runtime_error("no answer of QEMU in " + std::to_string(limit()) + " s");
      char part[4096];
      const ssize_t n = ::read(from_, part, sizeof part);
      if (n <= 0) throw std::runtime_error("QEMU ended");
      buffer_.append(part, static_cast<std::size_t>(n));
    }
    std::string got = buffer_.substr(0, at);
    buffer_.erase(0, at + 1);
    return got;
  }

  std::string work_;
  std::string buffer_;
  std::vector<std::string> events_;
  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
};

// The steps of one scenario. Each writes a line into the log of the calls, so that differences have
// a place.
class scenario {
 public:
  scenario(qemu& q, const std::string& way, std::vector<std::string> devices)
      : q_(q), iommufd_(way == "iommufd"), devices_(std::move(devices)) {}

  void run(const std::string& steps) {
    q_.wait_for("\"QMP\"");
    q_.call("qmp_capabilities");
    if (steps == "plug") {
      for (int cycle = 0; cycle < 2; ++cycle) {
        plug(0);
        unplug(0);
      }
    } else if (steps == "enable") {
      plug(0);
      enable();
      step("reset");
      q_.call("system_reset");
      unplug(0, true);
    } else if (steps == "pair") {
      for (unsigned cycle = 0; cycle < 2; ++cycle) {
        plug(0);
        plug(1);
        unplug(cycle);
        unplug(1 - cycle);
      }
    } else if (steps == "quit") {
      for (unsigned number = 0; number < devices_.size(); ++number) plug(number);
    } else {
      throw std::runtime_error("there are no steps " + steps);
    }
    step("quit");
    q_.quit();
  }

 private:
  void step(const std::string& what) {
    std::ofstream(q_.calls_file(), std::ios::app) << "step " << what << std::endl;
  }
  void plug(unsigned number) {
    const std::string n = std::to_string(number);
    step("plug " + devices_.at(number));
    q_.call("device_add", R"("driver": "vfio-pci", "id": "dev)" + n + R"(", "bus": "rp)" + n +
                              R"(", "host": ")" + devices_.at(number) + '"' +
                              (iommufd_ ? R"(, "iommufd": "iommufd0")" : ""));
  }
  void unplug(unsigned number, bool powered = false) {
    const std::string name = "\"dev" + std::to_string(number) + "\"";
    step("unplug " + devices_.at(number));
    q_.call("device_del", "\"id\": " + name);
    if (powered) power(false);
    q_.wait_for("\"DEVICE_DELETED\", \"data\": {\"device\": " + name);
    // QEMU frees the device a moment later, in its main loop.
    for (int i = 0; i < 3; ++i) q_.call("query-status");
    ::usleep(300000);
    q_.call("query-status");
  }

  // Configuration space, through the ports of the VM that the monitor writes to.
  std::string monitor(const std::string& text) {
    return q_.call("human-monitor-command", "\"command-line\": \"" + text + "\"");
  }
  void choose(unsigned bus, unsigned slot, unsigned reg) {
    char text[64];
    (void)std::snprintf(text, sizeof text, "o /w 0xcf8 0x%x",
                        0x80000000U | bus << 16 | slot << 11 | (reg & ~3U));
    (void)monitor(text);
  }
  unsigned read(unsigned bus, unsigned slot, unsigned reg) {
    choose(bus, slot, reg);
    const std::string answer = monitor("i /w 0xcfc");
    const std::size_t at = answer.find("= 0x");
    if (at == std::string::npos) throw std::runtime_error("no register: " + answer);
    return static_cast<unsigned>(std::stoul(answer.substr(at + 2), nullptr, 16));
  }
  void write(unsigned bus, unsigned slot, unsigned reg, unsigned value) {
    choose(bus, slot, reg);
    char text[64];
    (void)std::snprintf(text, sizeof text, "o /w 0xcfc 0x%x", value);
    (void)monitor(text);
  }

  // The slot of a root port has power, or none. Without power its device does not answer.
  void power(bool on) {
    step(on ? "power on" : "power off");
    for (unsigned at = read(0, port, 0x34) & 0xfc; at != 0;) {
      const unsigned head = read(0, port, at);
      // Slot control: the power indicator and the power controller.
      if ((head & 0xff) == 0x10) write(0, port, at + 0x18, on ? 0x01c0 : 0x07c0);
      at = head >> 8 & 0xfc;
    }
  }

  // What a guest does: BARs, bus mastering, INTx off and on, MSI or MSI-X on and off.
  void enable() {
    power(true);
    step("bridge");
    write(0, port, 0x18, 0x00010100);
    write(0, port, 0x20, 0xcff0c000);
    write(0, port, 0x04, 0x00000007);
    step("bars");
    unsigned next = 0xc0000000;
    for (unsigned reg = 0x10; reg <= 0x24; reg += 4) {
      write(1, 0, reg, 0xffffffff);
      const unsigned mask = read(1, 0, reg);
      // Ports and holes stay as they are, and so does what has no room.
      if (mask == 0 || (mask & 1) != 0 || (~(mask & ~15U) + 1) > 0x1000000) {
        write(1, 0, reg, 0);
      } else {
        write(1, 0, reg, next);
        next += 0x1000000;
        if ((mask & 6) == 4) write(1, 0, reg += 4, 0);
      }
    }
    step("memory");
    write(1, 0, 0x04, 0x00000006);
    step("INTx off");
    write(1, 0, 0x04, 0x00000406);
    step("INTx on");
    write(1, 0, 0x04, 0x00000006);
    for (unsigned at = read(1, 0, 0x34) & 0xfc; at != 0;) {
      if (at == 0xfc) throw std::runtime_error("the device does not answer");
      const unsigned head = read(1, 0, at);
      if ((head & 0xff) == 0x05) {
        step("MSI on");
        const bool wide = (head >> 23 & 1) != 0;
        write(1, 0, at + 4, 0xfee00000);
        if (wide) write(1, 0, at + 8, 0);
        write(1, 0, at + (wide ? 12 : 8), 0x4041);
        write(1, 0, at, (head & ~0x00700000U) | 0x00010000);
        step("MSI off");
        write(1, 0, at, head & ~0x00710000U);
        if (const unsigned most = head >> 17 & 7; most != 0) {
          step("MSI on, all vectors");
          write(1, 0, at, (head & ~0x00700000U) | most << 20 | 0x00010000);
          step("MSI off");
          write(1, 0, at, head & ~0x00710000U);
        }
      } else if ((head & 0xff) == 0x11) {
        step("MSI-X on");
        write(1, 0, at, (head & ~0x40000000U) | 0x80000000U);
        step("MSI-X masked");
        write(1, 0, at, head | 0xc0000000U);
        step("MSI-X off");
        write(1, 0, at, head & ~0xc0000000U);
      }
      at = head >> 8 & 0xfc;
    }
    step("memory off");
    write(1, 0, 0x04, 0x00000000);
    step("memory on");
    write(1, 0, 0x04, 0x00000006);
  }

  static constexpr unsigned port = 0x10;
  qemu& q_;
  bool iommufd_;
  std::vector<std::string> devices_;
};

// Prints the lines of a file that have a text.
void print_file(const std::string& path, const char* head, const std::string& with = "") {
  std::ifstream in(path);
  for (std::string text; std::getline(in, text);)
    if (text.find(with) != std::string::npos) std::printf("%s %s\n", head, text.c_str());
}

std::vector<std::string> words_of(const std::string& directory) {
  std::vector<std::string> words;
  std::ifstream in(directory + "/words");
  for (std::string word; std::getline(in, word);) {
    replace(word, "@", directory);
    words.push_back(word);
  }
  return words;
}

std::string print_topology(const std::string& directory) {
  std::string command;
  for (const std::string& word : words_of(directory)) command += word + " ";
  return std::system(command.c_str()) == 0 ? "ok" : "kvm-vfio-sim topology failed";
}

std::string run(const std::string& directory, const std::string& object, const std::string& name,
                const std::string& work) {
  if (name == "topology") return print_topology(directory + "/topology");
  const std::vector<std::string> parts = split(name, '/');
  if (parts.size() != 4) return "a scenario has four parts";
  const std::string suffix = "+strace";
  const bool traced = parts[0].ends_with(suffix);
  const std::string qemu_name = parts[0].substr(0, parts[0].size() - (traced ? suffix.size() : 0));
  std::vector<std::string> words;
  if (traced && !std::getenv("ORDER_NO_STRACE")) {
    words = words_of(directory + "/strace");
    words.push_back(work + "/strace");
  }
  for (const std::string& word : words_of(directory + "/" + qemu_name)) words.push_back(word);
  if (words.empty()) return "there is no QEMU " + parts[0];
  for (const char* const word :
       {"-accel", "kvm", "-S", "-nodefaults", "-nographic", "-no-user-config", "-M", "q35", "-qmp",
        "stdio", "-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"})
    words.emplace_back(word);
  for (unsigned port = 0; port < 2; ++port) {
    const std::string n = std::to_string(port);
    words.emplace_back("-device");
    words.push_back("pcie-root-port,id=rp" + n + ",chassis=" + n + ",slot=" + n + ",addr=1" + n);
  }
  if (parts[1] == "iommufd")
    for (const char* const word : {"-object", "iommufd,id=iommufd0"}) words.emplace_back(word);
  std::string outcome = "ok";
  try {
    qemu q(words, object, work);
    scenario(q, parts[1], split(parts[3], '+')).run(parts[2]);
  } catch (const std::exception& failed) {
    outcome = failed.what();
  }
  return outcome;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return 2;
  (void)::signal(SIGPIPE, SIG_IGN);
  char work[] = "/tmp/order.XXXXXX";
  if (!::mkdtemp(work)) return 2;
  constexpr const char* files[] = {"/calls", "/errors", "/strace"};
  int status = 0;
  for (int i = 3; i < count; ++i) {
    std::printf("ORDER-BEGIN %s\n", arguments[i]);
    (void)std::fflush(stdout);
    for (const char* const file : files) (void)::unlink((std::string(work) + file).c_str());
    const std::string outcome = run(arguments[1], arguments[2], arguments[i], work);
    print_file(std::string(work) + "/calls", "ORDER");
    print_file(std::string(work) + "/strace", "ORDER-STRACE", ", 0x3b");
    print_file(std::string(work) + "/errors", "ORDER-QEMU");
    std::printf("ORDER-END %s %s\n", arguments[i], outcome.c_str());
    (void)std::fflush(stdout);
    if (outcome != "ok") status = 1;
  }
  for (const char* const file : files) (void)::unlink((std::string(work) + file).c_str());
  (void)::rmdir(work);
  return status;
}
