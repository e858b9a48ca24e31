// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Two processes of the running kernel that share descriptors: this program and its child. Each
/// process is a `system` with a few further calls.

#include "memory_limit.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <new>
#include <system_error>

namespace vfio_lockstep {

/// Memory that this process and its later children share. The arguments of the calls of both are
/// there, so that the child reads what this program wrote, and this program reads the answers.
class shared_memory {
 public:
  static constexpr std::size_t size = 65536;

  shared_memory() {
    void* const at =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    at_ = static_cast<unsigned char*>(at);
  }
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;
  ~shared_memory() { ::munmap(at_, size); }
  [[nodiscard]] unsigned char* at(std::size_t offset = 0) const noexcept { return at_ + offset; }

 private:
  unsigned char* at_ = nullptr;
};

/// A system call of either process of the running kernel, and its answer.
struct process_call {
  enum class kind {
    open,
    close,
    dup,
    dup_from,
    dup2,
    ioctl,
    read,
    write,
    pread,
    pwrite,
    mmap,
    munmap,
    eventfd,
    memory_file,
    send,
    receive,
    take,
    limit_descriptors,
    limit_memory,
    capable,
    user,
  };
  kind what{};
  int fd = -1;
  int number = 0;              ///< flags, another descriptor, a protection or a user
  std::uint64_t request = 0;   ///< of ioctl(2)
  std::uint64_t argument = 0;  ///< a number, or an address in memory that both processes have
  std::uint64_t size = 0;
  std::uint64_t at = 0;
  char path[128] = {};

  kvm_vfio::errc error = kvm_vfio::errc::ok;
  std::uint64_t value = 0;
};

namespace detail {
/// Sends a descriptor through a socket (SCM_RIGHTS).
inline int send_descriptor(int socket, int fd) noexcept {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* const c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return ::sendmsg(socket, &m, MSG_NOSIGNAL) < 0 ? -1 : 0;
}
/// Receives the descriptor that was sent first.
inline int receive_descriptor(int socket) noexcept {
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  int fd = -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr m{};
  m.msg_iov = &data;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  if (::recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0) return -1;
  const cmsghdr* const c = CMSG_FIRSTHDR(&m);
  errno = EBADMSG;
  if (c) std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}
/// Takes a descriptor out of another process (pidfd_getfd(2)), and gives it the lowest number.
inline int take_descriptor(pid_t from, int number) noexcept {
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, from, 0));
  if (process < 0) return -1;
  const int taken = static_cast<int>(::syscall(SYS_pidfd_getfd, process, number, 0));
  ::close(process);
  if (taken < 0) return -1;
  const int fd = ::fcntl(taken, F_DUPFD_CLOEXEC, 0);
  ::close(taken);
  return fd;
}
inline int make_memory_file(std::uint64_t size) noexcept {
  const int fd = ::memfd_create("", MFD_CLOEXEC);
  return fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0 ? -1 : fd;
}
inline int limit_descriptors(std::uint64_t number) noexcept {
  rlimit r{};
  if (::getrlimit(RLIMIT_NOFILE, &r) != 0) return -1;
  r.rlim_cur = number;
  return ::setrlimit(RLIMIT_NOFILE, &r);
}

/// Makes a call in this process.
/// \param socket through which descriptors go to the other process
inline void make(process_call& c, int socket) {
  using kind = process_call::kind;
  const kvm_vfio::native::host sys;
  const auto number = [&c](long answer) {
    c.error = answer < 0 ? kvm_vfio::to_errc(errno) : kvm_vfio::errc::ok;
    c.value = answer < 0 ? 0 : static_cast<std::uint64_t>(answer);
  };
  const auto told = [&c](const auto& answer) {
    c.error = answer.error();
    c.value = answer ? static_cast<std::uint64_t>(*answer) : 0;
  };
  const auto number_of = [](std::uint64_t n) { return static_cast<std::uintptr_t>(n); };
  void* const memory = reinterpret_cast<void*>(number_of(c.argument));
  const auto size = static_cast<std::size_t>(c.size);
  switch (c.what) {
    case kind::open: return told(sys.open(c.path, c.number));
    case kind::close: c.error = sys.close(c.fd); return;
    case kind::dup: return told(sys.dup(c.fd));
    case kind::dup_from: return number(::fcntl(c.fd, F_DUPFD, c.number));
    case kind::dup2: return number(::dup2(c.fd, c.number));
    case kind::ioctl:
      return told(sys.ioctl(c.fd, static_cast<unsigned long>(c.request), number_of(c.argument)));
    case kind::read: return told(sys.read(c.fd, memory, size));
    case kind::write: return told(sys.write(c.fd, memory, size));
    case kind::pread: return told(sys.pread(c.fd, memory, size, c.at));
    case kind::pwrite: return told(sys.pwrite(c.fd, memory, size, c.at));
    case kind::mmap: {
      const auto at = sys.mmap(size, c.number, c.fd, c.at);
      c.error = at.error();
      c.value = at ? reinterpret_cast<std::uintptr_t>(*at) : 0;
      return;
    }
    case kind::munmap: c.error = sys.munmap(memory, size); return;
    case kind::eventfd: return told(sys.eventfd());
    case kind::memory_file: return number(make_memory_file(c.size));
    case kind::send: return number(send_descriptor(socket, c.fd));
    case kind::receive: return number(receive_descriptor(socket));
    case kind::take: return number(take_descriptor(static_cast<pid_t>(c.size), c.number));
    case kind::limit_descriptors: return number(limit_descriptors(c.size));
    case kind::limit_memory: real_limit::limit(c.size); return;
    case kind::capable: real_limit::capable(c.number != 0); return;
    case kind::user: {
      const auto id = static_cast<uid_t>(c.number);
      return number(::setresuid(id, id, id));
    }
  }
}

/// The connections between this process and its child, and the call that the child makes next.
struct link {
  int to_child = -1;    ///< a pipe: a byte lets the child make the call
  int from_child = -1;  ///< a pipe: a byte tells that the call was made
  int transfer = -1;    ///< a socket for descriptors; -1: the kernel has no sockets
  process_call* next = nullptr;
  pid_t parent = -1, child = -1;
  /// Without sockets: the numbers that the sender gave to the files that were sent.
  std::deque<int> sent_to_parent{}, sent_to_child{};
};
}  // namespace detail

/// A process of the running kernel: this one, or its child. Models `system`.
class real_process {
  using kind = process_call::kind;
  using errc = kvm_vfio::errc;
  template <class T>
  using result = kvm_vfio::result<T>;

 public:
  real_process() noexcept = default;
  /// \param to    the connection to the other process; must outlive the calls
  /// \param child whether the child makes the calls
  real_process(detail::link& to, bool child) noexcept : link_(&to), child_(child) {}

  [[nodiscard]] result<int> open(const char* path, int flags) const noexcept {
    process_call c{.what = kind::open, .number = flags};
    std::snprintf(c.path, sizeof c.path, "%s", path);
    return answer<int>(c);
  }
  errc close(int fd) const noexcept {  // NOLINT(modernize-use-nodiscard): often nothing can be done
    return error({.what = kind::close, .fd = fd});
  }
  [[nodiscard]] result<int> dup(int fd) const noexcept {
    return answer<int>({.what = kind::dup, .fd = fd});
  }
  [[nodiscard]] result<int> ioctl(int fd, unsigned long request,
                                  std::uintptr_t argument) const noexcept {
    return answer<int>({.what = kind::ioctl, .fd = fd, .request = request, .argument = argument});
  }
  [[nodiscard]] result<std::size_t> read(int fd, void* to, std::size_t size) const noexcept {
    return bytes(kind::read, fd, to, size);
  }
  [[nodiscard]] result<std::size_t> write(int fd, const void* from,
                                          std::size_t size) const noexcept {
    return bytes(kind::write, fd, from, size);
  }
  [[nodiscard]] result<std::size_t> pread(int fd, void* to, std::size_t size,
                                          std::uint64_t at) const noexcept {
    return bytes(kind::pread, fd, to, size, at);
  }
  [[nodiscard]] result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                           std::uint64_t at) const noexcept {
    return bytes(kind::pwrite, fd, from, size, at);
  }
  [[nodiscard]] result<void*> mmap(std::size_t size, int protection, int fd,
                                   std::uint64_t at) const noexcept {
    const auto a = answer<std::uintptr_t>(
        {.what = kind::mmap, .fd = fd, .number = protection, .size = size, .at = at});
    if (!a) return a.error();
    return reinterpret_cast<void*>(*a);
  }
  errc munmap(void* at, std::size_t size) const noexcept {  // NOLINT(modernize-use-nodiscard)
    return error({.what = kind::munmap, .argument = address(at), .size = size});
  }
  [[nodiscard]] result<int> eventfd() const noexcept {
    return answer<int>({.what = kind::eventfd});
  }

  // The calls that a `system` does not have.

  /// fcntl(2) with F_DUPFD.
  [[nodiscard]] result<int> dup_from(int fd, int lowest) const noexcept {
    return answer<int>({.what = kind::dup_from, .fd = fd, .number = lowest});
  }
  /// dup2(2).
  [[nodiscard]] errc dup2(int fd, int to) const noexcept {
    return error({.what = kind::dup2, .fd = fd, .number = to});
  }
  /// Makes a file in memory (memfd_create(2)) of a size in bytes.
  [[nodiscard]] result<int> memory_file(std::uint64_t size) const noexcept {
    return answer<int>({.what = kind::memory_file, .size = size});
  }
  /// Sends a descriptor to the other process (SCM_RIGHTS). If the kernel has no sockets, the file
  /// gets a number for it, and the other process takes it by this number.
  [[nodiscard]] errc send(int fd) const {
    if (link_->transfer >= 0) return error({.what = kind::send, .fd = fd});
    const auto copy = dup_from(fd, 800);
    if (copy) (child_ ? link_->sent_to_parent : link_->sent_to_child).push_back(*copy);
    return copy.error();
  }
  /// Receives the descriptor that the other process sent first.
  [[nodiscard]] result<int> receive() const {
    if (link_->transfer >= 0) return answer<int>({.what = kind::receive});
    auto& sent = child_ ? link_->sent_to_child : link_->sent_to_parent;
    if (sent.empty()) return errc::again;
    const int number = sent.front();
    sent.pop_front();
    const pid_t other = child_ ? link_->parent : link_->child;
    const auto fd = answer<int>(
        {.what = kind::take, .number = number, .size = static_cast<std::uint64_t>(other)});
    (void)real_process(*link_, !child_).close(number);
    return fd;
  }
  /// Sets RLIMIT_NOFILE.
  void limit_descriptors(std::uint64_t n) const noexcept {
    (void)error({.what = kind::limit_descriptors, .size = n});
  }
  /// Sets RLIMIT_MEMLOCK, in bytes.
  void limit_memory(std::uint64_t n) const noexcept {
    (void)error({.what = kind::limit_memory, .size = n});
  }
  /// Gives CAP_IPC_LOCK to the process, or takes it away.
  void capable(bool yes) const noexcept {
    (void)error({.what = kind::capable, .number = yes ? 1 : 0});
  }
  /// Gives the process another user, who has no privileges.
  void user(int id) const noexcept { (void)error({.what = kind::user, .number = id}); }
  /// Removes memory from the process.
  void forget(void* at, std::size_t size) const noexcept { (void)munmap(at, size); }

 private:
  static std::uint64_t address(const void* p) noexcept {
    return reinterpret_cast<std::uintptr_t>(p);
  }
  // Makes the call, and returns its answer.
  [[nodiscard]] process_call made(process_call c) const noexcept {
    if (!child_) {
      detail::make(c, link_ ? link_->transfer : -1);
      return c;
    }
    *link_->next = c;
    char byte = 0;
    if (::write(link_->to_child, &byte, 1) != 1 || ::read(link_->from_child, &byte, 1) != 1)
      c.error = errc::srch;  // the child is gone
    else c = *link_->next;
    return c;
  }
  template <class T>
  [[nodiscard]] result<T> answer(const process_call& c) const noexcept {
    const process_call done = made(c);
    if (done.error != errc::ok) return done.error;
    return static_cast<T>(done.value);
  }
  [[nodiscard]] result<std::size_t> bytes(kind what, int fd, const void* memory, std::size_t size,
                                          std::uint64_t at = 0) const noexcept {
    return answer<std::size_t>(
        {.what = what, .fd = fd, .argument = address(memory), .size = size, .at = at});
  }
  [[nodiscard]] errc error(const process_call& c) const noexcept { return made(c).error; }

  detail::link* link_ = nullptr;
  bool child_ = false;
};
static_assert(kvm_vfio::system<real_process>);

/// This process and a child of it. The destructor ends the child, and gives this process its limits
/// back. Failures of the calls that this takes are thrown as std::system_error.
class real_pair {
 public:
  using system = real_process;

  real_pair() = default;
  real_pair(const real_pair&) = delete;
  real_pair& operator=(const real_pair&) = delete;
  ~real_pair() { end(); }

  [[nodiscard]] system parent() noexcept { return {link_, false}; }
  /// Makes the child, which gets copies of all descriptors, and of the memory (fork(2)).
  /// \pre there is no child
  [[nodiscard]] system fork() {
    int down[2], up[2], transfer[2] = {-1, -1};
    check(::pipe(down) == 0 && ::pipe(up) == 0);
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, transfer) == 0) move(transfer);
    else check(errno == ENOSYS);
    move(down);
    move(up);
    link_ = {down[1], up[0], transfer[0], new (call_.at()) process_call, ::getpid()};
    std::fflush(nullptr);
    link_.child = ::fork();
    check(link_.child >= 0);
    const bool child = link_.child == 0;
    for (const int not_mine : {down[child ? 1 : 0], up[child ? 0 : 1], transfer[child ? 0 : 1]})
      ::close(not_mine);
    if (child) serve(down[0], up[1], transfer[1], *link_.next);
    return {link_, true};
  }
  /// Ends the child, if there is one, and waits until it has ended. Closes the files that were sent
  /// and not received.
  void end() noexcept {
    if (link_.child <= 0) return;
    ::close(link_.to_child);
    int status = 0;
    (void)::waitpid(link_.child, &status, 0);
    ::close(link_.from_child);
    ::close(link_.transfer);
    for (const int fd : link_.sent_to_child) ::close(fd);
    link_ = {};
  }

 private:
  // Makes the calls in the child until the parent closes its end.
  [[noreturn]] static void serve(int in, int out, int transfer, process_call& next) noexcept {
    for (char byte = 0; ::read(in, &byte, 1) == 1;) {
      detail::make(next, transfer);
      if (::write(out, &byte, 1) != 1) break;
    }
    ::_exit(0);
  }
  // Gives two descriptors numbers that are so large that they are not those of the next files.
  static void move(int (&fds)[2]) {
    for (int& fd : fds) {
      const int low = fd;
      fd = ::fcntl(low, F_DUPFD_CLOEXEC, 900);
      check(fd >= 0);
      ::close(low);
    }
  }
  static void check(bool holds) {
    if (!holds) throw std::system_error(errno, std::generic_category(), "a pair of processes");
  }

  real_limit before_;
  shared_memory call_;
  detail::link link_;
};

}  // namespace vfio_lockstep
