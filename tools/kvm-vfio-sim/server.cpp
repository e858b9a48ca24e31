// SPDX-License-Identifier: BSL-1.0
#include "server.hpp"

#include "descriptor_message.hpp"
#include "notify.hpp"
#include "proc.hpp"
#include "real_event.hpp"
#include "run.hpp"
#include "system_calls.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

namespace kvm_vfio_sim {
namespace {

using kvm_vfio::errc;
using kvm_vfio::trace::answer;
namespace sim = kvm_vfio::sim;

constexpr std::uint64_t page = 4096;

// How /proc shows a file with the memory of a device.
constexpr std::string_view memory_name = "/memfd:kvm-vfio-device";
// The offset of the first lock. It is behind all memory of a device.
constexpr std::uint64_t first_lock = std::uint64_t{1} << 62;

// No process has a descriptor with this number (the kernel's NR_OPEN, as it is by default).
constexpr std::int32_t most_descriptors = 1 << 20;

// A program can send anything. Whether the server can execute a request, whatever its answer is.
bool is_sound(const request& r, bool has_peer) {
  const auto is_number = [](std::int32_t fd) { return fd >= 0 && fd < most_descriptors; };
  if (r.fd < -1 || r.fd >= most_descriptors) return false;
  switch (r.what) {
    case operation::dup:
    case operation::created_vm: return is_number(r.number);
    case operation::map: return r.first % page == 0 && r.second <= ~std::uint64_t{0} - page;
    case operation::unmap:
      return r.first + r.second >= r.first && r.second <= ~std::uint64_t{0} - page;
    case operation::open:
    case operation::ioctl: return r.number == -1 ? !has_peer : is_number(r.number);
    case operation::remap:
      return (r.first | r.second | r.third) % page == 0 && r.first + r.second >= r.first &&
             r.third + r.second >= r.third;
    default: return true;
  }
}

void watch(int epoll, int fd, unsigned events = EPOLLIN) {
  epoll_event e{};
  e.events = events;  // and always EPOLLHUP
  e.data.fd = fd;
  (void)::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

reply to_reply(const answer& a) {
  reply r;
  if (a) r.value = *a;
  else r.error = static_cast<std::int32_t>(a.error());
  return r;
}

sim::file_kind kind_at(sim::process& task, int fd) {
  const sim::file* const f = task.file_of(fd);
  return f ? f->kind() : sim::file_kind::other;
}

}  // namespace

server::server(host& machine, std::vector<sim::device_node> nodes, fault_plan plan, int log_file)
    : host_(machine),
      nodes_(std::move(nodes)),
      faults_(std::move(plan)),
      log_(log_file, [this](int pid, int fd) { return type_of(pid, fd); }),
      events_(::epoll_create1(EPOLL_CLOEXEC)),
      ends_(::epoll_create1(EPOLL_CLOEXEC)),
      spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {
  watch(events_.get(), ends_.get());
}

server::~server() {
  while (!clients_.empty()) end_process(clients_.begin()->first);
  while (!files_.empty()) end_file(files_.begin()->first);
}

int server::listen(const std::string& path) {
  listener_ = unique_fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (!listener_ ||
      ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), 1024) != 0)
    return errno;
  watch(events_.get(), listener_.get());
  return 0;
}

void server::use(notifier& other) {
  notifier_ = &other;
  watch(events_.get(), other.fd());
}

void server::run(int ended) {
  watch(events_.get(), ended);
  for (bool running = true; running;) {
    const bool awaiting = std::any_of(clients_.begin(), clients_.end(),
                                      [](const auto& c) { return !c.second->awaited.empty(); });
    epoll_event ready[64];
    const int n = ::epoll_wait(events_.get(), ready, 64, awaiting ? 1 : -1);
    if (n == 0)
      for (const auto& [pid, c] : clients_) settle(*c, 0);
    for (int i = 0; i < n; ++i) {
      const int fd = ready[i].data.fd;
      if (fd == ended) running = false;
      else if (fd == listener_.get()) accept();
      else if (fd == ends_.get()) follow_ends();
      else if (notifier_ && fd == notifier_->fd()) {
        // EPOLLHUP: no process has the filter any more.
        if (ready[i].events & EPOLLIN) notifier_->serve(*this);
        else (void)::epoll_ctl(events_.get(), EPOLL_CTL_DEL, fd, nullptr);
      } else if (!serve(fd)) {
        connections_.erase(fd);
        (void)::close(fd);
      }
    }
  }
  follow_ends();
  while (!clients_.empty()) end_process(clients_.begin()->first);
}

void server::accept() {
  int made = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
  if (made < 0 && (errno == EMFILE || errno == ENFILE)) {
    // The process would wait for ever. So the connection is made, and ends at once.
    if (spare_)
      (void)complain(
          "a process gets ENODEV from every call, because kvm-vfio-sim can open no more "
          "descriptors (ulimit -n)");
    spare_ = unique_fd();
    made = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (made >= 0) (void)::close(made);
    spare_ = unique_fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return;
  }
  if (made < 0) return;
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(made, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 || who.pid <= 0) {
    (void)::close(made);
    return;
  }
  connections_[made] = {who.pid, true};
  watch(events_.get(), made);
}

server::client& server::client_of(pid_t pid, bool fresh) {
  auto& c = clients_[pid];
  const bool is_new = !c;
  if (is_new) {
    ++processes_;
    unique_fd end(static_cast<int>(system_call(SYS_pidfd_open, pid, 0)));
    if (end) watch(ends_.get(), end.get());
    c = std::make_unique<client>(*this, pid, std::move(end));
    c->memory.check_dma(true);
    c->task.observe(c->observer);
  }
  if (!fresh) return *c;
  std::string program = program_of(pid);
  if (is_new || c->program != program) {
    c->program = std::move(program);
    c->counted = faults_.begin();
    c->observer.fresh = true;
  }
  if (!is_new) follow_exec(*c);
  return *c;
}

void server::follow_exec(client& c) {
  for (const auto& [first, length] : std::exchange(c.mappings, {}))
    (void)c.task.munmap(reinterpret_cast<void*>(first), length);
  for (const auto& [key, f] : files_)
    for (const auto& [pid, fd] : std::vector(f.at)) {
      if (pid != c.pid || c.task.file_of(fd) != f.file) continue;
      if (key_of(pid, fd, link_of(pid, fd)) != key) (void)c.task.close(fd);
    }
}

bool server::serve(int connection) {
  const auto known = connections_.find(connection);
  if (known == connections_.end()) return true;
  request r;
  char path[longest_path];
  iovec parts[2] = {{&r, sizeof r}, {path, sizeof path - 1}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = parts;
  header.msg_iovlen = 2;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(connection, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < static_cast<ssize_t>(sizeof r)) return false;
  path[static_cast<std::size_t>(n) - sizeof r] = 0;
  unique_fd peer;
  if (const cmsghdr* const m = CMSG_FIRSTHDR(&header); m && m->cmsg_type == SCM_RIGHTS) {
    // The alignment leaves room for more descriptors than the one that was asked for.
    for (std::size_t at = 0; at + sizeof(int) <= m->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(m) + at, sizeof fd);
      peer = unique_fd(fd);
    }
  }
  // What was closed before this call has an effect before this call.
  follow_ends();
  // The parent may have told of the process before its first request.
  const pid_t sender = known->second.pid;
  const bool told = r.what == operation::forked && clients_.count(sender) != 0;
  client& c = client_of(sender, std::exchange(known->second.fresh, false) && !told);
  sent out;
  if (!is_sound(r, static_cast<bool>(peer))) {
    out.answer = to_reply(errc::badf);
  } else if (r.number >= 0 && !peer && (r.what == operation::open || r.what == operation::ioctl)) {
    // The peer was sent, but this process can have no more descriptors.
    out.answer = to_reply(errc::nfile);
  } else {
    try {
      out = execute(c, r, path, std::move(peer));
    } catch (const std::bad_alloc&) {
      out.answer = to_reply(errc::nomem);
    }
  }
  return send_with_descriptor(connection, out.answer, out.fd);
}

// ---- Ends ----

void server::follow_ends() {
  for (const std::uint64_t key : std::vector(locked_)) {
    const open_file& f = files_[key];
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(f.lock);
    lock.l_len = 1;
    if (::fcntl(f.memory, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK) end_file(key);
  }
  for (;;) {
    epoll_event ready[64];
    const int n = ::epoll_wait(ends_.get(), ready, 64, 0);
    if (n <= 0) return;
    for (int i = 0; i < n; ++i) {
      const int fd = ready[i].data.fd;
      if (const auto peer = key_of_peer_.find(fd); peer != key_of_peer_.end()) {
        if (ready[i].events & EPOLLHUP) {
          end_file(peer->second);
          continue;
        }
        // No call that the simulated host sees writes to the socket.
        char byte = 0;
        while (::recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) > 0) continue;
        const auto& at = files_.at(peer->second).at;
        tell_unseen(at.empty() ? 0 : at.back().first,
                    "wrote to a descriptor of the simulated host in a way that kvm-vfio-sim does "
                    "not see (syscall(2), io_uring)");
        continue;
      }
      for (const auto& [pid, c] : clients_)
        if (c->ended.get() == fd) {
          end_process(pid);
          break;
        }
    }
  }
}

void server::end_file(std::uint64_t key) {
  const auto found = files_.find(key);
  if (found == files_.end()) return;
  for (const auto& [pid, fd] : std::vector(found->second.at)) {
    const auto c = clients_.find(pid);
    if (c == clients_.end() || c->second->task.file_of(fd) != found->second.file) continue;
    // The end of a process closes its descriptors, and so does execve(2).
    if (is_exiting(pid)) end_process(pid);
    else (void)c->second->task.close(fd);
  }
  key_of_peer_.erase(found->second.peer.get());
  std::erase(locked_, key);
  sim::file* const last = found->second.file;
  files_.erase(found);
  last->put();
}

void server::end_process(pid_t pid) {
  const auto c = clients_.find(pid);
  if (c == clients_.end()) return;
  settle(*c->second, 0);
  for (const awaited_mapping& m : c->second->awaited) c->second->observer.called(m.call);
  c->second->task.exit();
  clients_.erase(c);
}

// ---- Calls ----

const sim::device_node* server::node(const std::string& path) const {
  for (const sim::device_node& n : nodes_)
    if (n.path == path) return &n;
  return nullptr;
}

template <class Function>
server::sent server::making(client& c, const request& r, unique_fd peer, const std::string& path,
                            Function make) {
  if (r.number < 0 || !peer) return {to_reply(make()), -1};
  if (files_.count(r.inode) != 0) return {to_reply(errc::badf), -1};
  c.task.lend(r.number, nullptr);  // a descriptor whose end we did not hear of
  c.task.next_descriptor(r.number);
  sent out{to_reply(make()), -1};
  c.task.next_descriptor(-1);
  sim::file* const made = c.task.file_of(r.number);
  if (!made) return out;
  made->get();
  const sim::device_node* const n = node(path);
  open_file& f = files_[r.inode];
  f.file = made;
  f.peer = std::move(peer);
  if (n) {
    f.major = n->major;
    f.minor = n->minor;
  }
  f.at.emplace_back(c.pid, r.number);
  key_of_peer_[f.peer.get()] = r.inode;
  watch(ends_.get(), f.peer.get());
  out.answer.made = 1;
  out.answer.major = f.major;
  out.answer.minor = f.minor;
  return out;
}

bool server::inject(client& c, const request& r, const char* path) {
  using kvm_vfio::trace::call_kind;
  call_kind kind = call_kind::ioctl;
  switch (r.what) {
    case operation::open: kind = call_kind::open; break;
    case operation::close: kind = call_kind::close; break;
    case operation::before_dup: kind = call_kind::dup; break;
    case operation::ioctl: break;
    case operation::readv:
    case operation::read: kind = call_kind::read; break;
    case operation::writev:
    case operation::write: kind = call_kind::write; break;
    case operation::preadv:
    case operation::pread: kind = call_kind::pread; break;
    case operation::pwritev:
    case operation::pwrite: kind = call_kind::pwrite; break;
    case operation::map: kind = call_kind::mmap; break;
    case operation::unmap: kind = call_kind::munmap; break;
    default: return false;
  }
  if ((r.what == operation::close || r.what == operation::unmap) && r.flags != 0) return false;
  if (r.what == operation::unmap &&
      std::none_of(c.mappings.begin(), c.mappings.end(), [&](const auto& m) {
        return m.first < r.first + r.second && r.first < m.first + m.second;
      }))
    return false;
  const auto number = kind == call_kind::ioctl ? static_cast<std::uint32_t>(r.first) : 0U;
  const errc error = faults_.meet(c.program, c.counted, kind, number, path);
  if (error == errc::ok) return false;
  c.observer.injected = {.kind = kind, .request = number, .error = error};
  c.task.fail(c.observer.injected);
  return true;
}

server::sent server::execute(client& c, const request& r, const char* path, unique_fd peer) {
  if (r.fd >= 0 && r.what != operation::identify && !c.task.file_of(r.fd)) follow(c, r.fd);
  c.observer.has_fault = inject(c, r, path);
  sent out = call(c, r, path, std::move(peer));
  // A call that was refused before it reached the process leaves its fault there.
  if (c.observer.has_fault) {
    out.answer.injected = c.task.faults_left() == 0 ? 1 : 0;
    c.task.clear_faults();
  }
  return out;
}

server::sent server::call(client& c, const request& r, const char* path, unique_fd peer) {
  switch (r.what) {
    case operation::open:
      return making(c, r, std::move(peer), path,
                    [&] { return c.task.open_path(path, static_cast<int>(r.flags)); });
    case operation::close: return {to_reply(c.task.close(r.fd)), -1};
    case operation::dup: {
      for (auto& [inode, f] : files_)
        if (f.file == c.task.file_of(r.fd)) f.at.emplace_back(c.pid, r.number);
      c.task.next_descriptor(r.number);
      const answer a = c.task.dup(r.fd);
      c.task.next_descriptor(-1);
      return {to_reply(a), -1};
    }
    case operation::before_dup:
      return c.observer.has_fault ? sent{to_reply(c.task.dup(r.fd)), -1} : sent{};
    case operation::ioctl: return ioctl(c, r, std::move(peer));
    case operation::read:
    case operation::write:
    case operation::pread:
    case operation::pwrite: return {to_reply(transfer(c, r)), -1};
    case operation::readv:
    case operation::writev:
    case operation::preadv:
    case operation::pwritev: return {to_reply(transfer_parts(c, r)), -1};
    case operation::map: return map(c, r);
    case operation::unmap: return {to_reply(unmap(c, r)), -1};
    case operation::identify: {
      const auto found = files_.find(r.first);
      if (found == files_.end()) return {to_reply(errc::noent), -1};
      follow(c, r.fd);
      sent out;
      out.answer.major = found->second.major;
      out.answer.minor = found->second.minor;
      return out;
    }
    case operation::created_vm: {
      const auto kvm = host_.files().open("/dev/kvm", O_RDWR);
      if (!kvm) return {to_reply(kvm.error()), -1};
      c.task.lend(r.number, *kvm);
      c.task.next_descriptor(r.number);
      const answer a = c.task.ioctl(r.number, KVM_CREATE_VM, 0);
      c.task.next_descriptor(-1);
      return {to_reply(a), -1};
    }
    case operation::forked: {
      const auto parent = clients_.find(r.number);
      if (parent != clients_.end() && parent->second.get() != &c) fork(*parent->second, c);
      return {};
    }
    case operation::remap: remap(c, r); return {};
    case operation::ring: {
      const bool refused = r.flags != 0;
      log_.note(c.pid, refused ? "io_uring_register" : "io_uring_setup",
                refused ? "EOPNOTSUPP" : "");
      if (refused)
        tell_unseen(c.pid,
                    "wanted to register descriptors of the simulated host with io_uring. This was "
                    "refused with EOPNOTSUPP, because kvm-vfio-sim would not see the calls of the "
                    "ring");
      return {};
    }
    case operation::made_child:
      if (parent_of(r.number) != c.pid || is_exiting(r.number)) return {};
      if (client& child = client_of(r.number, clients_.count(r.number) == 0); child.ended)
        fork(c, child);
      else end_process(r.number);
      return {};
  }
  return {to_reply(errc::nosys), -1};
}

void server::fork(client& parent, client& child) {
  if (child.has_parent || child.task.descriptors() != 0) return;
  child.has_parent = true;
  parent.task.fork_into(child.task);
  // The simulated processes tell only observers that both of them have.
  parent.observer.called(
      {.kind = kvm_vfio::trace::call_kind::fork, .process = parent.pid, .value = child.pid});
  child.mappings = parent.mappings;
  for (auto& [inode, f] : files_)
    for (const auto& [pid, fd] : std::vector(f.at))
      if (pid == parent.pid) f.at.emplace_back(child.pid, fd);
}

server::sent server::ioctl(client& c, const request& r, unique_fd peer) {
  const bool interrupts = r.first == VFIO_DEVICE_SET_IRQS;
  const bool of_vm = r.first == KVM_IRQFD || r.first == KVM_IOEVENTFD;
  if (of_vm) end_closed_events();
  follow_argument(c, r);
  if (interrupts) pass_events();
  sent out =
      making(c, r, std::move(peer), {}, [&] { return c.task.ioctl(r.fd, r.first, r.second); });
  if (interrupts) pass_events();
  if (of_vm && out.answer.error == 0) note_event(c, r);
  if (interrupts || of_vm || r.first == VFIO_DEVICE_FEATURE ||
      r.first == kvm_vfio::uapi::request_ioas_map_file)
    forget_events(c);
  return out;
}

answer server::transfer(client& c, const request& r) {
  const auto size = static_cast<std::size_t>(r.second);
  const auto buffer = reinterpret_cast<void*>(r.first);  // of the program; see remote_memory
  switch (r.what) {
    case operation::read: return c.task.read(r.fd, buffer, size);
    case operation::write: return c.task.write(r.fd, buffer, size);
    case operation::pread: return c.task.pread(r.fd, buffer, size, r.third);
    default: return c.task.pwrite(r.fd, buffer, size, r.third);
  }
}

// Linux reads and writes a file of VFIO once for each part (do_loop_readv_writev), because the file
// has no read_iter.
answer server::transfer_parts(client& c, const request& r) {
  constexpr std::uint64_t most_parts = 1024;  // the kernel's UIO_MAXIOV
  const auto count = static_cast<std::uint32_t>(r.second);
  if (count > most_parts) return errc::inval;
  std::vector<iovec> parts(count);
  if (!c.memory.read(r.first, parts.data(), count * sizeof(iovec))) return errc::fault;
  if (std::any_of(parts.begin(), parts.end(),
                  [](const iovec& p) { return static_cast<std::int64_t>(p.iov_len) < 0; }))
    return errc::inval;
  request one = r;
  one.what = r.what == operation::readv    ? operation::read
             : r.what == operation::writev ? operation::write
             : r.what == operation::preadv ? operation::pread
                                           : operation::pwrite;
  std::int64_t done = 0;
  for (const iovec& p : parts) {
    one.first = reinterpret_cast<std::uintptr_t>(p.iov_base);
    one.second = p.iov_len;
    const answer a = transfer(c, one);
    if (!a) return done != 0 ? answer(done) : a;
    done += *a;
    one.third += static_cast<std::uint64_t>(*a);
    if (static_cast<std::uint64_t>(*a) != p.iov_len) break;
  }
  return done;
}

server::sent server::map(client& c, const request& r) {
  const auto protection = static_cast<int>(r.flags & 0xffff);
  const std::uint64_t whole = (r.second + page - 1) / page * page;
  if (!((r.flags >> 16) & MAP_SHARED)) return {to_reply(errc::inval), -1};
  sim::file* const f = c.task.file_of(r.fd);
  sim::device_file* const device = f ? sim::device_of(*f) : nullptr;
  // Before `map_at`, which would make memory of this program.
  const auto memory =
      device ? device->share(whole, r.third) : kvm_vfio::result<sim::shared_memory>(errc::nodev);
  const answer a = c.task.map_at(r.first, r.second, protection, r.fd, r.third);
  if (!a) return {to_reply(a), -1};
  if (!memory) {
    (void)c.task.munmap(reinterpret_cast<void*>(r.first), r.second);
    return {to_reply(memory.error()), -1};
  }
  c.mappings.emplace_back(r.first, whole);
  sent out{to_reply(a), memory->file};
  out.answer.offset = memory->offset;
  return out;
}

answer server::unmap(client& c, const request& r) {
  const std::uint64_t end = r.first + (r.second + page - 1) / page * page;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> left;
  answer a = 0;
  for (const auto& [first, size] : c.mappings) {
    const std::uint64_t from = std::max(first, r.first);
    const std::uint64_t to = std::min(first + size, end);
    if (from >= to) {
      left.emplace_back(first, size);
      continue;
    }
    a = c.task.munmap(reinterpret_cast<void*>(from), to - from);
    if (!a) return a;  // a fault of the plan
    if (first < from) left.emplace_back(first, from - first);
    if (to < first + size) left.emplace_back(to, first + size - to);
  }
  c.mappings.swap(left);
  return a;
}

void server::remap(client& c, const request& r) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
  for (const auto& [first, size] : c.mappings) {
    const std::uint64_t from = std::max(first, r.first);
    const std::uint64_t end = std::min(first + size, r.first + r.second);
    const std::uint64_t to = r.third + (from - r.first);
    if (from >= end || !c.task.move_mapping(from, to, end - from)) {
      all.emplace_back(first, size);
      continue;
    }
    if (first < from) all.emplace_back(first, from - first);
    if (end < first + size) all.emplace_back(end, first + size - end);
    all.emplace_back(to, end - from);
  }
  c.mappings.swap(all);
}

void server::tell_unseen(pid_t pid, const std::string& what) {
  const auto c = clients_.find(pid);
  const std::string name = c == clients_.end() ? std::string() : c->second->program;
  const std::string text = "process " + std::to_string(pid) + " (" + name + ") " + what;
  if (std::find(unseen_.begin(), unseen_.end(), text) == unseen_.end()) unseen_.push_back(text);
}

// ---- Files with the memory of a device ----

unique_fd server::as_memory(std::uint64_t key) {
  open_file& f = files_[key];
  sim::device_file* const device = sim::device_of(*f.file);
  if (!device) return {};
  int memory = -1;
  for (std::uint64_t bar = 0; bar < 6 && memory < 0; ++bar)
    // Not `device_file::share`, which refuses a device that is not bound yet.
    if (const auto part = device->device().pci.share(page, bar << sim::pci_endpoint::offset_shift);
        part)
      memory = part->file;
  if (memory < 0) return {};
  // Each open file of the device is an open file of its own here, too, and so has its own lock.
  unique_fd made(::open(("/proc/self/fd/" + std::to_string(memory)).c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first_lock + locks_);
  lock.l_len = 1;
  if (!made || ::fcntl(made.get(), F_OFD_SETLK, &lock) != 0) return {};
  ++locks_;
  auto node = files_.extract(key);
  node.key() = static_cast<std::uint64_t>(lock.l_start);
  open_file& moved = files_.insert(std::move(node)).position->second;
  key_of_peer_.erase(moved.peer.get());
  moved.peer = unique_fd();
  moved.memory = memory;
  moved.lock = static_cast<std::uint64_t>(lock.l_start);
  locked_.push_back(moved.lock);
  return made;
}

void server::relay::called(const kvm_vfio::trace::call& c) {
  if (mode == is_silent) return;
  if (mode == holds) return held.push_back(c);
  call_circumstances more;
  more.injected = has_fault && c.kind == injected.kind && c.error == injected.error;
  if (const auto at = to_.clients_.find(c.process); at != to_.clients_.end()) {
    if (std::exchange(fresh, false)) {
      more.program = at->second->program;
      to_.programs_.push_back({c.process, to_.log_.calls() + 1, more.program});
    }
  }
  if (c.kind == kvm_vfio::trace::call_kind::exit) more.status = status_of(c.process);
  to_.log_.called(c, more);
  to_.checker_.called(c);
  if (c.error != errc::ok) to_.last_failure_ = {c, to_.log_.calls(), more.injected};
}

std::string server::program_at(pid_t pid, std::uint64_t number) const {
  for (auto at = programs_.rbegin(); at != programs_.rend(); ++at)
    if (at->pid == pid && at->number <= number) return at->program;
  return {};
}

void server::settle(client& c, pid_t thread) {
  std::erase_if(c.awaited, [&](awaited_mapping& m) {
    const std::uint64_t at = address_of(c.pid, m.inode, m.offset, m.size, c.mappings);
    if (at == 0 && m.thread != thread) return false;
    const auto stand_in = std::find(c.mappings.begin(), c.mappings.end(),
                                    std::pair<std::uint64_t, std::uint64_t>(m.stand_in, m.size));
    if (at != 0) {
      (void)c.task.move_mapping(m.stand_in, at, m.size);
      if (stand_in != c.mappings.end()) stand_in->first = at;
      m.call.value = static_cast<std::int64_t>(at);
    } else {
      c.observer.mode = relay::is_silent;
      (void)c.task.munmap(reinterpret_cast<void*>(m.stand_in), m.size);
      c.observer.mode = relay::tells;
      if (stand_in != c.mappings.end()) c.mappings.erase(stand_in);
      m.call.value = -1;
      m.call.error = errc::nomem;
    }
    c.observer.called(m.call);
    return true;
  });
}

// ---- Descriptors ----

std::uint64_t server::key_of(pid_t task, int fd, const std::string& link) const {
  std::uint64_t key = 0;
  if (std::string_view(link).starts_with("socket:["))
    key = std::strtoull(link.c_str() + 8, nullptr, 10);
  else if (std::string_view(link).starts_with(memory_name)) key = lock_of(task, fd);
  return files_.count(key) != 0 ? key : 0;
}

std::uint64_t server::known_key_of(client& c, int fd, const std::string& link) const {
  const sim::file* const f =
      std::string_view(link).starts_with(memory_name) ? c.task.file_of(fd) : nullptr;
  if (!f) return 0;
  const auto known = std::find_if(locked_.begin(), locked_.end(),
                                  [&](std::uint64_t key) { return files_.at(key).file == f; });
  return known == locked_.end() ? 0 : *known;
}

void server::follow(client& c, int fd) {
  if (fd < 0) return;
  const std::string link = link_of(c.pid, fd);
  sim::file* const known = c.task.file_of(fd);
  if (link.empty()) {
    if (known) c.task.lend(fd, nullptr);
    return;
  }
  if (known_key_of(c, fd, link) != 0) return;
  if (const auto found = files_.find(key_of(c.pid, fd, link)); found != files_.end()) {
    if (known == found->second.file) return;
    install(c, fd, found->second);
    return;
  }
  if (link == "anon_inode:[eventfd]") {
    const std::uint64_t id = event_id(c.pid, fd);
    const auto* const event = known ? dynamic_cast<const real_event*>(known) : nullptr;
    if (event && event->id() == id) return;
    if (real_event* const known_event = event_of_vm(id)) {
      known_event->get();
      c.task.lend(fd, known_event);
      c.lent.push_back(fd);
      return;
    }
    unique_fd copy(static_cast<int>(system_call(SYS_pidfd_getfd, c.ended.get(), fd, 0)));
    if (copy) {
      c.task.lend(fd, new real_event(std::move(copy), id));
      c.lent.push_back(fd);
      return;
    }
  }
  if (link == "anon_inode:kvm-vm" && known) return;
  sim::file* other = nullptr;
  if (link.front() == '/') {
    const unique_fd copy(static_cast<int>(system_call(SYS_pidfd_getfd, c.ended.get(), fd, 0)));
    struct stat s{};
    // As memfd_pin_folios: the files of memfd_create(2), of tmpfs and of hugetlbfs, which have
    // seals.
    if (copy && ::fcntl(copy.get(), F_GET_SEALS) >= 0 && ::fstat(copy.get(), &s) == 0)
      other = new sim::memory_file(static_cast<std::uint64_t>(s.st_size));
  }
  c.task.lend(fd, other ? other : new other_file);
  c.lent.push_back(fd);
}

void server::install(client& c, int fd, open_file& f) {
  // The call is held back, because the simulated process does not know where the file came from.
  const auto mode = std::exchange(c.observer.mode, relay::holds);
  f.file->get();
  (void)c.task.install_at(fd, f.file);
  c.observer.mode = mode;
  if (c.observer.held.empty()) return;
  kvm_vfio::trace::call told = std::move(c.observer.held.back());
  c.observer.held.pop_back();
  for (const auto& [pid, other] : f.at) {
    const auto owner = clients_.find(pid);
    if (told.fd >= 0) break;
    if (pid == c.pid || owner == clients_.end() || owner->second->task.file_of(other) != f.file)
      continue;
    told.fd = other;
    told.owner = pid;
  }
  f.at.emplace_back(c.pid, fd);
  c.observer.called(told);
}

void server::follow_argument(client& c, const request& r) {
  constexpr std::uint32_t most = 4096;
  const auto at = [&](std::uint64_t address) {
    std::int32_t fd = -1;
    if (c.memory.read(address, &fd, sizeof fd)) follow(c, fd);
  };
  const auto list = [&](std::uint64_t count_at, std::uint64_t fds) {
    std::uint32_t count = 0;
    if (!c.memory.read(count_at, &count, sizeof count)) return;
    for (std::uint32_t i = 0; i < std::min(count, most); ++i) at(fds + i * sizeof(std::int32_t));
  };
  switch (r.first) {
    case VFIO_GROUP_SET_CONTAINER: at(r.second); break;
    case kvm_vfio::uapi::request_bind_iommufd: at(r.second + 8); break;
    case kvm_vfio::uapi::request_ioas_map_file:
      at(r.second + offsetof(kvm_vfio::uapi::iommu_ioas_map_file, fd));
      break;
    case KVM_IRQFD: {
      kvm_irqfd i{};
      if (!c.memory.read(r.second, &i, sizeof i)) break;
      follow(c, static_cast<int>(i.fd));
      if (i.flags & KVM_IRQFD_FLAG_RESAMPLE) follow(c, static_cast<int>(i.resamplefd));
      break;
    }
    case KVM_IOEVENTFD: at(r.second + offsetof(kvm_ioeventfd, fd)); break;
    case VFIO_DEVICE_SET_IRQS: {
      std::uint32_t flags = 0;
      if (c.memory.read(r.second + 4, &flags, sizeof flags) && (flags & VFIO_IRQ_SET_DATA_EVENTFD))
        list(r.second + 16, r.second + 20);
      break;
    }
    case VFIO_DEVICE_FEATURE: {
      std::uint32_t flags = 0;
      constexpr std::uint32_t with_wakeup = 4;  // VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP
      if (kind_at(c.task, r.fd) == sim::file_kind::device &&
          c.memory.read(r.second + 4, &flags, sizeof flags) && (flags & VFIO_DEVICE_FEATURE_SET) &&
          (flags & VFIO_DEVICE_FEATURE_MASK) == with_wakeup)
        at(r.second + offsetof(vfio_device_feature, data));
      break;
    }
    case VFIO_DEVICE_PCI_HOT_RESET:
      if (kind_at(c.task, r.fd) == sim::file_kind::device) list(r.second + 8, r.second + 12);
      break;
    case KVM_SET_DEVICE_ATTR: {
      kvm_device_attr a{};
      if (!c.memory.read(r.second, &a, sizeof a)) break;
      at(a.addr);
      if (a.attr == 3) at(a.addr + 4);  // KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE
      break;
    }
    default: break;
  }
}

void server::pass_events() {
  for (const auto& [pid, c] : clients_)
    for (const int fd : c->lent) {
      auto* const event = dynamic_cast<real_event*>(c->task.file_of(fd));
      if (!event || !event->has_consumer()) continue;
      // A program closes an eventfd without a word to this program.
      if (event_id(pid, fd) != event->id()) c->task.lend(fd, nullptr);
      else event->pass_on();
    }
}

void server::forget_events(client& c) {
  std::erase_if(c.lent, [&](int fd) {
    const sim::file* const f = c.task.file_of(fd);
    const auto* const event = dynamic_cast<const real_event*>(f);
    // A mapping has a reference of its own.
    const bool memory = dynamic_cast<const sim::memory_file*>(f) != nullptr;
    const bool own = event || memory || dynamic_cast<const other_file*>(f);
    // A consumer (the kernel's struct virqfd) and a VM hold no reference.
    const bool in_use = event && (event->has_consumer() || event->used_by_vm());
    if (own && !memory && (f->references() > 1 || in_use)) return false;
    if (own) c.task.lend(fd, nullptr);
    return true;
  });
}

void server::end_closed_events() {
  for (const auto& [pid, c] : clients_)
    for (const int fd : c->lent) {
      const auto* const event = dynamic_cast<const real_event*>(c->task.file_of(fd));
      if (event && event->used_by_vm() && event_id(pid, fd) != event->id())
        c->task.lend(fd, nullptr);
    }
}

void server::note_event(client& c, const request& r) {
  std::int32_t fd = -1;
  const std::size_t at =
      r.first == KVM_IRQFD ? offsetof(kvm_irqfd, fd) : offsetof(kvm_ioeventfd, fd);
  if (!c.memory.read(r.second + at, &fd, sizeof fd)) return;
  if (auto* const event = dynamic_cast<real_event*>(c.task.file_of(fd))) event->use_by_vm();
}

real_event* server::event_of_vm(std::uint64_t id) const {
  for (const auto& [pid, c] : clients_)
    for (const int fd : c->lent) {
      auto* const event = dynamic_cast<real_event*>(c->task.file_of(fd));
      if (event && event->used_by_vm() && event->id() == id) return event;
    }
  return nullptr;
}

kvm_vfio::trace::file_type server::type_of(int pid, int fd) {
  using kvm_vfio::trace::file_type;
  const auto c = clients_.find(pid);
  const sim::file* const f = c == clients_.end() ? nullptr : c->second->task.file_of(fd);
  if (!f) return file_type::other;
  switch (f->kind()) {
    case sim::file_kind::container: return file_type::container;
    case sim::file_kind::group: return file_type::group;
    case sim::file_kind::device: return file_type::device;
    case sim::file_kind::iommufd: return file_type::iommufd;
    default: return file_type::other;
  }
}

}  // namespace kvm_vfio_sim
