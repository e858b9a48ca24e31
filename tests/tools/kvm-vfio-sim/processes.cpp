// SPDX-License-Identifier: BSL-1.0
// Processes and threads: all of them share one host.
#include "client.hpp"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <thread>

extern char** environ;

namespace client {
namespace {

// One byte over a pipe or a socket: a process waits for another.
void tell(int fd) {
  const char byte = 1;
  CHECK(::write(fd, &byte, 1) == 1);
}
void wait_for(int fd) {
  char byte = 0;
  CHECK(::read(fd, &byte, 1) == 1);
}

}  // namespace

int forks(const std::vector<std::string>&) {
  // Without a VM, which belongs to the process that made it.
  attached a = attach(1, false);
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(::close(ends[0]) == 0);
    CHECK(identity(a.device) == 0x00011234);
    tell(ends[1]);
    wait_for(ends[1]);
    // The parent has closed everything. The files live here.
    CHECK(identity(a.device) == 0x00011234);
    CHECK(try_group(1) == EBUSY);
    detach(a);
    CHECK(try_group(1) == 0);
    CHECK(try_group(2) == 0);
    std::_Exit(0);
  }
  CHECK(::close(ends[1]) == 0);
  wait_for(ends[0]);
  for (const int fd : {a.device, a.group, a.container}) CHECK(::close(fd) == 0);
  CHECK(try_group(1) == EBUSY);
  tell(ends[0]);
  expect_success(child);
  CHECK(try_group(1) == 0);
  // A child's child, and a child that ends without closing anything.
  a = attach(1, false);
  const pid_t middle = ::fork();
  if (middle == 0) {
    const pid_t last = ::fork();
    if (last == 0) {
      CHECK(identity(a.device) == 0x00011234);
      std::_Exit(0);
    }
    expect_success(last);
    CHECK(identity(a.device) == 0x00011234);
    std::_Exit(0);
  }
  expect_success(middle);
  CHECK(identity(a.device) == 0x00011234);
  detach(a);
  CHECK(try_group(1) == 0);
  return 0;
}

// A child that makes no call for VFIO keeps the files of its parent open.
int inherits(const std::vector<std::string>&) {
  attached a = attach(1, false);
  int ends[2];
  CHECK(::pipe(ends) == 0);
  const pid_t child = ::fork();
  CHECK(child >= 0);
  if (child == 0) {
    wait_for(ends[0]);
    std::_Exit(0);
  }
  for (const int fd : {a.device, a.group, a.container}) CHECK(::close(fd) == 0);
  CHECK(try_group(1) == EBUSY);
  tell(ends[1]);
  expect_success(child);
  CHECK(try_group(1) == 0);
  return 0;
}

// Executed by `executes`: the descriptors of a group that stays open, and of one that does not.
int executed(const std::vector<std::string>& arguments) {
  const int kept = std::atoi(arguments.at(0).c_str());
  const int closed = std::atoi(arguments.at(1).c_str());
  vfio_group_status status{sizeof status, 0};
  CHECK(::ioctl(kept, VFIO_GROUP_GET_STATUS, &status) == 0);
  FAILS(::ioctl(closed, VFIO_GROUP_GET_STATUS, &status), EBADF);
  CHECK(try_group(1) == EBUSY);
  CHECK(try_group(2) == (arguments.at(2) == "free" ? 0 : EBUSY));
  CHECK(::close(kept) == 0);
  CHECK(try_group(1) == (arguments.at(2) == "free" ? 0 : EBUSY));
  return 0;
}

int executes(const std::vector<std::string>& arguments) {
  const int kept = ::open(group_path(1).c_str(), O_RDWR);
  const int closed = ::open(group_path(2).c_str(), O_RDWR | O_CLOEXEC);
  CHECK(kept >= 0 && closed >= 0);
  std::string self = "/proc/self/exe";
  std::string name = "executed";
  std::string one = std::to_string(kept);
  std::string two = std::to_string(closed);
  std::string what = "busy";
  char* words[] = {self.data(), name.data(), one.data(), two.data(), what.data(), nullptr};
  if (arguments.size() == 1 && arguments[0] == "spawn") {
    // This process has both groups open all the time.
    pid_t child = -1;
    CHECK(::posix_spawn(&child, self.c_str(), nullptr, nullptr, words, environ) == 0);
    expect_success(child);
    child = ::vfork();
    if (child == 0) {
      // What the child does to its descriptors is nothing to the parent.
      (void)::dup2(2, closed);
      (void)::close(closed);
      (void)::dup2(kept, 700);
      (void)::execv(self.c_str(), words);
      ::_exit(9);
    }
    expect_success(child);
    std::uint32_t word = 0;
    // With seccomp, read(2) is not reported.
    if (std::getenv("KVM_VFIO_SIM_DIRECTORY")) FAILS(::read(closed, &word, sizeof word), EINVAL);
    FAILS(::pread(closed, &word, sizeof word, 0), EINVAL);
    vfio_group_status status{sizeof status, 0};
    CHECK(::ioctl(kept, VFIO_GROUP_GET_STATUS, &status) == 0);
    CHECK(::ioctl(closed, VFIO_GROUP_GET_STATUS, &status) == 0);
    CHECK(::close(kept) == 0 && ::close(closed) == 0);
    CHECK(try_group(1) == 0 && try_group(2) == 0);
    return 0;
  }
  what = "free";
  words[4] = what.data();
  FAILS(::execv("/nowhere/at-all", words), ENOENT);
  (void)::execv(self.c_str(), words);
  return 1;
}

int passes(const std::vector<std::string>&) {
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  // The child exists before the device is open, so that it inherits nothing.
  const pid_t child = ::fork();
  if (child == 0) {
    CHECK(::close(ends[0]) == 0);
    const int container = receive_descriptor(ends[1]);
    const int group = receive_descriptor(ends[1]);
    const int device = receive_descriptor(ends[1]);
    CHECK(identity(device) == 0x00011234);
    vfio_group_status status{sizeof status, 0};
    CHECK(::ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0);
    CHECK(status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET);
    tell(ends[1]);
    wait_for(ends[1]);
    CHECK(try_group(1) == EBUSY);
    CHECK(::close(device) == 0);
    CHECK(::ioctl(group, VFIO_GROUP_UNSET_CONTAINER) == 0);
    CHECK(::close(group) == 0);
    CHECK(::close(container) == 0);
    CHECK(try_group(1) == 0);
    std::_Exit(0);
  }
  CHECK(::close(ends[1]) == 0);
  attached a = attach(1, false);
  for (const int fd : {a.container, a.group, a.device}) send_descriptor(ends[0], fd);
  wait_for(ends[0]);
  for (const int fd : {a.device, a.group, a.container}) CHECK(::close(fd) == 0);
  CHECK(try_group(1) == EBUSY);
  tell(ends[0]);
  expect_success(child);
  CHECK(try_group(1) == 0);
  // A descriptor that is nowhere but in a message keeps the file open.
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  int group = ::open(group_path(2).c_str(), O_RDWR);
  send_descriptor(ends[0], group);
  CHECK(::close(group) == 0);
  CHECK(try_group(2) == EBUSY);
  group = receive_descriptor(ends[1]);
  vfio_group_status status{sizeof status, 0};
  CHECK(::ioctl(group, VFIO_GROUP_GET_STATUS, &status) == 0);
  CHECK(::close(group) == 0);
  CHECK(try_group(2) == 0);
  return 0;
}

int kills(const std::vector<std::string>&) {
  for (int round = 0; round < 50; ++round) {
    int ends[2];
    CHECK(::pipe(ends) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      (void)attach(1, round % 2 == 0);
      tell(ends[1]);
      for (;;) (void)::pause();
    }
    wait_for(ends[0]);
    CHECK(try_group(1) == EBUSY);
    CHECK(::kill(child, SIGKILL) == 0);
    CHECK(::waitpid(child, nullptr, 0) == child);
    // At once, without waiting for the simulated host.
    attached a = attach(1, false);
    detach(a);
    CHECK(::close(ends[0]) == 0 && ::close(ends[1]) == 0);
  }
  return 0;
}

int threads(const std::vector<std::string>& arguments) {
  const int count = 8;
  const int calls = arguments.empty() ? 2000 : std::atoi(arguments[0].c_str());
  std::vector<std::thread> all;
  std::atomic<int> done{0};
  std::atomic<bool> forked{false};
  for (int t = 1; t <= count; ++t)
    all.emplace_back([t, calls, &done, &forked] {
      for (int round = 0; round < 4; ++round) {
        attached a = attach(t, false);
        // A child has copies of the descriptors, so that no thread may detach before its end.
        for (int i = 0; i < calls / 4 || !forked; ++i)
          CHECK(identity(a.device) == (static_cast<std::uint32_t>(t) << 16 | 0x1234));
        detach(a);
      }
      ++done;
    });
  // Forks while the threads are in calls: the child has the lock of nobody.
  for (int i = 0; i < 20; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      CHECK(try_group(9) == 0);
      std::_Exit(0);
    }
    expect_success(child);
  }
  forked = true;
  for (std::thread& t : all) t.join();
  CHECK(done == count);
  for (int t = 1; t <= count; ++t) CHECK(try_group(t) == 0);
  return 0;
}

// A signal handler makes calls, and interrupts calls.
// With the argument "restart", the kernel makes interrupted calls again.
int signals(const std::vector<std::string>& arguments) {
  static int device;
  static volatile sig_atomic_t handled;
  attached a = attach(1, false);
  device = a.device;
  struct sigaction action{};
  action.sa_handler = [](int) {
    const int before = errno;
    vfio_device_info info{};
    info.argsz = sizeof info;
    if (::ioctl(device, VFIO_DEVICE_GET_INFO, &info) == 0) handled = handled + 1;
    errno = before;
  };
  if (!arguments.empty()) action.sa_flags = SA_RESTART;
  CHECK(::sigaction(SIGALRM, &action, nullptr) == 0);
  const itimerval often{{0, 500}, {0, 500}};
  CHECK(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  for (int i = 0; i < 3000 || handled < 20; ++i) CHECK(identity(a.device) == 0x00011234);
  const itimerval never{};
  CHECK(::setitimer(ITIMER_REAL, &never, nullptr) == 0);
  detach(a);
  return 0;
}

// Signals whose handler has no SA_RESTART. With seccomp, a signal can end a call with EINTR before
// kvm-vfio-sim has received the call. Then the call has had no effect, and no call has its effect
// twice.
int interrupted(const std::vector<std::string>&) {
  static volatile sig_atomic_t handled;
  attached a = attach(1, false);
  struct sigaction action{};
  action.sa_handler = [](int) { handled = handled + 1; };
  CHECK(::sigaction(SIGALRM, &action, nullptr) == 0);
  const itimerval often{{0, 300}, {0, 300}};
  CHECK(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  int count = 0;
  const auto again = [&](auto call) {
    for (;; ++count)
      if (const auto made = call(); made != -1 || errno != EINTR) return static_cast<long>(made);
  };
  int next = -1;
  for (std::uint32_t i = 0; i < 2000 || handled < 20; ++i) {
    // The group cannot be opened twice, and a descriptor is closed once.
    const long group = again([] { return ::open("/dev/vfio/2", O_RDWR | O_CLOEXEC); });
    CHECK(group >= 0 && (next < 0 || group == next));
    next = static_cast<int>(group);
    // The position of a device moves with each call.
    CHECK(again([&] { return ::close(next); }) == 0);
    FAILS(again([&] { return ::fcntl(next, F_GETFD); }), EBADF);
    std::uint32_t word = 0;
    const auto config = static_cast<off_t>(VFIO_PCI_CONFIG_REGION_INDEX) << 40;
    CHECK(again([&] { return ::pread(a.device, &word, 4, config); }) == 4 && word == 0x00011234);
  }
  const itimerval never{};
  CHECK(::setitimer(ITIMER_REAL, &never, nullptr) == 0);
  detach(a);
  (void)std::printf("%d signals, %d calls with EINTR\n", static_cast<int>(handled), count);
  // The preloaded object repeats what a signal ended.
  if (std::getenv("KVM_VFIO_SIM_DIRECTORY")) CHECK(count == 0);
  return 0;
}

// N processes, each with a device of its own, which make calls at the same time.
int many(const std::vector<std::string>& arguments) {
  const int count = std::atoi(arguments.at(0).c_str());
  std::vector<pid_t> children;
  for (int n = 1; n <= count; ++n) {
    const pid_t child = ::fork();
    CHECK(child >= 0);
    if (child == 0) {
      for (int round = 0; round < 3; ++round) {
        attached a = attach(n, false);
        for (int i = 0; i < 30; ++i)
          CHECK(identity(a.device) == (static_cast<std::uint32_t>(n) << 16 | 0x1234));
        FAILS(::ioctl(a.group, VFIO_GROUP_GET_DEVICE_FD, device_name(n % count + 1).c_str()),
              ENODEV);
        detach(a);
      }
      std::_Exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) expect_success(child);
  return 0;
}

// Holds group 1, says so, and waits until it is killed.
int hold(const std::vector<std::string>&) {
  (void)attach(1, false);
  (void)std::printf("%d\n", static_cast<int>(::getpid()));
  (void)std::fflush(stdout);
  for (;;) (void)::pause();
}

// Executes `attach-legacy` with an empty environment, in each way.
int cleaned(const std::vector<std::string>&) {
  char path[4096] = {};
  CHECK(::readlink("/proc/self/exe", path, sizeof path - 1) > 0);
  std::string word = "attach-legacy";
  char* words[] = {path, word.data(), nullptr};
  char* nothing[] = {nullptr};
  const std::string line = std::string(path) + " " + word;
  const int self = ::open(path, O_RDONLY);
  for (int way = 0; way < 13; ++way) {
    const pid_t child = ::fork();
    CHECK(child >= 0);
    if (child != 0) {
      expect_success(child);
      continue;
    }
    CHECK(::clearenv() == 0);
    pid_t spawned = -1;
    switch (way) {
      case 0: (void)::execv(path, words); break;
      case 1: (void)::execve(path, words, nothing); break;
      case 2: (void)::execvp(path, words); break;
      case 3: (void)::execvpe(path, words, nothing); break;
      case 4: (void)::execl(path, path, words[1], nullptr); break;
      case 5: (void)::execlp(path, path, words[1], nullptr); break;
      case 6: (void)::execle(path, path, words[1], nullptr, nothing); break;
      case 7: (void)::fexecve(self, words, nothing); break;
      case 8: (void)::execveat(AT_FDCWD, path, words, nothing, 0); break;
      case 9: CHECK(::posix_spawn(&spawned, path, nullptr, nullptr, words, nothing) == 0); break;
      case 10: CHECK(::posix_spawnp(&spawned, path, nullptr, nullptr, words, nothing) == 0); break;
      case 11: CHECK(::system(line.c_str()) == 0); break;
      default: {
        std::FILE* const output = ::popen(line.c_str(), "r");
        CHECK(output && ::pclose(output) == 0);
      }
    }
    CHECK(way >= 9);
    if (spawned > 0) expect_success(spawned);
    std::_Exit(0);
  }
  // Wrong environments are errors, as without the object.
  auto* const wild = reinterpret_cast<char* const*>(std::uintptr_t{8});
  FAILS(::execve(path, words, wild), EFAULT);
  char* wild_entry[] = {reinterpret_cast<char*>(std::uintptr_t{8}), nullptr};
  FAILS(::execve(path, words, wild_entry), EFAULT);
  FAILS(::execve("/nowhere/at-all", words, nothing), ENOENT);
  FAILS(::execvp("nowhere-at-all", words), ENOENT);
  return 0;
}

// Executes a program that gets EPERM from one system call, as a container's filter may do it.
int denies(const std::vector<std::string>& arguments) {
  constexpr struct {
    const char* name;
    unsigned number;
  } calls[] = {{"process_vm_readv", SYS_process_vm_readv},
               {"process_vm_writev", SYS_process_vm_writev},
               {"pidfd_getfd", SYS_pidfd_getfd}};
  for (const auto& c : calls) {
    if (arguments.at(0) != c.name) continue;
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, c.number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program{4, filter};
    CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0);
    CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    std::vector<std::string> words(arguments.begin() + 1, arguments.end());
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    (void)::execvp(pointers[0], pointers.data());
  }
  return 1;
}

// Ends with a status, or by a signal.
int exits(const std::vector<std::string>& arguments) {
  if (arguments.at(0) == "signal") {
    (void)::raise(std::atoi(arguments.at(1).c_str()));
    (void)::pause();
  }
  return std::atoi(arguments[0].c_str());
}

}  // namespace client
