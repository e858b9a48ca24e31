// SPDX-License-Identifier: BSL-1.0
#include "run.hpp"

#include "descriptor_message.hpp"
#include "filter.hpp"
#include "host.hpp"
#include "notify.hpp"
#include "proc.hpp"
#include "program_file.hpp"
#include "protocol.hpp"
#include "remote_memory.hpp"
#include "server.hpp"
#include "system_calls.hpp"
#include "unique_fd.hpp"

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/report.hpp>
#include <kvm_vfio/trace/rules.hpp>

#include <elf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio_sim {
namespace {

namespace sim = kvm_vfio::sim;
namespace fs = std::filesystem;

// The program, for the signals that only this process gets.
volatile sig_atomic_t child = 0;

// The signals that go on to the program.
constexpr int passed_on[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
// The signals that a write of this process can cause.
constexpr int of_writes[] = {SIGPIPE, SIGXFSZ};

void pass_on(int signal, siginfo_t* from, void*) {
  // A terminal sends its signals to the program, too.
  if (child > 0 && from->si_code != SI_KERNEL) (void)::kill(child, signal);
}

// What the signals did before.
class dispositions {
 public:
  // Lets signals go on to the program, but those that the program is to ignore, as below nohup(1).
  dispositions() {
    struct sigaction action{};
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    action.sa_sigaction = pass_on;
    for (const int s : passed_on) {
      struct sigaction before{};
      (void)::sigaction(s, nullptr, &before);
      if (before.sa_handler == SIG_IGN) continue;
      (void)::sigaction(s, &action, nullptr);
      changed_.emplace_back(s, before);
    }
    // A log or a standard error that cannot be written must not end this process, which has to
    // remove the folder of the run.
    struct sigaction ignore{};
    ignore.sa_handler = SIG_IGN;
    for (const int s : of_writes) {
      struct sigaction before{};
      (void)::sigaction(s, &ignore, &before);
      changed_.emplace_back(s, before);
    }
  }
  // For the program.
  void restore() const {
    for (const auto& [signal, before] : changed_) (void)::sigaction(signal, &before, nullptr);
  }

 private:
  std::vector<std::pair<int, struct sigaction>> changed_;
};

std::string reason() { return std::strerror(errno); }

// A folder for the run, which is removed at the end. This process holds a lock on the folder, so
// that a later run can remove the folder of a process that was killed.
class run_directory {
 public:
  run_directory() {
    const char* const base = std::getenv("TMPDIR");
    parent_ = base && base[0] == '/' ? base : "/tmp";
    remove_left_ones();
    std::string name = parent_ + start_of_name + "XXXXXX";
    if (!::mkdtemp(name.data())) return;
    path_ = name;
    lock_ = lock(path_);
  }
  run_directory(const run_directory&) = delete;
  run_directory& operator=(const run_directory&) = delete;
  ~run_directory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& parent() const noexcept { return parent_; }

 private:
  static constexpr char start_of_name[] = "/kvm-vfio-sim.";

  // Locks a folder. None: somebody else has the lock, or the folder belongs to another user.
  static unique_fd lock(const std::string& folder) {
    unique_fd made(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat s{};
    if (!made || ::fstat(made.get(), &s) != 0 || s.st_uid != ::geteuid() ||
        ::flock(made.get(), LOCK_EX | LOCK_NB) != 0)
      return {};
    return made;
  }
  void remove_left_ones() const {
    std::error_code failed;
    for (fs::directory_iterator at(parent_, failed), end; !failed && at != end;
         at.increment(failed)) {
      const std::string path = at->path().string();
      std::error_code ignored;
      // A run makes the socket after it has locked its folder.
      if (path.starts_with(parent_ + start_of_name) && fs::exists(path + socket_name, ignored))
        if (const unique_fd locked = lock(path)) fs::remove_all(path, ignored);
    }
  }

  std::string path_;
  std::string parent_;
  unique_fd lock_;
};

sim::linux_release release_named(const std::string& profile) {
  if (profile == "linux-6.1") return sim::release_of<kvm_vfio::linux_6_1>();
  if (profile == "linux-6.12") return sim::release_of<kvm_vfio::linux_6_12>();
  return sim::release_of<kvm_vfio::linux_7_3>();
}

// The preloaded object: beside this program, as the build has it, or where it is installed.
std::string find_object() {
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  for (const fs::path& place : {self.parent_path() / KVM_VFIO_SIM_OBJECT,
                                self.parent_path() / KVM_VFIO_SIM_OBJECT_DIR / KVM_VFIO_SIM_OBJECT})
    if (fs::exists(place, failed)) return fs::weakly_canonical(place, failed).string();
  return {};
}

// A program that was looked for.
struct found_program {
  std::string path;
  int error = 0;  // of the search; 0: `path` is the path to execute
};

// Looks for a program as execvp(3) does: a name without a slash is looked for in PATH.
found_program find_program(const std::string& name) {
  if (name.empty()) return {name, ENOENT};
  if (name.find('/') != std::string::npos) return {name};
  const char* const path = std::getenv("PATH");
  std::string rest = path ? path : "/usr/bin:/bin";
  int error = ENOENT;
  for (std::size_t at = 0; at <= rest.size();) {
    const std::size_t end = std::min(rest.find(':', at), rest.size());
    std::string tried = rest.substr(at, end - at);
    tried += (tried.empty() ? "./" : "/") + name;
    struct stat s{};
    if (::stat(tried.c_str(), &s) == 0) {
      if (S_ISREG(s.st_mode) && ::access(tried.c_str(), X_OK) == 0) return {tried};
      error = EACCES;
    }
    at = end + 1;
  }
  return {name, error};
}

// The name of a processor that ELF numbers.
std::string processor_of(unsigned machine) {
  switch (machine) {
    case EM_386: return "i386";
    case EM_X86_64: return "x86-64";
    case EM_ARM: return "Arm with 32 bits";
    case EM_AARCH64: return "Arm64";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "PowerPC64";
    case EM_S390: return "s390";
    default: return "number " + std::to_string(machine) + " of ELF";
  }
}

// Why the object cannot be preloaded into a program, or does not see its calls. Empty: it can.
std::string to_text(const program_file& file) {
  switch (file.what) {
    case obstacle::none: break;
    case obstacle::is_static: return "is statically linked";
    case obstacle::is_go: return "is written in Go, and makes system calls without the C library";
    case obstacle::other_architecture:
      return file.machine == 0 ? "is for another processor"
                               : "is for another processor (" + processor_of(file.machine) + ")";
    case obstacle::other_user: return "gets the rights of another user (set-user-ID)";
    case obstacle::is_32_bit: return "is a 32-bit program";
  }
  return {};
}

// Whether the transport seccomp reaches a program that the object does not reach.
bool is_reached_by_seccomp(obstacle what) {
  return what != obstacle::other_architecture && what != obstacle::is_32_bit;
}

// Whether a file that the kernel did not execute is a script without an interpreter. As in a shell,
// a file with a zero byte in its first line is none.
bool is_plain_script(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[128];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
  if (n < 0) return false;
  const std::string_view head(text, static_cast<std::size_t>(n));
  return head.substr(0, head.find('\n')).find('\0') == std::string_view::npos;
}

// Why the kernel did not execute a program.
std::string explain_execution(const found_program& program, const program_file& file, int error) {
  std::string what = program.path + ": " + std::strerror(error);
  if (error == ENOENT && program.error == 0 && ::access(program.path.c_str(), F_OK) == 0)
    return what + ". The file exists, but the interpreter or the loader that it names does not";
  if (error == ENOEXEC && file.what == obstacle::other_architecture)
    return what + ". The program " + to_text(file) +
           ", and the kernel has no emulator for it (binfmt_misc)";
  if (error == ENOEXEC)
    return what + ". The file is no program that this kernel knows, or is damaged";
  return what;
}

// The programs that processes of the run executed, but that were not on the simulated host: one
// text for each program.
std::vector<std::string> unreached_programs(const std::string& directory) {
  std::map<std::string, std::pair<obstacle, int>> counts;
  std::FILE* const f = std::fopen((directory + unreached_name).c_str(), "re");
  if (!f) return {};
  char line[longest_path + 16];
  while (std::fgets(line, sizeof line, f)) {
    char* path = nullptr;
    const auto what = static_cast<obstacle>(std::strtoul(line, &path, 10));
    line[std::strcspn(line, "\n")] = 0;
    if (*path != ' ') continue;
    auto& [last, count] = counts[path + 1];
    if (what == obstacle::none) --count;
    else ++count, last = what;
  }
  (void)std::fclose(f);
  std::vector<std::string> all;
  for (const auto& [path, entry] : counts)
    if (entry.second > 0)
      all.push_back(path + " " + to_text({entry.first}) + ", so it was not on the simulated host" +
                    (is_reached_by_seccomp(entry.first) ? ": --transport seccomp reaches it" : ""));
  return all;
}

bool write_nodes(const std::string& directory, const std::vector<sim::device_node>& nodes) {
  std::FILE* const f = std::fopen((directory + nodes_name).c_str(), "we");
  if (!f) return false;
  for (const sim::device_node& n : nodes) {
    struct stat s{};
    (void)::stat((directory + n.path).c_str(), &s);
    (void)std::fprintf(f, "%s %u %u %llu\n", n.path.c_str(), n.major, n.minor,
                       static_cast<unsigned long long>(s.st_ino));
  }
  return std::fclose(f) == 0;
}

// What the child tells the launcher with the listener.
struct introduction {
  int listener = -1;  // or the negative number of an error
};

// Waits until the launcher has looked at this process.
void await_launcher(int launcher) {
  char go = 0;
  if (::read(launcher, &go, 1) != 1) ::_exit(own_failure);
}

// Receives the listener of the child. A negative number of an error: there is none.
int receive_listener(int from) {
  introduction what;
  iovec part{&what, sizeof what};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do n = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n != sizeof what) return -ECHILD;
  if (what.listener < 0) return what.listener;
  const cmsghdr* const c = CMSG_FIRSTHDR(&message);
  int listener = -EPROTO;
  if (c && c->cmsg_type == SCM_RIGHTS) std::memcpy(&listener, CMSG_DATA(c), sizeof listener);
  return listener;
}

// Why the kernel does not report calls.
std::string explain_listener(int error) {
  const std::string what = "the kernel does not let kvm-vfio-sim answer system calls (seccomp): ";
  if (error == EINVAL || error == ENOSYS)
    return what + "this needs Linux 5.19 with CONFIG_SECCOMP_FILTER, on x86-64, Arm64 or RISC-V";
  if (error == EBUSY)
    return what +
           "another program answers them already, such as a container's or another "
           "kvm-vfio-sim";
  if (error == EPERM || error == EACCES)
    return what + std::strerror(error) + "; a container may forbid it";
  return what + std::strerror(error);
}

// What a process of the launcher must be allowed to do with the program. Empty: all is allowed.
std::string explain_access(pid_t process) {
  static char there = 1;
  const auto address = reinterpret_cast<std::uintptr_t>(&there);
  const auto refused = [](const std::string& what) {
    return what + ": " + reason() + "; a container or kernel.yama.ptrace_scope may forbid it";
  };
  remote_memory memory(process);
  char here = 0;
  if (!memory.read(address, &here, 1))
    return refused("the memory of the program cannot be read (process_vm_readv)");
  if (!memory.write(address, &here, 1))
    return refused("the memory of the program cannot be written (process_vm_writev)");
  const unique_fd end(static_cast<int>(system_call(SYS_pidfd_open, process, 0)));
  const unique_fd copy(static_cast<int>(system_call(SYS_pidfd_getfd, end.get(), 0, 0)));
  if (!copy && errno != EBADF)
    return refused("a file of the program cannot be reached (pidfd_getfd)");
  return {};
}

// How the child reaches the simulated host.
struct program_setup {
  std::string object;     // is preloaded; empty: none
  std::string directory;  // of the run
  bool kvm = false;       // /dev/kvm is simulated
  int failure = -1;       // gets the number of the error if the program cannot be executed
  int launcher = -1;      // the socket for the listener, and for the permission to start
  pid_t parent = 0;       // the process of the launcher
  found_program file;     // what to execute
  const dispositions* signals = nullptr;
  int other_end = -1;  // the launcher's end of the socket `launcher`
};

// The child, until somebody has waited for its end. If the launcher gives up, the child ends, too:
// otherwise it would keep the standard output of the launcher open.
class running_child {
 public:
  explicit running_child(pid_t pid) noexcept : pid_(pid) { child = pid; }
  running_child(const running_child&) = delete;
  running_child& operator=(const running_child&) = delete;
  ~running_child() {
    if (pid_ <= 0) return;
    (void)::kill(pid_, SIGKILL);
    (void)wait();
  }
  // Waits for the end. Returns the status of waitpid(2).
  int wait() noexcept {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    child = 0;
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_;
};

// Adds a word to a variable of the environment, behind the words that it has.
void add_to(const char* variable, const std::string& word) {
  const char* const before = std::getenv(variable);
  (void)::setenv(variable, (before && *before ? before + (":" + word) : word).c_str(), 1);
}

// The child: becomes the program.
[[noreturn]] void become(char** program, const program_setup& setup) {
  setup.signals->restore();
  // Without the simulated host the program has no devices.
  (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != setup.parent) ::_exit(own_failure);
  if (setup.other_end >= 0) (void)::close(setup.other_end);
  (void)::setenv(run_variable, setup.directory.c_str(), 1);
  if (!setup.object.empty()) {
    // The address sanitizer's library must come first. It stops if it is behind the object, unless
    // it is told that this is right.
    add_to("LD_PRELOAD", setup.object);
    add_to("ASAN_OPTIONS", "verify_asan_link_order=0");
    (void)::setenv(directory_variable, setup.directory.c_str(), 1);
    if (setup.kvm) (void)::setenv(kvm_variable, "1", 1);
  }
  if (setup.object.empty()) {
    const introduction what{install_filter(setup.kvm ? kvm_calls::all : kvm_calls::of_kvm_vfio)};
    if (!send_with_descriptor(setup.launcher, what, what.listener, unreported_flags))
      ::_exit(own_failure);
  }
  await_launcher(setup.launcher);
  int error = setup.file.error;
  if (error == 0) {
    (void)::execv(setup.file.path.c_str(), program);
    error = errno;
  }
  if (error == ENOEXEC && is_plain_script(setup.file.path)) {
    std::string shell = "sh";
    std::string script = setup.file.path;
    std::vector<char*> words{shell.data(), script.data()};
    for (char** word = program + 1; *word; ++word) words.push_back(*word);
    words.push_back(nullptr);
    (void)::execv("/bin/sh", words.data());
  }
  (void)!::write(setup.failure, &error, sizeof error);
  ::_exit(own_failure);
}

// How the program ended. Empty: with the status 0.
std::string end_of(int status) {
  if (WIFSIGNALED(status))
    return "signal " + std::to_string(WTERMSIG(status)) + " killed the program";
  if (WEXITSTATUS(status) == 0) return {};
  return "the program ended with status " + std::to_string(WEXITSTATUS(status));
}

// The process and the program that made a call, as text.
std::string maker_of(const server& answers, int process, std::uint64_t number) {
  return "process " + std::to_string(process) + " (" + answers.program_at(process, number) + ")";
}

// What the arguments of a failed call say of the reason. Empty: nothing.
std::string reason_of(const kvm_vfio::trace::call& c) {
  using kvm_vfio::errc;
  constexpr std::uint64_t page = 4096;
  if (c.kind == kvm_vfio::trace::call_kind::open) {
    if (c.error == errc::noent) return "the host has no such file";
    if (c.error == errc::busy) return "the group or the device is in use already";
    return {};
  }
  if (c.kind != kvm_vfio::trace::call_kind::ioctl || c.error != errc::inval) return {};
  char text[96];
  text[0] = 0;
  if (c.size % page != 0)
    (void)std::snprintf(text, sizeof text, "the size 0x%llx is no multiple of the page size",
                        static_cast<unsigned long long>(c.size));
  else if (c.iova % page != 0)
    (void)std::snprintf(text, sizeof text, "the IOVA 0x%llx is no multiple of the page size",
                        static_cast<unsigned long long>(c.iova));
  else return "a member of the argument has a wrong value, or its argsz is too small";
  return text;
}

// The last call that failed, as text. Empty: none has failed.
std::string last_failure(const server& answers) {
  const server::failure& last = answers.last_failure();
  if (last.number == 0) return {};
  std::string text = "the last call that failed is call " + std::to_string(last.number) + " of " +
                     maker_of(answers, last.call.process, last.number) + ": " +
                     to_string(last.call) + ", " + std::strerror(static_cast<int>(last.call.error));
  const std::string why = last.injected ? "by the fault plan" : reason_of(last.call);
  return why.empty() ? text : text + " (" + why + ")";
}

std::string times(std::uint64_t n, const char* what) {
  return std::to_string(n) + " " + what +
         (n == 1                               ? ""
          : what[std::strlen(what) - 1] == 's' ? "es"
                                               : "s");
}

// The text of a report. If there are several processes, its first line names the process.
std::string text_of(const server& answers, const kvm_vfio::trace::report& r) {
  std::string text = to_string(r);
  if (answers.processes() > 1)
    text.insert(text.find('\n'), " in " + maker_of(answers, r.by.process, r.number));
  return text;
}

// Tells what was found in a run. Returns the exit status of kvm-vfio-sim.
int conclude(const server& answers, const run_options& options, int status,
             const std::string& directory) {
  std::uint64_t mistakes = 0;
  std::uint64_t notes = 0;
  std::string found;
  for (const auto& report : answers.checker().reports()) {
    ++(kvm_vfio::trace::is_note(report.broken) ? notes : mistakes);
    found += text_of(answers, report);
  }
  // lspci(8), for example, makes no call, but reads the view of sysfs.
  const bool used =
      answers.log().calls() != 0 || ::access((directory + viewed_name).c_str(), F_OK) == 0;
  if (!found.empty()) {
    (void)std::fprintf(stderr, "kvm-vfio-sim: the checker found %s and %s:\n%s",
                       times(mistakes, "mistake").c_str(), times(notes, "note").c_str(),
                       found.c_str());
  } else if (!options.quiet && used) {
    (void)std::fprintf(stderr, "kvm-vfio-sim: %s of %s; the checker found nothing\n",
                       times(answers.log().calls(), "call").c_str(),
                       times(answers.processes(), "process").c_str());
  }
  if (!used && (options.strict || !options.quiet))
    (void)complain(
        "no process made a simulated call or read the simulated /sys, so this run tested nothing. "
        "Likely reasons: the program "
        "ended before it used a device; it is another program than the one to test; or the calls "
        "did not reach kvm-vfio-sim, because the program starts a statically linked program or "
        "makes system calls without the C library. --transport seccomp reaches both");
  if (options.strict || !options.quiet)
    for (const std::string& text : answers.unseen()) (void)complain(text);
  const std::vector<std::string> unmet = answers.faults().unmet();
  for (const std::string& text : unmet) (void)complain(text);
  if (options.strict || !options.quiet)
    for (const pid_t left : processes_with(std::string(run_variable) + "=" + directory))
      (void)complain("process " + std::to_string(left) + " (" + program_of(left) +
                     ") still runs, and has no simulated host any more");
  int result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const int own = result;
  if (options.strict && (mistakes != 0 || !unmet.empty())) result = findings;
  if (options.strict && !used) result = no_call;
  const std::string end = end_of(status);
  if (!end.empty() && (result != own || !options.quiet)) {
    const std::string last = last_failure(answers);
    (void)complain(end + (last.empty() ? "" : "; " + last));
  }
  return result;
}

}  // namespace

int complain(const std::string& what) {
  (void)std::fprintf(stderr, "kvm-vfio-sim: %s\n", what.c_str());
  return own_failure;
}

int run_program(const sim::topology& machine, const run_options& options, char** program) {
  const sim::world_options vfio{.allow_unsafe_interrupts = options.unsafe_interrupts};
  const std::unique_ptr<host> simulated = make_host(options.profile, machine, vfio);
  if (!simulated)
    return complain("there is no profile \"" + options.profile +
                    "\"; the profiles are linux-6.1, linux-6.12 and linux-7.3");
  const found_program found = find_program(program[0]);
  const std::string& path = found.path;
  const bool is_program = found.error == 0 && ::access(path.c_str(), X_OK) == 0;
  const program_file file = is_program ? look_at_program(AT_FDCWD, path.c_str()) : program_file{};
  const std::string unreachable = to_text(file);
  const bool preloads =
      options.transport == "preload" || (options.transport == "auto" && unreachable.empty());
  if (file.what == obstacle::is_32_bit)
    return complain(path + " " + unreachable + ". Neither transport reaches its calls");
  if (preloads && !unreachable.empty())
    return complain(path + " " + unreachable + ". No object can be preloaded into it" +
                    (is_reached_by_seccomp(file.what) ? ": --transport seccomp reaches it" : ""));
  program_setup setup;
  if (preloads) setup.object = find_object();
  if (preloads && setup.object.empty())
    return complain(std::string(KVM_VFIO_SIM_OBJECT) + " was not found");
  const dispositions signals;
  setup.signals = &signals;
  const run_directory directory;
  if (directory.path().empty())
    return complain("no folder for the run, " + directory.parent() + ": " + reason());
  const auto release = release_named(options.profile);
  if (const auto errors = sim::write_sysfs_view(machine, directory.path(), release, vfio);
      !errors.empty())
    return complain(sim::to_text(errors));
  const auto nodes = sim::device_nodes(machine, release, vfio);
  if (!write_nodes(directory.path(), nodes)) return complain("the device nodes: " + reason());
  unique_fd log;
  if (!options.log.empty()) {
    log = unique_fd(
        ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666));
    if (!log) return complain(options.log + ": " + reason());
  }
  const bool kvm = options.kvm == "simulated" ||
                   (options.kvm == "auto" && ::access("/dev/kvm", R_OK | W_OK) != 0);
  if (kvm && !options.quiet)
    (void)std::fputs("kvm-vfio-sim: /dev/kvm is simulated, too: it has VMs, but runs no vCPU\n",
                     stderr);
  server answers(*simulated, nodes, options.faults, log.get());
  if (const int error = answers.listen(directory.path() + socket_name); error != 0)
    return complain("the socket of the run, below " + directory.parent() +
                    " (TMPDIR): " + std::strerror(error));

  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0) return complain("a pipe: " + reason());
  int introductions[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, introductions) != 0)
    return complain("a socket: " + reason());
  setup.directory = directory.path();
  setup.kvm = kvm;
  setup.failure = failure[1];
  setup.launcher = introductions[1];
  setup.other_end = introductions[0];
  setup.parent = ::getpid();
  setup.file = found;
  const pid_t made = ::fork();
  if (made < 0) return complain("fork: " + reason());
  if (made == 0) become(program, setup);
  running_child started(made);
  // Each process and each open file of the program needs a descriptor here.
  struct rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    descriptors.rlim_cur = descriptors.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &descriptors);
  }
  (void)::close(failure[1]);
  const unique_fd ended(static_cast<int>(system_call(SYS_pidfd_open, made, 0)));
  if (!ended) return complain("pidfd_open: " + reason());
  std::unique_ptr<notifier> calls;
  (void)::close(introductions[1]);
  const unique_fd program_end(introductions[0]);
  const int listener = preloads ? -1 : receive_listener(program_end.get());
  const std::string wrong =
      !preloads && listener < 0 ? explain_listener(-listener) : explain_access(made);
  if (listener >= 0)
    calls = std::make_unique<notifier>(unique_fd(listener), directory.path(), nodes, kvm);
  // The child has not executed the program yet.
  if (!wrong.empty()) return complain(wrong);
  if (calls) answers.use(*calls);
  (void)!::write(program_end.get(), "", 1);
  answers.run(ended.get());

  const int status = started.wait();
  if (calls) calls->leave();
  int error = 0;
  const bool not_executed = ::read(failure[0], &error, sizeof error) == sizeof error;
  (void)::close(failure[0]);
  if (not_executed) {
    (void)complain(explain_execution(found, file, error));
    return error == ENOENT && (found.error != 0 || ::access(path.c_str(), F_OK) != 0) ? 127 : 126;
  }
  if (answers.log().failed()) (void)complain(options.log + ": the log is not complete");
  const int result = conclude(answers, options, status, setup.directory);
  const auto unreached = unreached_programs(directory.path());
  for (const std::string& what : unreached) (void)complain(what);
  return options.strict && !unreached.empty() && result != findings ? own_failure : result;
}

}  // namespace kvm_vfio_sim
