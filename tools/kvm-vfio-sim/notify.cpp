// SPDX-License-Identifier: BSL-1.0
#include "notify.hpp"

#include "paths.hpp"
#include "proc.hpp"
#include "remapping.hpp"
#include "ring_files.hpp"
#include "run.hpp"
#include "system_calls.hpp"

#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <set>
#include <string_view>
#include <utility>

namespace kvm_vfio_sim {
namespace {

namespace sim = kvm_vfio::sim;
static_assert(fault_queue_alloc == kvm_vfio::uapi::request_fault_queue_alloc);

constexpr std::uint64_t page = 4096;
constexpr long sysfs_magic = 0x62656572;
// Addresses that no program has. A mapping has one until the kernel has chosen its address.
constexpr std::uint64_t first_stand_in = std::uint64_t{0xffff} << 48;
constexpr std::uint64_t stand_in_distance = std::uint64_t{1} << 36;

// struct open_how of linux/openat2.h.
struct open_how_2 {
  std::uint64_t flags;
  std::uint64_t mode;
  std::uint64_t resolve;
};

void as_node(struct stat& s, unsigned major, unsigned minor) {
  if (major == 0 && minor == 0) {
    s.st_mode = (s.st_mode & 07777U & ~static_cast<unsigned>(S_IFMT)) | 0600U;
    return;
  }
  s.st_mode = S_IFCHR | 0600;
  s.st_rdev = makedev(major, minor);
  s.st_size = 0;
  s.st_blocks = 0;
}

void as_node(struct statx& s, unsigned major, unsigned minor) {
  if (major == 0 && minor == 0) return;
  s.stx_mode = S_IFCHR | 0600;
  s.stx_rdev_major = major;
  s.stx_rdev_minor = minor;
}

}  // namespace

notifier::notifier(unique_fd listener, std::string directory, std::vector<sim::device_node> nodes,
                   bool kvm)
    : listener_(std::move(listener)),
      directory_(std::move(directory)),
      nodes_(std::move(nodes)),
      kvm_(kvm) {
  // From Linux 6.6 on: the thread and this program wake each other up without a detour.
  constexpr unsigned long set_flags = _IOW('!', 4, std::uint64_t);
  (void)::ioctl(listener_.get(), set_flags, 1UL);
}

bool notifier::receive() {
  call_ = {};  // the kernel wants zeros
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &call_) == 0;
}

void notifier::serve(server& answers) {
  if (!receive()) return;
  answered_ = false;
  const bool unsettled =
      std::any_of(answers.clients_.begin(), answers.clients_.end(), [](const auto& c) {
        return !c.second->awaited.empty() || c.second->executing != 0 || !c.second->forking.empty();
      });
  if (client* const c = unsettled ? known_client(answers) : nullptr) {
    if (!c->awaited.empty()) answers.settle(*c, thread());
    if (c->executing != 0) follow_exec(answers, *c);
    if (!c->forking.empty()) follow_forks(answers, *c);
  }
  execute(answers);
  if (!answered_) pass();
}

void notifier::leave() {
  pollfd p{listener_.get(), POLLIN, 0};
  if (::poll(&p, 1, 0) == 1 && (p.revents & POLLHUP)) return;
  if (::fork() != 0) return;
  // Nobody may wait for the end of this process.
  (void)::setsid();
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) (void)::dup2(nothing, fd);
  const int kept = ::dup2(listener_.get(), 3);
  (void)system_call(SYS_close_range, 4U, ~0U, 0U);
  for (p.fd = kept; ::poll(&p, 1, -1) > 0 && !(p.revents & (POLLHUP | POLLNVAL));) {
    call_ = {};
    if (::ioctl(kept, SECCOMP_IOCTL_NOTIF_RECV, &call_) != 0) continue;
    seccomp_notif_resp r{call_.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    (void)::ioctl(kept, SECCOMP_IOCTL_NOTIF_SEND, &r);
  }
  ::_exit(0);
}

// ---- Answers ----

// An answer fails only if the thread was killed.

void notifier::pass() {
  seccomp_notif_resp r{call_.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &r);
  answered_ = true;
}

void notifier::pass_and_fail(int error) {
  const pid_t tid = thread();
  // The thread does not stop before the end of the call.
  if (::ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) != 0 ||
      ::ptrace(PTRACE_INTERRUPT, tid, nullptr, nullptr) != 0) {
    (void)complain("a fault of close(2) was not met, because the thread cannot be traced: " +
                   std::string(std::strerror(errno)) +
                   "; a debugger traces it, or a container forbids it");
    return pass();
  }
  pass();
  siginfo_t stopped{};
  // Another thread may end the process.
  while (::waitid(P_PID, static_cast<id_t>(tid), &stopped, WSTOPPED | WNOHANG | __WALL) == 0 &&
         stopped.si_pid == 0) {
    if (is_exiting(tid)) return;
    const timespec moment{0, 20000};
    (void)::nanosleep(&moment, nullptr);
  }
  if (stopped.si_pid == 0) return;
#if defined(__aarch64__)
  constexpr std::size_t result = 0;  // x0
#else
  constexpr std::size_t result = 10;  // rax in user_regs_struct, or a0
#endif
  unsigned long registers[128] = {};
  iovec all{registers, sizeof registers};
  auto* const kind = reinterpret_cast<void*>(std::uintptr_t{NT_PRSTATUS});
  if (::ptrace(PTRACE_GETREGSET, tid, kind, &all) == 0) {
    registers[result] = static_cast<unsigned long>(-static_cast<long>(error));
    (void)::ptrace(PTRACE_SETREGSET, tid, kind, &all);
  }
  // The stop of PTRACE_INTERRUPT has no signal. Another stop has the signal that is delivered.
  const int signal = stopped.si_status >> 8 == PTRACE_EVENT_STOP ? 0 : stopped.si_status & 0x7f;
  (void)::ptrace(PTRACE_DETACH, tid, nullptr,
                 reinterpret_cast<void*>(static_cast<std::uintptr_t>(signal)));
}

void notifier::answer(std::int64_t value, int error) {
  seccomp_notif_resp r{call_.id, error == 0 ? value : 0, -error, 0};
  (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &r);
  answered_ = true;
}

void notifier::answer_own(long result) { answer(result, result < 0 ? errno : 0); }

int notifier::add(int file, bool close_on_exec, int number, std::uint32_t flags) {
  seccomp_notif_addfd a{};
  a.id = call_.id;
  a.flags = flags | (number >= 0 ? SECCOMP_ADDFD_FLAG_SETFD : 0U);
  a.srcfd = static_cast<std::uint32_t>(file);
  a.newfd = number >= 0 ? static_cast<std::uint32_t>(number) : 0;
  a.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  const int made = ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &a);
  return made < 0 ? -errno : made;
}

int notifier::give(int file, bool close_on_exec, int number) {
  const int made = add(file, close_on_exec, number, SECCOMP_ADDFD_FLAG_SEND);
  if (made >= 0) answered_ = true;
  return made;
}

bool notifier::is_valid() const {
  std::uint64_t id = call_.id;
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

// ---- The thread's memory ----

bool notifier::read(std::uint64_t from, void* to, std::size_t size) const {
  return remote_memory(thread()).read(from, to, size);
}

bool notifier::write(std::uint64_t to, const void* from, std::size_t size) const {
  return remote_memory(thread()).write(to, from, size);
}

bool notifier::read_path(std::uint64_t from, std::string& to) const {
  to.clear();
  // Most paths are short. A part never reaches over the end of a page, which may be the last.
  for (std::uint64_t part = 256; to.size() < PATH_MAX; part = page) {
    char text[page];
    const std::uint64_t size = std::min(part, page - from % page);
    if (!read(from, text, size)) return false;
    const std::string_view got(text, size);
    const std::size_t end = got.find('\0');
    to += got.substr(0, end);
    if (end != std::string_view::npos) return to.size() < PATH_MAX;
    from += size;
  }
  return false;
}

// ---- Paths ----

std::string notifier::path_at(int directory, const std::string& path) const {
  char own[PATH_MAX];
  if (path.empty()) return {};
  if (path[0] == '/') return tidy(path.c_str(), own) ? own : std::string();
  if (directory < 0) return {};
  // Programs that walk through a path open each folder of the path.
  std::string from = link_of(thread(), directory);
  if (!strip(from) && from != "/" && !starts(from.c_str(), "/sys") && !starts(from.c_str(), "/dev"))
    return {};
  return tidy((from + "/" + path).c_str(), own) ? own : std::string();
}

std::string notifier::shown(const std::string& path) const {
  const place where = path.empty() ? place::real : place_of(path.c_str());
  if (where == place::real) return {};
  std::string in_view = directory_ + path;
  if (where == place::view) {
    const unique_fd viewed(
        ::open((directory_ + viewed_name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return in_view;
  }
  struct stat s{};
  return ::lstat(in_view.c_str(), &s) == 0 ? in_view : std::string();
}

bool notifier::strip(std::string& path) const {
  if (path.size() <= directory_.size() || !std::string_view(path).starts_with(directory_) ||
      path[directory_.size()] != '/')
    return false;
  path.erase(0, directory_.size());
  return true;
}

const sim::device_node* notifier::node(const std::string& path) const {
  for (const sim::device_node& n : nodes_)
    if (n.path == path) return &n;
  return nullptr;
}

// ---- Processes ----

pid_t notifier::process_here(const server& s) {
  const pid_t tid = thread();
  if (s.clients_.count(tid) != 0) return tid;
  if (const auto known = process_of_.find(tid); known != process_of_.end()) {
    // The number of a thread may be used again by another process.
    const std::string path = in_proc(known->second, "task/" + std::to_string(tid));
    if (::access(path.c_str(), F_OK) == 0) return known->second;
  }
  if (process_of_.size() > 4096) process_of_.clear();
  return process_of_[tid] = process_of(tid);
}

notifier::client* notifier::known_client(server& s) {
  const auto c = s.clients_.find(process_here(s));
  return c == s.clients_.end() ? nullptr : c->second.get();
}

notifier::client* notifier::client_here(server& s) {
  // What was closed before this call has an effect before this call.
  s.follow_ends();
  const pid_t process = process_here(s);
  const bool is_new = s.clients_.count(process) == 0;
  if (process == 0 || !is_valid()) return nullptr;
  client& c = s.client_of(process, is_new);
  if (is_new) follow_fork(s, c, parent_of(process));
  return &c;
}

void notifier::follow_fork(server& s, client& c, pid_t parent_process) {
  pid_t known = parent_process;
  while (known > 1 && s.clients_.count(known) == 0) known = parent_of(known);
  if (known <= 1) return;
  // A parent that has made no call yet has its descriptors from its own parent.
  if (known != parent_process)
    follow_fork(s, s.client_of(parent_process, true), parent_of(parent_process));
  const auto parent = s.clients_.find(parent_process);
  s.settle(*parent->second, 0);
  request r;
  r.what = operation::forked;
  r.number = parent->first;
  (void)s.execute(c, r, "", {});
  // What the child closed in the meantime, or never had.
  for (auto& [key, f] : s.files_)
    std::erase_if(f.at, [&, wanted = key, file = f.file](const std::pair<pid_t, int>& at) {
      if (at.first != c.pid || c.task.file_of(at.second) != file) return false;
      if (s.key_of(c.pid, at.second, link_of(c.pid, at.second)) == wanted) return false;
      (void)c.task.close(at.second);
      return true;
    });
}

void notifier::follow_forks(server& s, client& c) {
  for (const pid_t child : children_of(c.pid)) {
    if (s.clients_.count(child) != 0 || is_exiting(child)) continue;
    client& made = s.client_of(child, true);
    // The child may have ended in the meantime.
    if (made.ended) follow_fork(s, made, c.pid);
    else s.end_process(child);
  }
  // A thread that makes a call has its child already.
  c.forking.erase(thread());
}

void notifier::follow_exec(server& s, client& c) {
  const bool executed = program_mark(c.pid) != c.mark;
  if (!executed && c.executing != thread()) return;
  c.executing = 0;
  if (executed) (void)s.client_of(c.pid, true);
}

notifier::file_key notifier::file_at(server& s, int fd) {
  if (s.files_.empty() || fd < 0) return 0;
  const std::string link = link_of(thread(), fd);
  if (!s.locked_.empty())
    if (client* const c = known_client(s))
      if (const file_key known = s.known_key_of(*c, fd, link); known != 0) return known;
  return s.key_of(thread(), fd, link);
}

// ---- Calls ----

void notifier::execute(server& s) {
  switch (call_.data.nr) {
#ifdef SYS_open
    case SYS_open: return open(s, AT_FDCWD, argument(0), argument(1), argument(2), nullptr);
    case SYS_stat: return stat(s, AT_FDCWD, argument(0), argument(1), 0);
    case SYS_lstat: return stat(s, AT_FDCWD, argument(0), argument(1), AT_SYMLINK_NOFOLLOW);
    case SYS_access: return access(AT_FDCWD, argument(0), argument(1), 0);
    case SYS_readlink: return read_link(s, AT_FDCWD, argument(0), argument(1), argument(2));
    case SYS_dup2:
      if (argument(0) != argument(1)) duplicate(s, number(0), 0, number(1), false);
      return;
#endif
    case SYS_openat: return open(s, number(0), argument(1), argument(2), argument(3), nullptr);
    case SYS_openat2: {
      open_how_2 how{};
      if (argument(3) < sizeof how || !read(argument(2), &how, sizeof how)) return;
      return open(s, number(0), argument(1), how.flags, how.mode, &how.resolve);
    }
    case SYS_newfstatat: return stat(s, number(0), argument(1), argument(2), number(3));
    case SYS_fstat: return stat_descriptor(s, number(0), argument(1));
    case SYS_statx: return statx(s);
    case SYS_faccessat: return access(number(0), argument(1), argument(2), 0);
    case SYS_faccessat2: return access(number(0), argument(1), argument(2), number(3));
    case SYS_readlinkat: return read_link(s, number(0), argument(1), argument(2), argument(3));
    case SYS_statfs:
    case SYS_fstatfs: return stat_system();
    case SYS_close: is_freed(s, number(0)); return close(s);
    case SYS_close_range: is_freed(s, number(0)); return close_range(s);
    case SYS_dup: return duplicate(s, number(0), 0, -1, false);
    case SYS_dup3:
      if (argument(0) != argument(1) && (argument(2) & ~std::uint64_t{O_CLOEXEC}) == 0)
        duplicate(s, number(0), 0, number(1), argument(2) != 0);
      return;
    case SYS_fcntl: return duplicate(s, number(0), number(2), -1, number(1) == F_DUPFD_CLOEXEC);
    case SYS_pread64: return transfer(s, operation::pread);
    case SYS_pwrite64: return transfer(s, operation::pwrite);
    case SYS_preadv: return transfer(s, operation::preadv);
    case SYS_pwritev: return transfer(s, operation::pwritev);
    case SYS_read: return transfer(s, operation::read);
    case SYS_write: return transfer(s, operation::write);
    case SYS_readv: return transfer(s, operation::readv);
    case SYS_writev: return transfer(s, operation::writev);
    case SYS_lseek: return refuse(s, number(0), -1, ESPIPE);
    case SYS_sendfile: return refuse(s, number(0), number(1), EINVAL);
    case SYS_splice:
    case SYS_copy_file_range: return refuse(s, number(0), number(2), EINVAL);
    case SYS_tee: return refuse(s, number(0), number(1), EINVAL);
    case SYS_vmsplice: return refuse(s, number(0), -1, EBADF);
    case SYS_ftruncate: return refuse(s, number(0), -1, EINVAL);
    case SYS_fallocate: return refuse(s, number(0), -1, ENODEV);
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_sendmmsg:
    case SYS_recvmmsg:
    case SYS_shutdown:
    case SYS_getsockopt:
    case SYS_setsockopt:
    case SYS_getsockname:
    case SYS_getpeername:
    case SYS_connect:
    case SYS_bind:
    case SYS_listen:
    case SYS_accept:
    case SYS_accept4: return refuse(s, number(0), -1, ENOTSOCK);
    case SYS_io_uring_setup:
    case SYS_io_uring_register: return use_ring(s);
    case SYS_preadv2:
    case SYS_pwritev2: {
      const bool reads = call_.data.nr == SYS_preadv2;
      if ((argument(5) & ~std::uint64_t{RWF_HIPRI}) != 0) {
        if (file_at(s, number(0)) != 0) answer(0, EOPNOTSUPP);
        return;
      }
      // The offset -1 stands for the position of the file.
      if (argument(3) == ~std::uint64_t{0})
        return transfer(s, reads ? operation::readv : operation::writev);
      return transfer(s, reads ? operation::preadv : operation::pwritev);
    }
    case SYS_execve:
    case SYS_execveat:
      is_freed(s, 0);
      // execve(2) may fail, so its effects are found with the next call.
      if (client* const c = s.clients_.empty() ? nullptr : known_client(s)) {
        c->executing = thread();
        c->mark = program_mark(c->pid);
      }
      return;
#ifdef SYS_fork
    case SYS_fork:
    case SYS_vfork:
#endif
    case SYS_clone:
    case SYS_clone3:
      // The child does not exist yet.
      if (client* const c = s.clients_.empty() ? nullptr : known_client(s))
        if (c->task.descriptors() != 0 || !c->mappings.empty()) c->forking.insert(thread());
      return;
    case SYS_ioctl: return ioctl(s);
    case SYS_mmap: return map(s);
    case SYS_munmap: return unmap(s);
    case SYS_mremap: return remap(s);
    default: return;
  }
}

void notifier::open(server& s, int directory, std::uint64_t path, std::uint64_t flags,
                    std::uint64_t mode, const std::uint64_t* resolve) {
  std::string text;
  if (!read_path(path, text)) return;
  const std::string own = path_at(directory, text);
  if (own.empty()) return;
  const bool close_on_exec = (flags & O_CLOEXEC) != 0;
  if (opens_simulated(own.c_str(), kvm_) && !(flags & (O_PATH | O_DIRECTORY))) {
    client* const c = client_here(s);
    if (!c) return;
    request r;
    r.what = operation::open;
    r.flags = static_cast<std::uint32_t>(flags);
    return make(s, *c, r, own.c_str(), close_on_exec);
  }
  const std::string where = shown(own);
  if (where.empty() || !is_valid()) return;
  long made = -1;
  if (resolve) {
    open_how_2 how{flags | O_CLOEXEC, mode, 0};
    made = system_call(SYS_openat2, AT_FDCWD, where.c_str(), &how, sizeof how);
  } else {
    made = ::open(where.c_str(), static_cast<int>(flags) | O_CLOEXEC | O_NOCTTY, mode);
  }
  if (made < 0) return answer_own(made);
  const unique_fd file(static_cast<int>(made));
  if (const int got = give(file.get(), close_on_exec); got < 0) answer(0, -got);
}

void notifier::is_freed(const server& s, int fd) {
  if (free_from_.empty()) return;
  if (const auto from = free_from_.find(process_here(s)); from != free_from_.end())
    from->second = std::min(from->second, std::max(fd, 0));
}

void notifier::make(server& s, client& c, request r, const char* path, bool close_on_exec) {
  if (free_from_.size() > 4096) free_from_.clear();
  int& from = free_from_[c.pid];
  struct rlimit most{};
  const bool limited = ::prlimit(thread(), RLIMIT_NOFILE, nullptr, &most) == 0;
  const auto is_too_large = [&](int fd) {
    return limited && static_cast<rlim_t>(fd) >= most.rlim_cur;
  };
  r.number = free_descriptor(thread(), from);
  if (from != 0 && is_too_large(r.number)) r.number = free_descriptor(thread(), 0);
  if (is_too_large(r.number)) return answer(0, EMFILE);
  from = r.number;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return answer_own(-1);
  unique_fd own(ends[0]);
  unique_fd other(ends[1]);
  // A call of read(2) must not wait for ever.
  (void)::shutdown(own.get(), SHUT_RD);
  struct stat socket{};
  (void)::fstat(own.get(), &socket);
  r.inode = socket.st_ino;
  c.observer.mode = server::relay::holds;
  const server::sent out = s.execute(c, r, path, std::move(other));
  c.observer.mode = server::relay::tells;
  auto held = std::exchange(c.observer.held, {});
  const auto tell = [&] {
    for (const kvm_vfio::trace::call& told : held) c.observer.called(told);
  };
  if (out.answer.made == 0) {
    tell();
    return answer(out.answer);
  }
  file_key key = r.inode;
  if (unique_fd memory = s.as_memory(key)) {
    own = std::move(memory);
    key = s.locked_.back();
  }
  // KVM_CREATE_DEVICE and IOMMU_FAULT_QUEUE_ALLOC return the descriptor in their structs.
  const bool is_value = out.answer.value == r.number;
  const int got = is_value ? give(own.get(), close_on_exec) : add(own.get(), close_on_exec, -1, 0);
  if (got != r.number) {
    sim::file* const made = c.task.file_of(r.number);
    std::erase(s.files_[key].at, std::pair<pid_t, int>(c.pid, r.number));
    if (got >= 0) {
      // Another thread has taken the number in the meantime.
      made->get();
      c.task.lend(got, made);
      s.files_[key].at.emplace_back(c.pid, got);
      const std::int32_t fd = got;
      const std::size_t at = r.first == fault_queue_alloc
                                 ? offsetof(kvm_vfio::uapi::iommu_fault_alloc, out_fault_fd)
                                 : offsetof(kvm_create_device, fd);
      if (!is_value) (void)write(r.second + at, &fd, sizeof fd);
      for (kvm_vfio::trace::call& told : held) {
        if (told.made == r.number) told.made = got;
        if (is_value && told.value == r.number) told.value = got;
      }
    }
    c.task.lend(r.number, nullptr);
  }
  tell();
  if (got < 0) answer(0, -got);
  else if (!is_value) answer(out.answer);
}

void notifier::ioctl(server& s) {
  const int fd = number(0);
  request r;
  r.what = operation::ioctl;
  r.fd = fd;
  r.first = argument(1) & 0xffffffff;
  r.second = argument(2);
  const file_key key = file_at(s, fd);
  if (key == 0) {
    // kvm-vfio is simulated even if the VM is one of the real KVM.
    kvm_create_device wanted{};
    if (r.first != KVM_CREATE_DEVICE || link_of(thread(), fd) != "anon_inode:kvm-vm" ||
        !read(r.second, &wanted, sizeof wanted) || wanted.type != KVM_DEV_TYPE_VFIO)
      return;
  }
  client* const c = client_here(s);
  if (!c) return;
  if (key != 0) {
    s.follow(*c, fd);
  } else if (!c->task.file_of(fd)) {
    request vm;
    vm.what = operation::created_vm;
    vm.number = fd;
    (void)s.execute(*c, vm, "", {});
  }
  switch (r.first) {
    case VFIO_GROUP_GET_DEVICE_FD:
    case fault_queue_alloc:
    case KVM_CREATE_DEVICE:
    case KVM_CREATE_VM: return make(s, *c, r, "", true);
    default: return answer(s.execute(*c, r, "", {}).answer);
  }
}

void notifier::transfer(server& s, operation what) {
  if (file_at(s, number(0)) == 0) return;
  client* const c = client_here(s);
  if (!c) return;
  s.follow(*c, number(0));
  request r;
  r.what = what;
  r.fd = number(0);
  r.first = argument(1);
  r.second = argument(2);
  r.third = argument(3);
  answer(s.execute(*c, r, "", {}).answer);
}

void notifier::map(server& s) {
  const int fd = number(4);
  const std::uint64_t flags = argument(3);
  const bool anonymous = (flags & MAP_ANONYMOUS) != 0;
  const bool replaces = (flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE);
  const file_key key = anonymous ? 0 : file_at(s, fd);
  if (key == 0) {
    // Something else takes the place of a BAR, unless the real kernel refuses the call.
    if (replaces && argument(0) % page == 0 && argument(1) != 0 &&
        (anonymous || !link_of(thread(), fd).empty()))
      replace(s, argument(0), argument(1));
    return;
  }
  client* const c = client_here(s);
  if (!c) return;
  s.follow(*c, fd);
  // The kernel, too, removes what was there before it asks the file.
  if (replaces) replace(s, argument(0), argument(1));
  const bool fixed = replaces || (flags & MAP_FIXED_NOREPLACE) != 0;
  request r;
  r.what = operation::map;
  r.fd = fd;
  r.flags = static_cast<std::uint32_t>((argument(2) & 0xffff) | flags << 16);
  r.first = fixed ? argument(0) : first_stand_in + stand_ins_++ * stand_in_distance;
  r.second = argument(1);
  r.third = argument(5);
  if (!fixed) c->observer.mode = server::relay::holds;
  const server::sent out = s.execute(*c, r, "", {});
  c->observer.mode = server::relay::tells;
  auto held = std::exchange(c->observer.held, {});
  if (out.answer.error == 0 && held.size() == 1) {
    struct stat memory{};
    (void)::fstat(s.files_[key].memory, &memory);
    c->awaited.push_back({thread(), r.first, (r.second + page - 1) / page * page, r.third,
                          memory.st_ino, std::move(held[0])});
  } else {
    for (const kvm_vfio::trace::call& told : held) c->observer.called(told);
  }
  if (out.answer.error != 0) answer(out.answer);
  else pass();
}

void notifier::unmap(server& s) {
  const bool any = std::any_of(s.clients_.begin(), s.clients_.end(),
                               [](const auto& c) { return !c.second->mappings.empty(); });
  client* const c = any ? known_client(s) : nullptr;
  if (!c || c->mappings.empty()) return;
  request r;
  r.what = operation::unmap;
  r.first = argument(0);
  r.second = argument(1);
  const reply a = s.execute(*c, r, "", {}).answer;
  if (a.injected) answer(a);
}

void notifier::replace(server& s, std::uint64_t first, std::uint64_t size) {
  client* const c = known_client(s);
  if (!c || c->mappings.empty()) return;
  request r;
  r.what = operation::unmap;
  r.first = first;
  r.second = size;
  r.flags = 1;
  (void)s.execute(*c, r, "", {});
}

void notifier::remap(server& s) {
  client* const c = known_client(s);
  if (!c || c->mappings.empty()) return;
  const remapping m(argument(0), argument(1), argument(2), argument(3), argument(4));
  if (m.is_wrong()) return;
  const bool is_own = std::any_of(c->mappings.begin(), c->mappings.end(), [&](const auto& mapped) {
    return mapped.first < m.from + std::max(m.old_size, page) &&
           m.from < mapped.first + mapped.second;
  });
  if (is_own && m.error() != 0) return answer(0, m.error());
  if (m.moves()) replace(s, m.to, m.new_size);
  if (!is_own) return;
  if (m.new_size < m.old_size) replace(s, m.from + m.new_size, m.old_size - m.new_size);
  if (!m.moves()) return;
  request r;
  r.what = operation::remap;
  r.first = m.from;
  r.second = m.new_size;
  r.third = m.to;
  (void)s.execute(*c, r, "", {});
}

void notifier::refuse(server& s, int fd, int other, int error) {
  if (file_at(s, fd) != 0 || file_at(s, other) != 0) answer(0, error);
}

void notifier::use_ring(server& s) {
  client* const c = known_client(s);
  if (!c) return;
  request r;
  r.what = operation::ring;
  if (call_.data.nr == SYS_io_uring_register) {
    const ring_files named = ring_files_of(
        argument(1), argument(2), argument(3),
        [&](std::uint64_t from, void* to, std::size_t size) { return read(from, to, size); });
    std::vector<std::int32_t> files(named.count);
    if (!read(named.at, files.data(), files.size() * sizeof(std::int32_t)) ||
        std::none_of(files.begin(), files.end(), [&](int fd) { return file_at(s, fd) != 0; }))
      return;
    r.flags = 1;
  }
  (void)s.execute(*c, r, "", {});
  if (r.flags != 0) answer(0, EOPNOTSUPP);
}

void notifier::close(server& s) {
  if (s.files_.empty()) return;
  const int fd = number(0);
  const std::string link = link_of(thread(), fd);
  request r;
  r.what = operation::close;
  r.fd = fd;
  if (s.key_of(thread(), fd, link) != 0) {
    client* const c = client_here(s);
    if (!c) return;
    s.follow(*c, fd);
    if (const reply a = s.execute(*c, r, "", {}).answer; a.injected) pass_and_fail(a.error);
  } else if (link == "anon_inode:kvm-vm") {
    client* const c = known_client(s);
    if (!c || !c->task.file_of(fd)) return;
    if (const reply a = s.execute(*c, r, "", {}).answer; a.injected) pass_and_fail(a.error);
  }
}

void notifier::close_range(server& s) {
  constexpr std::uint64_t only_on_exec = 4;  // CLOSE_RANGE_CLOEXEC
  if (s.files_.empty() || (argument(2) & only_on_exec)) return;
  client* const c = known_client(s);
  if (!c) return;
  std::set<int> closed;
  for (const auto& [key, f] : s.files_)
    for (const auto& [pid, fd] : f.at)
      if (pid == c->pid && fd >= 0 &&
          static_cast<std::uint64_t>(fd) >= (argument(0) & 0xffffffff) &&
          static_cast<std::uint64_t>(fd) <= (argument(1) & 0xffffffff) &&
          c->task.file_of(fd) == f.file)
        closed.insert(fd);
  for (const int fd : closed) {
    request r;
    r.what = operation::close;
    r.fd = fd;
    r.flags = 1;
    (void)s.execute(*c, r, "", {});
  }
}

void notifier::duplicate(server& s, int from, int lowest, int to, bool close_on_exec) {
  const file_key source = file_at(s, from);
  const bool replaces = to >= 0 && file_at(s, to) != 0;
  if (source == 0 && !replaces) return;
  client* const c = client_here(s);
  if (!c) return;
  // A call that the real kernel refuses closes nothing.
  if (replaces && link_of(thread(), from).empty()) return;
  if (source != 0) {
    s.follow(*c, from);
    request r;
    r.what = operation::before_dup;
    r.fd = from;
    if (const reply a = s.execute(*c, r, "", {}).answer; a.injected) return answer(a);
  }
  if (replaces) {
    s.follow(*c, to);
    request r;
    r.what = operation::close;
    r.fd = to;
    r.flags = 1;
    (void)s.execute(*c, r, "", {});
  }
  if (source == 0) return;
  s.follow(*c, from);
  const unique_fd copy(static_cast<int>(system_call(SYS_pidfd_getfd, c->ended.get(), from, 0)));
  if (!copy) return;
  const int wanted = to >= 0 ? to : lowest > 0 ? free_descriptor(thread(), lowest) : -1;
  // If the number is not allowed, the real kernel finds that, too.
  const int got = give(copy.get(), close_on_exec, wanted);
  if (got < 0) return;
  request r;
  r.what = operation::dup;
  r.fd = from;
  r.number = got;
  (void)s.execute(*c, r, "", {});
}

// ---- Calls that look ----

void notifier::stat_descriptor(server& s, int fd, std::uint64_t to) {
  const file_key key = file_at(s, fd);
  if (key == 0) return;
  struct stat made{};
  const std::string link = in_proc(thread(), "fd/" + std::to_string(fd));
  if (::stat(link.c_str(), &made) != 0) return;
  as_node(made, s.files_[key].major, s.files_[key].minor);
  if (is_valid()) answer(0, write(to, &made, sizeof made) ? 0 : EFAULT);
}

void notifier::stat(server& s, int directory, std::uint64_t path, std::uint64_t to, int flags) {
  std::string text;
  if (!read_path(path, text)) return;
  if (text.empty()) {
    if (flags & AT_EMPTY_PATH) stat_descriptor(s, directory, to);
    return;
  }
  const std::string own = path_at(directory, text);
  const std::string where = shown(own);
  if (where.empty() || !is_valid()) return;
  struct stat made{};
  if (::fstatat(AT_FDCWD, where.c_str(), &made, flags & AT_SYMLINK_NOFOLLOW) != 0)
    return answer_own(-1);
  if (const sim::device_node* const n = node(own)) as_node(made, n->major, n->minor);
  answer(0, write(to, &made, sizeof made) ? 0 : EFAULT);
}

void notifier::statx(server& s) {
  std::string text;
  if (!read_path(argument(1), text)) return;
  const int flags = number(2);
  std::string where;
  unsigned major = 0;
  unsigned minor = 0;
  if (text.empty()) {
    const file_key key = (flags & AT_EMPTY_PATH) ? file_at(s, number(0)) : 0;
    if (key == 0) return;
    where = in_proc(thread(), "fd/" + std::to_string(number(0)));
    major = s.files_[key].major;
    minor = s.files_[key].minor;
  } else {
    const std::string own = path_at(number(0), text);
    where = shown(own);
    if (const sim::device_node* const n = node(own)) {
      major = n->major;
      minor = n->minor;
    }
  }
  if (where.empty() || !is_valid()) return;
  struct statx made{};
  if (::statx(AT_FDCWD, where.c_str(), flags & ~AT_EMPTY_PATH, static_cast<unsigned>(argument(3)),
              &made) != 0)
    return answer_own(-1);
  as_node(made, major, minor);
  answer(0, write(argument(4), &made, sizeof made) ? 0 : EFAULT);
}

void notifier::access(int directory, std::uint64_t path, std::uint64_t mode, int flags) {
  std::string text;
  if (!read_path(path, text)) return;
  const std::string where = shown(path_at(directory, text));
  if (where.empty() || !is_valid()) return;
  answer_own(system_call(SYS_faccessat2, AT_FDCWD, where.c_str(), mode, flags));
}

void notifier::read_link(server& s, int directory, std::uint64_t path, std::uint64_t to,
                         std::uint64_t size) {
  std::string text;
  if (!read_path(path, text)) return;
  std::string where = shown(path_at(directory, text));
  const bool of_proc = where.empty() && text.starts_with("/proc/");
  if (of_proc) {
    // A descriptor of a file of the view shows the path that the program opened.
    if (text.starts_with("/proc/self/")) text.replace(6, 4, std::to_string(thread()));
    if (text.starts_with("/proc/thread-self/")) text.replace(6, 11, std::to_string(thread()));
    where = text;
  }
  if (where.empty() || !is_valid()) return;
  std::string target = link_of(where);
  bool stripped = strip(target);
  const std::string own = in_proc(thread(), "fd/");
  if (of_proc && where.starts_with(own)) {
    // A node shows its path.
    const auto f = s.files_.find(file_at(s, std::atoi(where.c_str() + own.size())));
    for (const sim::device_node& n : nodes_)
      if (f != s.files_.end() && n.major == f->second.major && n.minor == f->second.minor) {
        target = n.path;
        stripped = true;
      }
  }
  if (of_proc && !stripped) return;
  if (target.empty()) {
    char nothing[1];
    return answer_own(::readlink(where.c_str(), nothing, sizeof nothing));
  }
  if (size == 0 || size > INT_MAX) return answer(0, EINVAL);
  const std::size_t length = std::min<std::size_t>(target.size(), size);
  answer(static_cast<std::int64_t>(length), write(to, target.data(), length) ? 0 : EFAULT);
}

void notifier::stat_system() {
  std::string where;
  if (call_.data.nr == SYS_statfs) {
    std::string text;
    if (!read_path(argument(0), text)) return;
    where = shown(path_at(AT_FDCWD, text));
  } else {
    where = link_of(thread(), number(0));
    std::string own = where;
    if (!strip(own)) return;
  }
  if (where.empty() || !is_valid()) return;
  struct statfs made{};
  if (::statfs(where.c_str(), &made) != 0) return answer_own(-1);
  // libudev asks whether a file is in sysfs.
  if (std::string_view(where).substr(directory_.size()).starts_with("/sys"))
    made.f_type = sysfs_magic;
  answer(0, write(argument(1), &made, sizeof made) ? 0 : EFAULT);
}

}  // namespace kvm_vfio_sim
