// SPDX-License-Identifier: BSL-1.0
// The object that kvm-vfio-sim preloads into a program. Its functions stand in front of the C
// library's. They send the calls for VFIO, iommufd and kvm-vfio to the simulated host, show the
// simulated host's sysfs, and pass every other call on.
//
// The object needs the C library alone, and allocates nothing. The functions have other names here
// than in the object (`AS`), because the C library's headers declare the real ones.
#include "paths.hpp"
#include "program_file.hpp"
#include "protocol.hpp"
#include "remapping.hpp"
#include "ring_files.hpp"
#include "system_calls.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define AS(name) __asm__(#name) __attribute__((visibility("default")))

namespace {

using kvm_vfio_sim::operation;
using kvm_vfio_sim::place;
using kvm_vfio_sim::reply;
using kvm_vfio_sim::request;
using kvm_vfio_sim::starts;
using kvm_vfio_sim::system_call;

// ---- What is known of each descriptor ----

enum kind : unsigned char {
  unknown,    // nobody has looked at the descriptor yet
  real,       // a file of the real kernel
  simulated,  // a file of the simulated host
  vm,         // a VM of the real KVM
  hidden      // the connection to the simulated host
};

constexpr int most = 1 << 16;  // descriptors with a larger number are looked at each time
unsigned char kinds[most];
unsigned nodes_of[most];  // for simulated ones: the device number, major << 20 | minor
int simulated_count;      // how many descriptors were ever made simulated; 0: a fork tells nobody

struct mapping {
  unsigned long first;
  unsigned long size;
};
constexpr int most_mappings = 4096;
mapping mappings[most_mappings];
int mapping_count;
bool mappings_lost;  // there were more: the simulated host is asked at each munmap

char directory[PATH_MAX];
size_t directory_length;
bool simulated_kvm;
char object[PATH_MAX];  // the path of this object

struct node {
  char path[64];
  unsigned number;
  unsigned long inode;  // of the file in the view that stands for the node
};
constexpr int most_nodes = 4096;
node* nodes;
int node_count;
unsigned long view_device;  // the file system of the view

int connection = -1;
unsigned long connection_inode;  // a program can close the connection with a plain system call
int own_process = -1;  // the process whose memory this is: a child of vfork(2) only borrows it
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// Whether this process has its memory from another one, which goes on with it: vfork(2).
bool borrows_memory() { return own_process != getpid(); }

void set_kind(int fd, kind k, unsigned device = 0) {
  if (fd < 0 || fd >= most) return;
  // The memory is about the descriptors of the process that it belongs to.
  if (simulated_count != 0 && borrows_memory()) return;
  kinds[fd] = k;
  nodes_of[fd] = device;
}

// ---- The real calls ----

// The next definition of a function, which is the C library's.
template <class Function>
Function* next(Function*& slot, const char* name) {
  Function* f = __atomic_load_n(&slot, __ATOMIC_RELAXED);
  if (!f) {
    f = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
    __atomic_store_n(&slot, f, __ATOMIC_RELAXED);
  }
  return f;
}
template <class Function>
using function_type = Function;
#define NEXT(name, ...)                                \
  ([] {                                                \
    static function_type<__VA_ARGS__>* slot = nullptr; \
    return next<__VA_ARGS__>(slot, #name);             \
  }())

long real_close(int fd) { return NEXT(close, int(int))(fd); }

int stat_real(int fd, struct stat* s) {
  return static_cast<int>(system_call(SYS_newfstatat, fd, "", s, AT_EMPTY_PATH));
}

// Reads from the program's own memory. An address that is not mapped is an error, and no crash.
bool peek(unsigned long from, void* to, size_t size) {
  iovec own{to, size};
  iovec other{reinterpret_cast<void*>(from), size};
  return system_call(SYS_process_vm_readv, getpid(), &own, 1UL, &other, 1UL, 0UL) ==
         static_cast<long>(size);
}

// ---- The connection ----

// Whether the descriptor of the connection still is the connection.
bool is_connected() {
  struct stat s;
  return connection >= 0 && stat_real(connection, &s) == 0 && s.st_ino == connection_inode &&
         S_ISSOCK(s.st_mode);
}

void forget_connection() {
  if (connection >= 0 && connection < most && kinds[connection] == hidden)
    set_kind(connection, unknown);
  connection = -1;
}

bool connect_here() {
  if (directory_length == 0) return false;
  const int made =
      static_cast<int>(system_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (made < 0) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, directory, directory_length);
  memcpy(address.sun_path + directory_length, kvm_vfio_sim::socket_name,
         sizeof kvm_vfio_sim::socket_name);
  if (system_call(SYS_connect, made, &address, sizeof address) != 0) {
    (void)real_close(made);
    return false;
  }
  // A large number, so that the program gets the descriptors that it would get without us.
  int high = static_cast<int>(system_call(SYS_fcntl, made, F_DUPFD_CLOEXEC, 1000));
  if (high < 0) high = static_cast<int>(system_call(SYS_fcntl, made, F_DUPFD_CLOEXEC, 100));
  if (high >= 0) (void)real_close(made);
  connection = high >= 0 ? high : made;
  struct stat s;
  connection_inode = stat_real(connection, &s) == 0 ? s.st_ino : 0;
  // With Yama, the launcher may otherwise read only the memory of processes below it, and a daemon
  // is none of them. Without Yama, this call fails.
  ucred launcher{};
  socklen_t size = sizeof launcher;
  if (system_call(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &launcher, &size) == 0 &&
      launcher.pid > 0)
    (void)system_call(SYS_prctl, PR_SET_PTRACER, launcher.pid, 0, 0, 0);
  set_kind(connection, hidden);
  return true;
}

struct message {
  iovec parts[2];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header;
};

// Sends a request and waits for the reply. Returns false if the simulated host is gone.
bool exchange(const request& r, const char* path, int sent, reply& answer, int* received) {
  message m{};
  m.parts[0] = {const_cast<request*>(&r), sizeof r};
  m.parts[1] = {const_cast<char*>(path), path ? strlen(path) + 1 : 0};
  m.header.msg_iov = m.parts;
  m.header.msg_iovlen = path ? 2 : 1;
  if (sent >= 0) {
    m.header.msg_control = m.control;
    m.header.msg_controllen = sizeof m.control;
    cmsghdr* const c = CMSG_FIRSTHDR(&m.header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof sent);
    memcpy(CMSG_DATA(c), &sent, sizeof sent);
  }
  long n;
  do n = system_call(SYS_sendmsg, connection, &m.header, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) return false;
  message back{};
  back.parts[0] = {&answer, sizeof answer};
  back.header.msg_iov = back.parts;
  back.header.msg_iovlen = 1;
  back.header.msg_control = back.control;
  back.header.msg_controllen = sizeof back.control;
  do n = system_call(SYS_recvmsg, connection, &back.header, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n != sizeof answer) return false;
  if (const cmsghdr* const c = CMSG_FIRSTHDR(&back.header); c && c->cmsg_type == SCM_RIGHTS) {
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (received) *received = fd;
    else (void)real_close(fd);
  }
  return true;
}

// Holds the lock, and keeps errno.
class locked {
 public:
  locked() : errno_(errno) {
    sigset_t all;
    sigfillset(&all);
    // A signal handler that makes a call here would wait for its own thread.
    (void)pthread_sigmask(SIG_BLOCK, &all, &signals_);
    (void)pthread_mutex_lock(&lock);
  }
  locked(const locked&) = delete;
  locked& operator=(const locked&) = delete;
  ~locked() {
    (void)pthread_mutex_unlock(&lock);
    (void)pthread_sigmask(SIG_SETMASK, &signals_, nullptr);
    errno = errno_;
  }

 private:
  sigset_t signals_;
  int errno_;
};

// One call of the simulated host. Sets `answer`, and keeps errno.
void ask(const request& r, reply& answer, const char* path = nullptr, int sent = -1,
         int* received = nullptr) {
  const locked held;
  const int kept = connection;
  const unsigned long kept_inode = connection_inode;
  const bool borrowed = borrows_memory();
  if (borrowed) connection = -1;
  // The number may belong to another file of the program now.
  if (connection >= 0 && !is_connected()) forget_connection();
  bool done = false;
  for (int tries = 0; tries < 2 && !done; ++tries) {
    if (connection < 0 && !connect_here()) break;
    done = exchange(r, path, sent, answer, received);
    if (!done || borrowed) {
      (void)real_close(connection);
      forget_connection();
    }
  }
  if (borrowed) {
    connection = kept;
    connection_inode = kept_inode;
  }
  if (!done) answer = reply{-1, ENODEV, 0, 0, 0, 0};
}

long result_of(const reply& a) {
  if (a.error == 0) return a.value;
  errno = a.error;
  return -1;
}

// ---- Descriptors ----

// Finds out what a descriptor is. `again`: do not trust what is known of real ones.
kind look(int fd, bool again = false) {
  if (fd < 0) return real;
  const bool known = fd < most && kinds[fd] != unknown;
  if (known && !(again && kinds[fd] == real)) return static_cast<kind>(kinds[fd]);
  struct stat s;
  const int before = errno;
  const bool socket = stat_real(fd, &s) == 0 && S_ISSOCK(s.st_mode);
  errno = before;
  if (!socket) {
    set_kind(fd, real);
    return real;
  }
  request r;
  r.what = operation::identify;
  r.fd = fd;
  r.first = s.st_ino;
  reply a;
  ask(r, a);
  const kind k = a.error == 0 ? simulated : real;
  set_kind(fd, k, a.major << 20 | a.minor);
  if (k == simulated) ++simulated_count;
  return k;
}

bool is_simulated(int fd) { return look(fd) == simulated; }
// The same for frequent calls, which do not look at a descriptor that nothing is known of.
bool is_known_simulated(int fd) { return fd >= 0 && fd < most && kinds[fd] == simulated; }

// The two ends of a descriptor that a call will make.
struct pair {
  int own = -1;
  int other = -1;
  unsigned long inode = 0;

  bool make() {
    int ends[2];
    if (system_call(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
      return false;
    own = ends[0];
    other = ends[1];
    // A read(2) that comes here past this object must not wait for ever.
    (void)system_call(SYS_shutdown, own, SHUT_RD);
    struct stat s;
    (void)stat_real(own, &s);
    inode = s.st_ino;
    return true;
  }
  // Keeps the program's end if the call made the descriptor.
  void end(const reply& a, bool close_on_exec) const {
    (void)real_close(other);
    if (a.made == 0) {
      (void)real_close(own);
      return;
    }
    set_kind(own, simulated, a.major << 20 | a.minor);
    ++simulated_count;
    if (!close_on_exec) (void)system_call(SYS_fcntl, own, F_SETFD, 0);
  }
};

// Makes a call that makes a descriptor.
long ask_for_descriptor(request& r, bool close_on_exec, const char* path = nullptr) {
  pair ends;
  if (!ends.make()) return -1;
  r.number = ends.own;
  r.inode = ends.inode;
  reply a;
  ask(r, a, path, ends.other);
  const int before = errno;
  ends.end(a, close_on_exec);
  errno = before;
  return result_of(a);
}

void tell_dup(int from, int to) {
  if (to < 0 || from == to) return;
  const kind k = look(from);
  set_kind(to, k == hidden ? real : k, from >= 0 && from < most ? nodes_of[from] : 0);
  if (k != simulated && k != vm) return;
  request r;
  r.what = operation::dup;
  r.fd = from;
  r.number = to;
  reply a;
  ask(r, a);
}

// Asks whether a fault lets dup(2) of a descriptor fail. Returns 0, or the number of the error.
int fault_of_dup(int from) {
  const kind k = look(from);
  if (k != simulated && k != vm) return 0;
  request r;
  r.what = operation::before_dup;
  r.fd = from;
  reply a;
  ask(r, a);
  return a.injected ? a.error : 0;
}

// Tells the simulated host that a descriptor is about to be closed. `implied`: another call than
// close(2) closes it. Returns 0, or the number of the error that a fault gives to close(2).
int tell_close(int fd, bool implied = true) {
  const kind k = fd >= 0 && fd < most ? static_cast<kind>(kinds[fd]) : look(fd);
  int error = 0;
  if (k == simulated || k == vm) {
    request r;
    r.what = operation::close;
    r.fd = fd;
    r.flags = implied ? 1 : 0;
    reply a;
    ask(r, a);
    error = a.injected ? a.error : 0;
  }
  set_kind(fd, unknown);
  return error;
}

// ---- Paths ----

// Whether the memory at an address can be read. The kernel reads it before it refuses the call.
bool readable(const char* at) {
  const unsigned long word = reinterpret_cast<unsigned long>(at) & ~7UL;
  if (word < 4096) return false;
  const int before = errno;
  const bool good = system_call(SYS_rt_sigprocmask, ~0, word, nullptr, 8UL) == 0 || errno != EFAULT;
  errno = before;
  return good;
}

// Copies an absolute path, without "//" and "/./". Returns false if the simulated host has no such
// path: the path is somewhere else, is relative, is too long, or cannot be read.
bool own_path(const char* path, char* to) {
  if (directory_length == 0 || !readable(path) || path[0] != '/') return false;
  // Most paths are decided here: those that are not below /sys, /dev/vfio, /dev/iommu or /dev/kvm.
  if ((reinterpret_cast<unsigned long>(path) & 4095) < 4096 - 8 && path[1] != '/' &&
      path[1] != '.' && path[1] != 's') {
    constexpr char dev[] = {'/', 'd', 'e', 'v', '/'};
    for (size_t i = 1; i < sizeof dev; ++i)
      if (path[i] != dev[i]) return false;
    const char c = path[sizeof dev];
    if (c != 'v' && c != 'i' && c != 'k' && c != '/' && c != '.') return false;
  }
  size_t n = 0;
  bool skips = false;  // behind a '/', where a further '/' or "./" means nothing
  for (const char* p = path;; ++p) {
    if (p != path && (reinterpret_cast<unsigned long>(p) & 4095) == 0 && !readable(p)) return false;
    const char c = *p;
    if (skips && c == '/') continue;
    if (n >= 2 && to[n - 1] == '.' && to[n - 2] == '/' && (c == '/' || c == 0)) {
      n -= c == '/' ? 1 : 2;
      skips = true;
      if (c == '/') continue;
    }
    if (c == 0) break;
    if (n == 1 && c != 's' && c != 'd' && c != '.') return false;  // neither /sys nor /dev
    if (n + 1 >= PATH_MAX) return false;
    to[n++] = c;
    skips = c == '/';
  }
  while (n > 1 && to[n - 1] == '/') --n;
  to[n] = 0;
  return n > 1;
}

// Opens a file in the directory of the run. `name` begins with a slash. Returns the descriptor.
int open_in_directory(const char* name, int flags) {
  char path[PATH_MAX + 32];
  (void)snprintf(path, sizeof path, "%s%s", directory, name);
  return static_cast<int>(system_call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600));
}

// Tells the launcher that the program uses the view of sysfs.
void tell_viewed() {
  static bool told = false;
  if (__atomic_exchange_n(&told, true, __ATOMIC_RELAXED)) return;
  const int before = errno;
  const int fd = open_in_directory(kvm_vfio_sim::viewed_name, O_WRONLY | O_CREAT);
  if (fd >= 0) (void)real_close(fd);
  errno = before;
}

// The path that the real kernel is asked for: a path in the view of sysfs, or the path itself.
// `own` is the path that `own_path` made.
const char* shown(const char* path, const char* own, char* buffer) {
  const place where = kvm_vfio_sim::place_of(own);
  if (where == place::real || directory_length + strlen(own) + 1 > PATH_MAX) return path;
  memcpy(buffer, directory, directory_length);
  strcpy(buffer + directory_length, own);
  if (where == place::view) {
    tell_viewed();
    return buffer;
  }
  const int before = errno;
  struct stat s;
  const bool here = system_call(SYS_newfstatat, AT_FDCWD, buffer, &s, AT_SYMLINK_NOFOLLOW) == 0;
  errno = before;
  return here ? buffer : path;
}
const char* shown(const char* path, char* buffer) {
  char own[PATH_MAX];
  return own_path(path, own) ? shown(path, own, buffer) : path;
}

// Appends '/' and a path to the name of a directory with `length` bytes. False: the memory of the
// path cannot be read, or the result is too long.
bool append(char* to, size_t length, const char* path) {
  to[length++] = '/';
  for (const char* p = path;; ++p) {
    if (p != path && (reinterpret_cast<unsigned long>(p) & 4095) == 0 && !readable(p)) return false;
    if (length == PATH_MAX) return false;
    to[length++] = *p;
    if (*p == 0) return true;
  }
}

// As `shown`, for a path that may be relative to the open directory `at`. A program that walks
// through a path with one open for each name, as libudev does, comes into the view in this way.
const char* shown_at(int at, const char* path, char* buffer) {
  if (directory_length == 0 || at < 0 || !readable(path) || !path[0] || path[0] == '/')
    return shown(path, buffer);
  char link[40];
  char joined[PATH_MAX];
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  const int before = errno;
  const long n = system_call(SYS_readlinkat, AT_FDCWD, link, joined, sizeof joined - 1);
  errno = before;
  if (n <= 0 || !append(joined, static_cast<size_t>(n), path)) return path;
  if (n > 1 && !starts(joined, "/sys") && !starts(joined, "/dev")) return path;
  return shown(joined, buffer) == buffer ? buffer : path;
}

// Removes the directory of the run from the start of a path. Returns the new length.
size_t strip(char* path, size_t length) {
  if (directory_length == 0 || length <= directory_length ||
      memcmp(path, directory, directory_length) != 0 || path[directory_length] != '/')
    return length;
  memmove(path, path + directory_length, length - directory_length);
  return length - directory_length;
}

// The node that a file of the view stands for, or null.
const node* node_of(unsigned long device, unsigned long inode, unsigned mode, long size) {
  if (device != view_device || size != 0 || !S_ISREG(mode)) return nullptr;
  for (int i = 0; i < node_count; ++i)
    if (nodes[i].inode == inode) return &nodes[i];
  return nullptr;
}

int open_simulated(const char* own, int flags) {
  request r;
  r.what = operation::open;
  r.flags = static_cast<unsigned>(flags);
  return static_cast<int>(ask_for_descriptor(r, (flags & O_CLOEXEC) != 0, own));
}

int do_open(int at, const char* path, int flags, unsigned mode) {
  char own[PATH_MAX];
  char buffer[PATH_MAX];
  const char* asked = path;
  if (own_path(path, own)) {
    if (kvm_vfio_sim::opens_simulated(own, simulated_kvm) && !(flags & (O_PATH | O_DIRECTORY)))
      return open_simulated(own, flags);
    asked = shown(path, own, buffer);
  } else if (at >= 0) {
    asked = shown_at(at, path, buffer);
  }
  const int fd = static_cast<int>(system_call(SYS_openat, at, asked, flags, mode));
  set_kind(fd, real);
  if (fd < 0 || directory_length == 0 || path[0] == '/' || (flags & O_PATH)) return fd;
  // A relative path can be a node, too.
  struct stat s;
  const int before = errno;
  const node* const n =
      stat_real(fd, &s) == 0 ? node_of(s.st_dev, s.st_ino, s.st_mode, s.st_size) : nullptr;
  errno = before;
  if (!n) return fd;
  (void)real_close(fd);
  set_kind(fd, unknown);
  return open_simulated(n->path, flags);
}

// Opens a node for fopen(3). Returns false if the path is no node.
bool fopen_simulated(const char* path, const char* mode, FILE*& f) {
  char own[PATH_MAX];
  if (!own_path(path, own) || !kvm_vfio_sim::opens_simulated(own, simulated_kvm)) return false;
  // The simulated host does not look at the access mode.
  const int flags = O_RDWR | (strchr(mode, 'e') ? O_CLOEXEC : 0);
  const int fd = open_simulated(own, flags);
  f = fd < 0 ? nullptr : fdopen(fd, mode);
  return true;
}

bool needs_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

void as_node(struct stat* s, unsigned device) {
  if (device == 0) {
    // Linux gives no type to files without a node, such as the file of a device of a group.
    s->st_mode = (s->st_mode & 07777U & ~static_cast<unsigned>(S_IFMT)) | 0600U;
    return;
  }
  s->st_mode = S_IFCHR | 0600;
  s->st_rdev = makedev(device >> 20, device & 0xfffff);
  s->st_size = 0;
  s->st_blocks = 0;
}

int do_stat(int at, const char* path, struct stat* s, int flags) {
  char buffer[PATH_MAX];
  if ((flags & AT_EMPTY_PATH) && is_simulated(at) && readable(path) && !path[0]) {
    const int r = stat_real(at, s);
    if (r == 0) as_node(s, at < most ? nodes_of[at] : 0);
    return r;
  }
  const int r =
      static_cast<int>(system_call(SYS_newfstatat, at, shown_at(at, path, buffer), s, flags));
  if (r != 0) return r;
  if (const node* const n = node_of(s->st_dev, s->st_ino, s->st_mode, s->st_size))
    as_node(s, n->number);
  return r;
}

// ---- KVM ----

int remote_ioctl(int fd, unsigned long number, unsigned long argument) {
  request r;
  r.what = operation::ioctl;
  r.fd = fd;
  r.first = number & 0xffffffffUL;
  r.second = argument;
  switch (r.first) {
    case VFIO_GROUP_GET_DEVICE_FD:
    case kvm_vfio_sim::fault_queue_alloc:
    case KVM_CREATE_DEVICE:
    case KVM_CREATE_VM: return static_cast<int>(ask_for_descriptor(r, true));
    default: break;
  }
  reply a;
  ask(r, a);
  return static_cast<int>(result_of(a));
}

int do_ioctl(int fd, unsigned long number, unsigned long argument) {
  const unsigned type = (number >> 8) & 0xff;
  if (type == VFIO_TYPE) {
    if (look(fd, true) == simulated) return remote_ioctl(fd, number, argument);
  } else if (type == KVMIO) {
    const kind k = look(fd);
    if (k == simulated) return remote_ioctl(fd, number, argument);
    const unsigned long low = number & 0xffffffffUL;
    if (low == KVM_CREATE_DEVICE && k == vm) {
      kvm_create_device c{};
      if (peek(argument, &c, sizeof c) && c.type == KVM_DEV_TYPE_VFIO)
        return remote_ioctl(fd, number, argument);
    }
    const int made = static_cast<int>(system_call(SYS_ioctl, fd, number, argument));
    if (low == KVM_CREATE_VM && made >= 0) {
      set_kind(made, vm);
      request r;
      r.what = operation::created_vm;
      r.fd = fd;
      r.number = made;
      reply a;
      ask(r, a);
    } else if (made >= 0 && (low == KVM_CREATE_VCPU || low == KVM_CREATE_DEVICE)) {
      set_kind(made, low == KVM_CREATE_VCPU ? real : unknown);
    }
    return made;
  } else if (fd >= 0 && fd < most && kinds[fd] == simulated) {
    return remote_ioctl(fd, number, argument);
  }
  return static_cast<int>(system_call(SYS_ioctl, fd, number, argument));
}

long transfer(operation what, int fd, unsigned long address, size_t size, unsigned long offset) {
  request r;
  r.what = what;
  r.fd = fd;
  r.first = address;
  r.second = size;
  r.third = offset;
  reply a;
  ask(r, a);
  return result_of(a);
}

// ---- Memory ----

// Tells the simulated host that a range has lost its mappings, if the range had one of a BAR.
// `implied`: another call than munmap(2) removed them. Returns 0, or the number of the error that a
// fault gives to munmap(2).
int tell_unmap(unsigned long first, unsigned long size, bool implied = true) {
  if (__atomic_load_n(&mapping_count, __ATOMIC_ACQUIRE) == 0 && !mappings_lost) return 0;
  bool own = mappings_lost;
  {
    const locked held;
    for (int i = 0; i < mapping_count; ++i)
      if (mappings[i].first < first + size && first < mappings[i].first + mappings[i].size)
        own = true;
  }
  if (!own) return 0;
  request r;
  r.what = operation::unmap;
  r.first = first;
  r.second = size;
  r.flags = implied ? 1 : 0;
  reply a;
  ask(r, a);
  if (a.injected) return a.error;
  {
    const locked held;
    for (int i = 0; i < mapping_count;) {
      const mapping m = mappings[i];
      if (m.first < first + size && first < m.first + m.size) {
        if (first <= m.first && m.first + m.size <= first + size) {
          mappings[i] = mappings[--mapping_count];
          continue;
        }
      }
      ++i;
    }
  }
  return 0;
}

void* do_mmap(void* at, size_t size, int protection, int flags, int fd, long offset) {
  const auto mapped_by = [&](void* where, int how, int file, unsigned long from) {
    return reinterpret_cast<void*>(system_call(SYS_mmap, where, size, protection, how, file, from));
  };
  const bool replaces = (flags & MAP_FIXED) && !(flags & MAP_FIXED_NOREPLACE);
  if (fd < 0 || (flags & MAP_ANONYMOUS) || !is_simulated(fd)) {
    void* const mapped = mapped_by(at, flags, fd, static_cast<unsigned long>(offset));
    if (replaces && mapped != MAP_FAILED) tell_unmap(reinterpret_cast<unsigned long>(at), size);
    return mapped;
  }
  // The address must be known before the call, because the simulated host records it.
  void* place = at;
  if (!replaces) {
    place = reinterpret_cast<void*>(system_call(
        SYS_mmap, at, size ? size : 1, PROT_NONE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & MAP_FIXED_NOREPLACE), -1, 0));
    if (place == MAP_FAILED) return place;
  }
  request r;
  r.what = operation::map;
  r.fd = fd;
  r.flags = static_cast<unsigned>(protection) | static_cast<unsigned>(flags) << 16;
  r.first = reinterpret_cast<unsigned long>(place);
  r.second = size;
  r.third = static_cast<unsigned long>(offset);
  // The kernel, too, removes what was there before it asks the file.
  if (replaces) tell_unmap(r.first, size);
  reply a;
  int memory = -1;
  ask(r, a, nullptr, -1, &memory);
  if (a.error != 0) {
    if (!replaces) (void)system_call(SYS_munmap, place, size ? size : 1);
    errno = a.error;
    return MAP_FAILED;
  }
  void* const mapped =
      mapped_by(place, (flags & ~MAP_FIXED_NOREPLACE) | MAP_FIXED, memory, a.offset);
  (void)real_close(memory);
  if (mapped == MAP_FAILED) {
    request back;
    back.what = operation::unmap;
    back.flags = 1;
    back.first = r.first;
    back.second = size;
    ask(back, a);
    return mapped;
  }
  const locked held;
  if (mapping_count < most_mappings)
    mappings[mapping_count++] = {reinterpret_cast<unsigned long>(mapped), size};
  else mappings_lost = true;
  return mapped;
}

int do_munmap(void* at, size_t size) {
  // A call that will fail changes nothing.
  const auto first = reinterpret_cast<unsigned long>(at);
  if ((first & 4095) == 0 && size != 0)
    if (const int error = tell_unmap(first, size, false); error != 0) {
      errno = error;
      return -1;
    }
  return static_cast<int>(system_call(SYS_munmap, at, size));
}

void* do_mremap(void* from, size_t old_size, size_t new_size, int flags, void* to) {
  const auto remapped = [&] {
    return reinterpret_cast<void*>(system_call(SYS_mremap, from, old_size, new_size, flags, to));
  };
  if (__atomic_load_n(&mapping_count, __ATOMIC_ACQUIRE) == 0 && !mappings_lost) return remapped();
  const kvm_vfio_sim::remapping m(reinterpret_cast<unsigned long>(from), old_size, new_size,
                                  static_cast<unsigned>(flags),
                                  reinterpret_cast<unsigned long>(to));
  if (m.is_wrong()) return remapped();
  bool own = false;
  {
    const locked held;
    const unsigned long looked_at = m.old_size ? m.old_size : 1;
    for (int i = 0; i < mapping_count; ++i)
      if (mappings[i].first < m.from + looked_at && m.from < mappings[i].first + mappings[i].size)
        own = true;
  }
  if (own && m.error() != 0) {
    errno = m.error();
    return MAP_FAILED;
  }
  void* const made = remapped();
  if (made == MAP_FAILED) return made;
  if (m.moves()) tell_unmap(m.to, m.new_size);
  if (!own) return made;
  if (m.new_size < m.old_size) tell_unmap(m.from + m.new_size, m.old_size - m.new_size);
  if (!m.moves()) return made;
  request r;
  r.what = operation::remap;
  r.first = m.from;
  r.second = m.new_size;
  r.third = m.to;
  reply a;
  ask(r, a);
  const locked held;
  // The range may have had several mappings. An entry that is too large costs time only.
  if (mapping_count < most_mappings) mappings[mapping_count++] = {m.to, m.new_size};
  else mappings_lost = true;
  return made;
}

// ---- Programs that processes execute ----

// Whether a list of LD_PRELOAD has this object.
bool names_object(const char* list) {
  for (const char* at = list; *at;) {
    const size_t n = strcspn(at, ": ");
    if (n == strlen(object) && memcmp(at, object, n) == 0) return true;
    at += n + (at[n] != 0);
  }
  return false;
}

// Tells the launcher of a program that will not be on the simulated host: one line of a file.
// `none` withdraws the last line of the path.
void tell_unreached(const char* path, kvm_vfio_sim::obstacle why) {
  char line[PATH_MAX + 16];
  const int before = errno;
  const int size = snprintf(line, sizeof line, "%u %s\n", static_cast<unsigned>(why), path);
  const int fd = open_in_directory(kvm_vfio_sim::unreached_name, O_WRONLY | O_CREAT | O_APPEND);
  if (fd >= 0 && size > 0 && size < static_cast<int>(sizeof line))
    (void)system_call(SYS_write, fd, line, size);
  if (fd >= 0) (void)real_close(fd);
  errno = before;
}

// A program that a process is about to execute. Tells the launcher if the program will not be on
// the simulated host.
struct execution {
  kvm_vfio_sim::program_file file;
  char path[PATH_MAX];

  // Looks at a file.
  execution(int at, const char* name) : path() { look_at(at, name); }
  // Looks for a name as the C library does: in PATH.
  explicit execution(const char* name) : path() {
    if (directory_length == 0 || !readable(name)) return;
    if (strchr(name, '/')) {
      look_at(AT_FDCWD, name);
      return;
    }
    const char* list = getenv("PATH");
    if (!list) list = "/bin:/usr/bin";
    const int before = errno;
    for (;; ++list) {
      char tried[PATH_MAX];
      const int length = static_cast<int>(strcspn(list, ":"));
      const int size =
          snprintf(tried, sizeof tried, "%.*s%s%s", length, list, length ? "/" : "./", name);
      if (size > 0 && size < PATH_MAX && system_call(SYS_faccessat, AT_FDCWD, tried, X_OK) == 0) {
        look_at(AT_FDCWD, tried);
        break;
      }
      list += length;
      if (*list == 0) break;
    }
    errno = before;
  }
  // The real kernel did not execute the program.
  void failed() const {
    if (path[0]) tell_unreached(path, kvm_vfio_sim::obstacle::none);
  }

 private:
  void look_at(int at, const char* name) {
    const int before = errno;
    if (directory_length != 0 && readable(name) && name[0] && strlen(name) < sizeof path &&
        system_call(SYS_faccessat, at, name, X_OK) == 0) {
      file = kvm_vfio_sim::look_at_program(at, name);
      if (file.what != kvm_vfio_sim::obstacle::none) {
        strcpy(path, name);
        tell_unreached(path, file.what);
      }
    }
    errno = before;
  }
};

// The variables of the environment that lead a program to the simulated host.
struct own_variables {
  char preload[2 * PATH_MAX];
  char where[PATH_MAX + sizeof kvm_vfio_sim::directory_variable + 1];
  char kvm[sizeof kvm_vfio_sim::kvm_variable + 2];
};
constexpr size_t most_own_variables = 4;

// The value of a variable if `entry` sets it, or null.
const char* value_in(const char* entry, const char* name) {
  const size_t n = strlen(name);
  return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : nullptr;
}

// How many variables an environment has. False: its memory cannot be read.
bool count_of(char* const* environment, size_t& count) {
  count = 0;
  if (!environment) return true;
  for (;; ++count) {
    if (!readable(reinterpret_cast<const char*>(environment + count))) return false;
    if (!environment[count]) return true;
    if (!readable(environment[count])) return false;
  }
}

// Copies an environment, and puts back what a program has removed from it.
// \param to    room for `count` + `most_own_variables` + 1 pointers
// \param own   the memory of the added variables
void complete(char* const* environment, size_t count, char** to, own_variables& own) {
  size_t n = 0;
  bool has_where = false;
  bool has_kvm = false;
  bool has_options = false;  // of the address sanitizer, as the launcher sets them
  const char* before = "";
  size_t preload_at = count;
  for (size_t i = 0; i < count; ++i) {
    has_where = has_where || value_in(environment[i], kvm_vfio_sim::directory_variable);
    has_kvm = has_kvm || value_in(environment[i], kvm_vfio_sim::kvm_variable);
    has_options = has_options || value_in(environment[i], "ASAN_OPTIONS");
    if (const char* const value = value_in(environment[i], "LD_PRELOAD")) {
      if (preload_at == count) {
        before = value;
        preload_at = n;
      }
    }
    to[n++] = environment[i];
  }
  // The objects that the program wants keep their order, in front of this object.
  if (!names_object(before)) {
    const int size = snprintf(own.preload, sizeof own.preload, "LD_PRELOAD=%s%s%s", before,
                              *before ? ":" : "", object);
    // A list that is too long stays as it is.
    if (size > 0 && size < static_cast<int>(sizeof own.preload))
      to[preload_at == count ? n++ : preload_at] = own.preload;
  }
  if (!has_options) {
    static char options[] = "ASAN_OPTIONS=verify_asan_link_order=0";
    to[n++] = options;
  }
  if (!has_where) {
    (void)snprintf(own.where, sizeof own.where, "%s=%s", kvm_vfio_sim::directory_variable,
                   directory);
    to[n++] = own.where;
  }
  if (simulated_kvm && !has_where && !has_kvm) {
    (void)snprintf(own.kvm, sizeof own.kvm, "%s=1", kvm_vfio_sim::kvm_variable);
    to[n++] = own.kvm;
  }
  to[n] = nullptr;
}

// Makes a call with a completed environment. The memory is on the stack, because a child of
// vfork(2) shares all other memory with its parent.
template <class Call>
auto with_environment(char* const* environment, Call call) {
  size_t count = 0;
  if (directory_length == 0 || object[0] == 0 || !count_of(environment, count))
    return call(environment);
  own_variables own;
  auto** const all =
      static_cast<char**>(__builtin_alloca((count + most_own_variables + 1) * sizeof(char*)));
  complete(environment, count, all, own);
  return call(all);
}

// These calls return only if the real kernel did not execute the program.
int do_execve(const char* path, char* const* words, char* const* environment) {
  const execution e(AT_FDCWD, path);
  const int r = with_environment(environment, [&](char* const* all) {
    return NEXT(execve, int(const char*, char* const*, char* const*))(path, words, all);
  });
  e.failed();
  return r;
}
int do_execvpe(const char* name, char* const* words, char* const* environment) {
  const execution e(name);
  const int r = with_environment(environment, [&](char* const* all) {
    return NEXT(execvpe, int(const char*, char* const*, char* const*))(name, words, all);
  });
  e.failed();
  return r;
}
int do_execveat(int at, const char* path, char* const* words, char* const* environment, int flags) {
  char link[40];
  const bool is_empty = (flags & AT_EMPTY_PATH) && readable(path) && !path[0];
  (void)snprintf(link, sizeof link, "/proc/self/fd/%d", at);
  const execution e(is_empty ? AT_FDCWD : at, is_empty ? link : path);
  const int r = with_environment(environment, [&](char* const* all) {
    return static_cast<int>(system_call(SYS_execveat, at, path, words, all, flags));
  });
  e.failed();
  return r;
}

// Functions such as system(3) take the environment of the process. Completes it if the process has
// removed a variable.
void complete_own_environment() {
  size_t count = 0;
  if (directory_length == 0 || object[0] == 0 || !count_of(environ, count)) return;
  const char* const preload = getenv("LD_PRELOAD");
  if (preload && names_object(preload) && getenv(kvm_vfio_sim::directory_variable)) return;
  const size_t pointers = (count + most_own_variables + 1) * sizeof(char*);
  // The process keeps this memory.
  void* const made = reinterpret_cast<void*>(
      system_call(SYS_mmap, nullptr, pointers + sizeof(own_variables), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (made == MAP_FAILED) return;
  auto** const all = static_cast<char**>(made);
  auto* const own = reinterpret_cast<own_variables*>(static_cast<char*>(made) + pointers);
  complete(environ, count, all, *own);
  environ = all;
}

// ---- Start ----

void in_child() {
  // The parent may have held the lock in another thread.
  pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  memcpy(&lock, &fresh, sizeof lock);
  own_process = getpid();
  if (is_connected()) (void)real_close(connection);
  forget_connection();
  if (simulated_count == 0) return;
  request r;
  r.what = operation::forked;
  r.number = getppid();
  reply a;
  ask(r, a);
}

void read_nodes() {
  const int fd = open_in_directory(kvm_vfio_sim::nodes_name, O_RDONLY);
  if (fd < 0) return;
  struct stat s;
  if (stat_real(fd, &s) == 0 && s.st_size > 0) {
    view_device = s.st_dev;
    const auto size = static_cast<size_t>(s.st_size);
    void* const text = reinterpret_cast<void*>(
        system_call(SYS_mmap, nullptr, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    void* const table = reinterpret_cast<void*>(
        system_call(SYS_mmap, nullptr, sizeof(node) * most_nodes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (text != MAP_FAILED && table != MAP_FAILED) {
      nodes = static_cast<node*>(table);
      char* rest = static_cast<char*>(text);
      for (char* const end = rest + size; rest < end && node_count < most_nodes;) {
        auto* const line_end =
            static_cast<char*>(memchr(rest, '\n', static_cast<size_t>(end - rest)));
        auto* const blank = static_cast<char*>(memchr(rest, ' ', static_cast<size_t>(end - rest)));
        if (!line_end || !blank || blank > line_end || blank - rest >= 64) break;
        node& n = nodes[node_count++];
        memcpy(n.path, rest, static_cast<size_t>(blank - rest));
        char* minor = nullptr;
        const auto major = static_cast<unsigned>(strtoul(blank, &minor, 10));
        char* inode = nullptr;
        n.number = major << 20 | static_cast<unsigned>(strtoul(minor, &inode, 10));
        n.inode = strtoul(inode, nullptr, 10);
        rest = line_end + 1;
      }
    }
    if (text != MAP_FAILED) (void)system_call(SYS_munmap, text, size + 1);
  }
  (void)real_close(fd);
}

__attribute__((constructor)) void start() {
  const char* const where = getenv(kvm_vfio_sim::directory_variable);
  if (!where || where[0] != '/' ||
      strlen(where) + sizeof kvm_vfio_sim::socket_name > sizeof(sockaddr_un::sun_path))
    return;
  strcpy(directory, where);
  directory_length = strlen(directory);
  simulated_kvm = getenv(kvm_vfio_sim::kvm_variable) != nullptr;
  Dl_info self;
  if (dladdr(&directory, &self) != 0 && self.dli_fname && self.dli_fname[0] == '/' &&
      strlen(self.dli_fname) < sizeof object)
    strcpy(object, self.dli_fname);
  read_nodes();
  own_process = getpid();
  (void)pthread_atfork(nullptr, nullptr, in_child);
}

}  // namespace

// ---- The functions that programs call ----
extern "C" {

// Sets `mode` to the argument of open(2) that only some calls have.
#define READ_MODE(mode, flags)     \
  unsigned mode = 0;               \
  if (needs_mode(flags)) {         \
    va_list more;                  \
    va_start(more, flags);         \
    mode = va_arg(more, unsigned); \
    va_end(more);                  \
  }
#define OPEN(own, name)                               \
  int own(const char* path, int flags, ...) AS(name); \
  int own(const char* path, int flags, ...) {         \
    READ_MODE(mode, flags)                            \
    return do_open(AT_FDCWD, path, flags, mode);      \
  }
OPEN(sim_open, open)
OPEN(sim_open64, open64)
OPEN(sim_open_inner, __open)
OPEN(sim_open64_inner, __open64)
#define OPENAT(own, name)                                     \
  int own(int at, const char* path, int flags, ...) AS(name); \
  int own(int at, const char* path, int flags, ...) {         \
    READ_MODE(mode, flags)                                    \
    return do_open(at, path, flags, mode);                    \
  }
OPENAT(sim_openat, openat)
OPENAT(sim_openat64, openat64)
int sim_open_2(const char* path, int flags) AS(__open_2);
int sim_open_2(const char* path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int sim_open64_2(const char* path, int flags) AS(__open64_2);
int sim_open64_2(const char* path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
int sim_openat_2(int at, const char* path, int flags) AS(__openat_2);
int sim_openat_2(int at, const char* path, int flags) { return do_open(at, path, flags, 0); }
int sim_openat64_2(int at, const char* path, int flags) AS(__openat64_2);
int sim_openat64_2(int at, const char* path, int flags) { return do_open(at, path, flags, 0); }

#define FOPEN(own, name)                                                             \
  FILE* own(const char* path, const char* mode) AS(name);                            \
  FILE* own(const char* path, const char* mode) {                                    \
    char buffer[PATH_MAX];                                                           \
    if (FILE* f = nullptr; fopen_simulated(path, mode, f)) return f;                 \
    return NEXT(name, FILE * (const char*, const char*))(shown(path, buffer), mode); \
  }
FOPEN(sim_fopen, fopen)
FOPEN(sim_fopen64, fopen64)
DIR* sim_opendir(const char* path) AS(opendir);
DIR* sim_opendir(const char* path) {
  char buffer[PATH_MAX];
  return NEXT(opendir, DIR * (const char*))(shown(path, buffer));
}
#define SCANDIR(own, name, entry)                                                            \
  int own(const char* path, entry*** list, int (*filter)(const entry*),                      \
          int (*order)(const entry**, const entry**)) AS(name);                              \
  int own(const char* path, entry*** list, int (*filter)(const entry*),                      \
          int (*order)(const entry**, const entry**)) {                                      \
    char buffer[PATH_MAX];                                                                   \
    return NEXT(name, int(const char*, entry***, int (*)(const entry*),                      \
                          int (*)(const entry**, const entry**)))(shown(path, buffer), list, \
                                                                  filter, order);            \
  }
SCANDIR(sim_scandir, scandir, dirent)
SCANDIR(sim_scandir64, scandir64, struct dirent)
#define GLOB(own, name, type)                                                                 \
  int own(const char* pattern, int flags, int (*failed)(const char*, int), type* g) AS(name); \
  int own(const char* pattern, int flags, int (*failed)(const char*, int), type* g) {         \
    char buffer[PATH_MAX];                                                                    \
    const int r = NEXT(name, int(const char*, int, int (*)(const char*, int), type*))(        \
        shown(pattern, buffer), flags, failed, g);                                            \
    const size_t before = (flags & GLOB_DOOFFS) ? g->gl_offs : 0;                             \
    for (size_t i = 0; r == 0 && i < g->gl_pathc; ++i) {                                      \
      char* const path = g->gl_pathv[before + i];                                             \
      path[strip(path, strlen(path))] = 0;                                                    \
    }                                                                                         \
    return r;                                                                                 \
  }
GLOB(sim_glob, glob, glob_t)
GLOB(sim_glob64, glob64, glob_t)
// The C library walks with calls of its own. So the walk is one through the view, and the program's
// function gets the paths that the program knows.
using walk_function = int(const char*, const struct stat*, int, FTW*);
static thread_local walk_function* walking __attribute__((tls_model("initial-exec")));
static int on_walk(const char* path, const struct stat* s, int what, FTW* at) {
  char own[PATH_MAX];
  const size_t length = strlen(path);
  if (length >= sizeof own) return walking(path, s, what, at);
  memcpy(own, path, length + 1);
  own[strip(own, length)] = 0;
  FTW place{};
  if (at) place = *at;
  place.base -= static_cast<int>(length - strlen(own));
  struct stat seen = *s;
  if (what != FTW_NS)
    if (const node* const n = node_of(s->st_dev, s->st_ino, s->st_mode, s->st_size))
      as_node(&seen, n->number);
  return walking(own, &seen, what, at ? &place : nullptr);
}
static int on_old_walk(const char* path, const struct stat* s, int what) {
  return on_walk(path, s, what, nullptr);
}
// nftw and ftw differ in their functions: that of ftw has no last parameter, and does not look at
// it.
#define WALK(own, name, function, relay, ...)                                                    \
  int own(const char* path, function* f, int descriptors __VA_OPT__(, int flags)) AS(name);      \
  int own(const char* path, function* f, int descriptors __VA_OPT__(, int flags)) {              \
    char buffer[PATH_MAX];                                                                       \
    const char* const where = shown(path, buffer);                                               \
    walk_function* const before = walking;                                                       \
    if (where == buffer) walking = reinterpret_cast<walk_function*>(reinterpret_cast<void*>(f)); \
    const int r = NEXT(name, int(const char*, function*, int __VA_OPT__(, int)))(                \
        where, where == buffer ? relay : f, descriptors __VA_OPT__(, flags));                    \
    walking = before;                                                                            \
    return r;                                                                                    \
  }
using old_walk_function = int(const char*, const struct stat*, int);
WALK(sim_nftw, nftw, walk_function, on_walk, flags)
WALK(sim_nftw64, nftw64, walk_function, on_walk, flags)
WALK(sim_ftw, ftw, old_walk_function, on_old_walk)
WALK(sim_ftw64, ftw64, old_walk_function, on_old_walk)
// fts(3) walks with calls of its own, too. The entry that it returned last has the paths that the
// program knows. Before fts goes on, the entry gets its own paths back.
struct fts_walk {
  FTS* walk;
  FTSENT* shown;
  bool has_place;  // whether fts_accpath was changed, too
};
static fts_walk fts_walks[64];
static fts_walk* walk_of(const FTS* walk) {
  for (fts_walk& w : fts_walks)
    if (w.walk == walk) return &w;
  return nullptr;
}
static void hide_entry(const FTS* walk) {
  fts_walk* const w = walk_of(walk);
  if (!w || !w->shown) return;
  w->shown->fts_path -= directory_length;
  w->shown->fts_pathlen = static_cast<unsigned short>(w->shown->fts_pathlen + directory_length);
  if (w->has_place) w->shown->fts_accpath -= directory_length;
  w->shown = nullptr;
}
static FTSENT* show_entry(const FTS* walk, FTSENT* e) {
  fts_walk* const w = e ? walk_of(walk) : nullptr;
  if (!w || strncmp(e->fts_path, directory, directory_length) != 0) return e;
  w->shown = e;
  w->has_place = strncmp(e->fts_accpath, directory, directory_length) == 0;
  e->fts_path += directory_length;
  e->fts_pathlen = static_cast<unsigned short>(e->fts_pathlen - directory_length);
  if (w->has_place) e->fts_accpath += directory_length;
  struct stat* const s = e->fts_statp;
  if (e->fts_info != FTS_F || !s) return e;
  if (const node* const n = node_of(s->st_dev, s->st_ino, s->st_mode, s->st_size)) {
    as_node(s, n->number);
    e->fts_info = FTS_DEFAULT;
  }
  return e;
}
using fts_order = int(const FTSENT**, const FTSENT**);
using fts_opening = FTS*(char* const*, int, fts_order*);
static FTS* open_walk(fts_opening* open, char* const* paths, int options, fts_order* order) {
  constexpr size_t most_paths = 64;
  char* asked[most_paths + 1];
  size_t count = 0;
  while (count < most_paths && paths[count]) ++count;
  if (directory_length == 0 || paths[count]) return open(paths, options, order);
  bool own = false;
  for (size_t i = 0; i < count; ++i) {
    char buffer[PATH_MAX];
    asked[i] = paths[i];
    if (shown(paths[i], buffer) != buffer) continue;
    const size_t size = strlen(buffer) + 1;
    asked[i] = static_cast<char*>(memcpy(__builtin_alloca(size), buffer, size));
    own = true;
  }
  asked[count] = nullptr;
  FTS* const walk = open(asked, options, order);
  if (!walk || !own) return walk;
  const locked held;
  if (fts_walk* const w = walk_of(nullptr)) *w = {walk, nullptr, false};
  return walk;
}
#define FTS_FUNCTIONS(prefix)                                                                    \
  FTS* sim_##prefix##_open(char* const* paths, int options, fts_order* order) AS(prefix##_open); \
  FTS* sim_##prefix##_open(char* const* paths, int options, fts_order* order) {                  \
    return open_walk(NEXT(prefix##_open, fts_opening), paths, options, order);                   \
  }                                                                                              \
  FTSENT* sim_##prefix##_read(FTS* walk) AS(prefix##_read);                                      \
  FTSENT* sim_##prefix##_read(FTS* walk) {                                                       \
    hide_entry(walk);                                                                            \
    return show_entry(walk, NEXT(prefix##_read, FTSENT * (FTS*))(walk));                         \
  }                                                                                              \
  FTSENT* sim_##prefix##_children(FTS* walk, int options) AS(prefix##_children);                 \
  FTSENT* sim_##prefix##_children(FTS* walk, int options) {                                      \
    const fts_walk* const w = walk_of(walk);                                                     \
    FTSENT* const now = w ? w->shown : nullptr;                                                  \
    hide_entry(walk);                                                                            \
    FTSENT* const all = NEXT(prefix##_children, FTSENT * (FTS*, int))(walk, options);            \
    (void)show_entry(walk, now);                                                                 \
    return all;                                                                                  \
  }                                                                                              \
  int sim_##prefix##_close(FTS* walk) AS(prefix##_close);                                        \
  int sim_##prefix##_close(FTS* walk) {                                                          \
    hide_entry(walk);                                                                            \
    if (fts_walk* const w = walk ? walk_of(walk) : nullptr) w->walk = nullptr;                   \
    return NEXT(prefix##_close, int(FTS*))(walk);                                                \
  }
FTS_FUNCTIONS(fts)
FTS_FUNCTIONS(fts64)
int sim_chdir(const char* path) AS(chdir);
int sim_chdir(const char* path) {
  char buffer[PATH_MAX];
  return static_cast<int>(system_call(SYS_chdir, shown(path, buffer)));
}

#define STAT(own, name, flags)                        \
  int own(const char* path, struct stat* s) AS(name); \
  int own(const char* path, struct stat* s) { return do_stat(AT_FDCWD, path, s, flags); }
STAT(sim_stat, stat, 0)
STAT(sim_stat64, stat64, 0)
STAT(sim_lstat, lstat, AT_SYMLINK_NOFOLLOW)
STAT(sim_lstat64, lstat64, AT_SYMLINK_NOFOLLOW)
#define XSTAT(own, name, flags)                            \
  int own(int, const char* path, struct stat* s) AS(name); \
  int own(int, const char* path, struct stat* s) { return do_stat(AT_FDCWD, path, s, flags); }
XSTAT(sim_xstat, __xstat, 0)
XSTAT(sim_xstat64, __xstat64, 0)
XSTAT(sim_lxstat, __lxstat, AT_SYMLINK_NOFOLLOW)
XSTAT(sim_lxstat64, __lxstat64, AT_SYMLINK_NOFOLLOW)
int sim_fstatat(int at, const char* path, struct stat* s, int flags) AS(fstatat);
int sim_fstatat(int at, const char* path, struct stat* s, int flags) {
  return do_stat(at, path, s, flags);
}
int sim_fstatat64(int at, const char* path, struct stat* s, int flags) AS(fstatat64);
int sim_fstatat64(int at, const char* path, struct stat* s, int flags) {
  return do_stat(at, path, s, flags);
}
int sim_fxstatat(int, int at, const char* path, struct stat* s, int flags) AS(__fxstatat);
int sim_fxstatat(int, int at, const char* path, struct stat* s, int flags) {
  return do_stat(at, path, s, flags);
}
#define FSTAT(own, name)                    \
  int own(int fd, struct stat* s) AS(name); \
  int own(int fd, struct stat* s) { return do_stat(fd, "", s, AT_EMPTY_PATH); }
FSTAT(sim_fstat, fstat)
FSTAT(sim_fstat64, fstat64)
int sim_fxstat(int, int fd, struct stat* s) AS(__fxstat);
int sim_fxstat(int, int fd, struct stat* s) { return do_stat(fd, "", s, AT_EMPTY_PATH); }
int sim_fxstat64(int, int fd, struct stat* s) AS(__fxstat64);
int sim_fxstat64(int, int fd, struct stat* s) { return do_stat(fd, "", s, AT_EMPTY_PATH); }
int sim_statx(int at, const char* path, int flags, unsigned mask, struct statx* s) AS(statx);
int sim_statx(int at, const char* path, int flags, unsigned mask, struct statx* s) {
  char buffer[PATH_MAX];
  const int r =
      static_cast<int>(system_call(SYS_statx, at, shown_at(at, path, buffer), flags, mask, s));
  if (r != 0) return r;
  const node* const n = node_of(makedev(s->stx_dev_major, s->stx_dev_minor), s->stx_ino,
                                s->stx_mode, static_cast<long>(s->stx_size));
  const bool own = (flags & AT_EMPTY_PATH) && is_simulated(at) && readable(path) && !path[0];
  const unsigned device = n ? n->number : own && at < most ? nodes_of[at] : 0;
  if (device != 0) {
    s->stx_mode = S_IFCHR | 0600;
    s->stx_rdev_major = device >> 20;
    s->stx_rdev_minor = device & 0xfffff;
  }
  return r;
}
#define STATFS(own, name, type)                                                 \
  int own(const char* path, type* s) AS(name);                                  \
  int own(const char* path, type* s) {                                          \
    char buffer[PATH_MAX];                                                      \
    const char* const where = shown(path, buffer);                              \
    const int r = static_cast<int>(system_call(SYS_statfs, where, s));          \
    if (r == 0 && where == buffer && starts(buffer + directory_length, "/sys")) \
      s->f_type = 0x62656572;                                                   \
    return r;                                                                   \
  }
STATFS(sim_statfs, statfs, struct statfs)
STATFS(sim_statfs64, statfs64, struct statfs)
// A file of the view says that it is in sysfs: libudev asks.
#define FSTATFS(own, name)                                                                 \
  int own(int fd, struct statfs* s) AS(name);                                              \
  int own(int fd, struct statfs* s) {                                                      \
    const int r = static_cast<int>(system_call(SYS_fstatfs, fd, s));                       \
    if (r != 0 || directory_length == 0) return r;                                         \
    char link[40];                                                                         \
    char target[PATH_MAX];                                                                 \
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);                             \
    const long n = system_call(SYS_readlinkat, AT_FDCWD, link, target, sizeof target - 1); \
    if (n <= 0) return r;                                                                  \
    target[n] = 0;                                                                         \
    if (starts(target, directory) && starts(target + directory_length, "/sys"))            \
      s->f_type = 0x62656572;                                                              \
    return r;                                                                              \
  }
FSTATFS(sim_fstatfs, fstatfs)
FSTATFS(sim_fstatfs64, fstatfs64)

int sim_access(const char* path, int mode) AS(access);
int sim_access(const char* path, int mode) {
  char buffer[PATH_MAX];
  return static_cast<int>(system_call(SYS_faccessat, AT_FDCWD, shown(path, buffer), mode));
}
int sim_euidaccess(const char* path, int mode) AS(euidaccess);
int sim_euidaccess(const char* path, int mode) {
  char buffer[PATH_MAX];
  return NEXT(euidaccess, int(const char*, int))(shown(path, buffer), mode);
}
int sim_eaccess(const char* path, int mode) AS(eaccess);
int sim_eaccess(const char* path, int mode) { return sim_euidaccess(path, mode); }
int sim_faccessat(int at, const char* path, int mode, int flags) AS(faccessat);
int sim_faccessat(int at, const char* path, int mode, int flags) {
  char buffer[PATH_MAX];
  return NEXT(faccessat, int(int, const char*, int, int))(at, shown_at(at, path, buffer), mode,
                                                          flags);
}

// ls(1) asks for these.
#define GETXATTR(own, name, number)                                                  \
  long own(const char* path, const char* attribute, void* to, size_t size) AS(name); \
  long own(const char* path, const char* attribute, void* to, size_t size) {         \
    char buffer[PATH_MAX];                                                           \
    return system_call(number, shown(path, buffer), attribute, to, size);            \
  }
GETXATTR(sim_getxattr, getxattr, SYS_getxattr)
GETXATTR(sim_lgetxattr, lgetxattr, SYS_lgetxattr)
#define LISTXATTR(own, name, number)                           \
  long own(const char* path, char* to, size_t size) AS(name);  \
  long own(const char* path, char* to, size_t size) {          \
    char buffer[PATH_MAX];                                     \
    return system_call(number, shown(path, buffer), to, size); \
  }
LISTXATTR(sim_listxattr, listxattr, SYS_listxattr)
LISTXATTR(sim_llistxattr, llistxattr, SYS_llistxattr)

// The link of a descriptor in /proc: the node, if the descriptor has one.
static long own_link(const char* path, char* to, size_t size, long length) {
  constexpr char own[] = "/proc/self/fd/";
  if (!starts(path, own)) return length;
  const long fd = strtol(path + sizeof own - 1, nullptr, 10);
  if (fd >= most || !is_simulated(static_cast<int>(fd)) || nodes_of[fd] == 0) return length;
  for (int i = 0; i < node_count; ++i)
    if (nodes[i].number == nodes_of[fd]) {
      const size_t needed = strlen(nodes[i].path);
      memcpy(to, nodes[i].path, needed < size ? needed : size);
      return static_cast<long>(needed < size ? needed : size);
    }
  return length;
}
long sim_readlinkat(int at, const char* path, char* to, size_t size) AS(readlinkat);
long sim_readlinkat(int at, const char* path, char* to, size_t size) {
  char buffer[PATH_MAX];
  const long n = system_call(SYS_readlinkat, at, shown_at(at, path, buffer), to, size);
  if (n <= 0) return n;
  if (n > 8 && memcmp(to, "socket:[", 8) == 0) return own_link(path, to, size, n);
  return static_cast<long>(strip(to, static_cast<size_t>(n)));
}
long sim_readlink(const char* path, char* to, size_t size) AS(readlink);
long sim_readlink(const char* path, char* to, size_t size) {
  return sim_readlinkat(AT_FDCWD, path, to, size);
}
long sim_readlink_chk(const char* path, char* to, size_t size, size_t) AS(__readlink_chk);
long sim_readlink_chk(const char* path, char* to, size_t size, size_t) {
  return sim_readlinkat(AT_FDCWD, path, to, size);
}
long sim_readlinkat_chk(int at, const char* path, char* to, size_t size, size_t)
    AS(__readlinkat_chk);
long sim_readlinkat_chk(int at, const char* path, char* to, size_t size, size_t) {
  return sim_readlinkat(at, path, to, size);
}
char* sim_realpath(const char* path, char* to) AS(realpath);
char* sim_realpath(const char* path, char* to) {
  char buffer[PATH_MAX];
  char* const r = NEXT(realpath, char*(const char*, char*))(shown(path, buffer), to);
  if (r) r[strip(r, strlen(r))] = 0;
  return r;
}
char* sim_realpath_chk(const char* path, char* to, size_t) AS(__realpath_chk);
char* sim_realpath_chk(const char* path, char* to, size_t) { return sim_realpath(path, to); }
char* sim_canonicalize(const char* path) AS(canonicalize_file_name);
char* sim_canonicalize(const char* path) { return sim_realpath(path, nullptr); }

int sim_ioctl(int fd, unsigned long number, ...) AS(ioctl);
int sim_ioctl(int fd, unsigned long number, ...) {
  va_list more;
  va_start(more, number);
  const auto argument = va_arg(more, unsigned long);
  va_end(more);
  return do_ioctl(fd, number, argument);
}

long sim_read(int fd, void* to, size_t size) AS(read);
long sim_read(int fd, void* to, size_t size) {
  if (fd >= 0 && fd < most && kinds[fd] == simulated)
    return transfer(operation::read, fd, reinterpret_cast<unsigned long>(to), size, 0);
  return NEXT(read, long(int, void*, size_t))(fd, to, size);
}
long sim_read_chk(int fd, void* to, size_t size, size_t) AS(__read_chk);
long sim_read_chk(int fd, void* to, size_t size, size_t) { return sim_read(fd, to, size); }
long sim_write(int fd, const void* from, size_t size) AS(write);
long sim_write(int fd, const void* from, size_t size) {
  if (fd >= 0 && fd < most && kinds[fd] == simulated)
    return transfer(operation::write, fd, reinterpret_cast<unsigned long>(from), size, 0);
  return NEXT(write, long(int, const void*, size_t))(fd, from, size);
}
#define PREAD(own, name)                                                               \
  long own(int fd, void* to, size_t size, long offset) AS(name);                       \
  long own(int fd, void* to, size_t size, long offset) {                               \
    if (is_simulated(fd))                                                              \
      return transfer(operation::pread, fd, reinterpret_cast<unsigned long>(to), size, \
                      static_cast<unsigned long>(offset));                             \
    return NEXT(pread64, long(int, void*, size_t, long))(fd, to, size, offset);        \
  }
PREAD(sim_pread, pread)
PREAD(sim_pread64, pread64)
long sim_pread_chk(int fd, void* to, size_t size, long offset, size_t) AS(__pread_chk);
long sim_pread_chk(int fd, void* to, size_t size, long offset, size_t) {
  return sim_pread(fd, to, size, offset);
}
long sim_pread64_chk(int fd, void* to, size_t size, long offset, size_t) AS(__pread64_chk);
long sim_pread64_chk(int fd, void* to, size_t size, long offset, size_t) {
  return sim_pread(fd, to, size, offset);
}
#define PWRITE(own, name)                                                                 \
  long own(int fd, const void* from, size_t size, long offset) AS(name);                  \
  long own(int fd, const void* from, size_t size, long offset) {                          \
    if (is_simulated(fd))                                                                 \
      return transfer(operation::pwrite, fd, reinterpret_cast<unsigned long>(from), size, \
                      static_cast<unsigned long>(offset));                                \
    return NEXT(pwrite64, long(int, const void*, size_t, long))(fd, from, size, offset);  \
  }
PWRITE(sim_pwrite, pwrite)
PWRITE(sim_pwrite64, pwrite64)
#define PARTS(own, name, operation)                                          \
  long own(int fd, const iovec* parts, int count) AS(name);                  \
  long own(int fd, const iovec* parts, int count) {                          \
    if (fd >= 0 && fd < most && kinds[fd] == simulated)                      \
      return transfer(operation, fd, reinterpret_cast<unsigned long>(parts), \
                      static_cast<unsigned>(count), 0);                      \
    return NEXT(name, long(int, const iovec*, int))(fd, parts, count);       \
  }
PARTS(sim_readv, readv, operation::readv)
PARTS(sim_writev, writev, operation::writev)
#define PARTS_AT(own, name, operation)                                                   \
  long own(int fd, const iovec* parts, int count, long offset) AS(name);                 \
  long own(int fd, const iovec* parts, int count, long offset) {                         \
    if (is_simulated(fd))                                                                \
      return transfer(operation, fd, reinterpret_cast<unsigned long>(parts),             \
                      static_cast<unsigned>(count), static_cast<unsigned long>(offset)); \
    return NEXT(name, long(int, const iovec*, int, long))(fd, parts, count, offset);     \
  }
PARTS_AT(sim_preadv, preadv, operation::preadv)
PARTS_AT(sim_preadv64, preadv64, operation::preadv)
PARTS_AT(sim_pwritev, pwritev, operation::pwritev)
PARTS_AT(sim_pwritev64, pwritev64, operation::pwritev)
// The offset -1 stands for the position of the file. VFIO's files know one flag, which changes
// nothing for them.
#define PARTS_WITH_FLAGS(own, name, at_position, at_offset)                                        \
  long own(int fd, const iovec* parts, int count, long offset, int flags) AS(name);                \
  long own(int fd, const iovec* parts, int count, long offset, int flags) {                        \
    if (!is_simulated(fd))                                                                         \
      return NEXT(name, long(int, const iovec*, int, long, int))(fd, parts, count, offset, flags); \
    if ((flags & ~RWF_HIPRI) != 0) {                                                               \
      errno = EOPNOTSUPP;                                                                          \
      return -1;                                                                                   \
    }                                                                                              \
    return transfer(offset == -1 ? at_position : at_offset, fd,                                    \
                    reinterpret_cast<unsigned long>(parts), static_cast<unsigned>(count),          \
                    static_cast<unsigned long>(offset));                                           \
  }
PARTS_WITH_FLAGS(sim_preadv2, preadv2, operation::readv, operation::preadv)
PARTS_WITH_FLAGS(sim_preadv64v2, preadv64v2, operation::readv, operation::preadv)
PARTS_WITH_FLAGS(sim_pwritev2, pwritev2, operation::writev, operation::pwritev)
PARTS_WITH_FLAGS(sim_pwritev64v2, pwritev64v2, operation::writev, operation::pwritev)

// VFIO's files are no sockets.
#define ON_SOCKET(result, own, name, parameters, arguments) \
  result own parameters AS(name);                           \
  result own parameters {                                   \
    if (is_known_simulated(fd)) {                           \
      errno = ENOTSOCK;                                     \
      return -1;                                            \
    }                                                       \
    return NEXT(name, result parameters) arguments;         \
  }
ON_SOCKET(long, sim_send, send, (int fd, const void* data, size_t size, int flags),
          (fd, data, size, flags))
ON_SOCKET(long, sim_recv, recv, (int fd, void* to, size_t size, int flags), (fd, to, size, flags))
ON_SOCKET(long, sim_recv_chk, __recv_chk, (int fd, void* to, size_t size, size_t room, int flags),
          (fd, to, size, room, flags))
ON_SOCKET(long, sim_sendto, sendto,
          (int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t length),
          (fd, data, size, flags, to, length))
ON_SOCKET(long, sim_recvfrom, recvfrom,
          (int fd, void* to, size_t size, int flags, sockaddr* from, socklen_t* length),
          (fd, to, size, flags, from, length))
ON_SOCKET(long, sim_recvfrom_chk, __recvfrom_chk,
          (int fd, void* to, size_t size, size_t room, int flags, sockaddr* from,
           socklen_t* length),
          (fd, to, size, room, flags, from, length))
ON_SOCKET(long, sim_sendmsg, sendmsg, (int fd, const msghdr* m, int flags), (fd, m, flags))
ON_SOCKET(int, sim_sendmmsg, sendmmsg, (int fd, mmsghdr* all, unsigned count, int flags),
          (fd, all, count, flags))
ON_SOCKET(int, sim_recvmmsg, recvmmsg,
          (int fd, mmsghdr* all, unsigned count, int flags, timespec* timeout),
          (fd, all, count, flags, timeout))
ON_SOCKET(int, sim_shutdown, shutdown, (int fd, int how), (fd, how))
ON_SOCKET(int, sim_getsockopt, getsockopt,
          (int fd, int level, int name, void* value, socklen_t* size),
          (fd, level, name, value, size))
ON_SOCKET(int, sim_setsockopt, setsockopt,
          (int fd, int level, int name, const void* value, socklen_t size),
          (fd, level, name, value, size))
ON_SOCKET(int, sim_getsockname, getsockname, (int fd, sockaddr* name, socklen_t* size),
          (fd, name, size))
ON_SOCKET(int, sim_getpeername, getpeername, (int fd, sockaddr* name, socklen_t* size),
          (fd, name, size))
ON_SOCKET(int, sim_connect, connect, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))
ON_SOCKET(int, sim_bind, bind, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))
ON_SOCKET(int, sim_listen, listen, (int fd, int waiting), (fd, waiting))
ON_SOCKET(int, sim_accept, accept, (int fd, sockaddr* from, socklen_t* size), (fd, from, size))
ON_SOCKET(int, sim_accept4, accept4, (int fd, sockaddr* from, socklen_t* size, int flags),
          (fd, from, size, flags))

// The real kernel executes the operations of a ring, and would take a simulated descriptor for the
// socket that it is. liburing makes its system calls itself, so its functions are wrapped.
static void tell_ring(bool refused) {
  request r;
  r.what = operation::ring;
  r.flags = refused ? 1 : 0;
  reply a;
  ask(r, a);
}
// Whether one of the descriptors is simulated. Tells the launcher then.
static bool refuses_ring(const int* files, unsigned count) {
  for (unsigned i = 0; i < count && i < kvm_vfio_sim::most_ring_files; ++i) {
    int fd = -1;
    if (!peek(reinterpret_cast<unsigned long>(files + i), &fd, sizeof fd)) return false;
    if (!is_simulated(fd)) continue;
    tell_ring(true);
    return true;
  }
  return false;
}
// A ring of a process that has no simulated descriptors does not concern the simulated host.
#define MAKES_RING(own, name, parameters, arguments)         \
  int own parameters AS(name);                               \
  int own parameters {                                       \
    const int made = NEXT(name, int parameters) arguments;   \
    if (made >= 0 && simulated_count != 0) tell_ring(false); \
    return made;                                             \
  }
MAKES_RING(sim_ring_setup, io_uring_setup, (unsigned entries, void* p), (entries, p))
MAKES_RING(sim_ring_init, io_uring_queue_init, (unsigned entries, void* ring, unsigned flags),
           (entries, ring, flags))
MAKES_RING(sim_ring_init_params, io_uring_queue_init_params,
           (unsigned entries, void* ring, void* p), (entries, ring, p))
MAKES_RING(sim_ring_init_mem, io_uring_queue_init_mem,
           (unsigned entries, void* ring, void* p, void* memory, size_t size),
           (entries, ring, p, memory, size))
#define REGISTERS_FILES(own, name, parameters, arguments) \
  int own parameters AS(name);                            \
  int own parameters {                                    \
    if (refuses_ring(files, count)) return -EOPNOTSUPP;   \
    return NEXT(name, int parameters) arguments;          \
  }
REGISTERS_FILES(sim_ring_files, io_uring_register_files,
                (void* ring, const int* files, unsigned count), (ring, files, count))
REGISTERS_FILES(sim_ring_files_tags, io_uring_register_files_tags,
                (void* ring, const int* files, const void* tags, unsigned count),
                (ring, files, tags, count))
REGISTERS_FILES(sim_ring_files_update, io_uring_register_files_update,
                (void* ring, unsigned at, const int* files, unsigned count),
                (ring, at, files, count))
REGISTERS_FILES(sim_ring_files_update_tag, io_uring_register_files_update_tag,
                (void* ring, unsigned at, const int* files, const void* tags, unsigned count),
                (ring, at, files, tags, count))
int sim_ring_register(unsigned ring, unsigned opcode, const void* argument, unsigned number)
    AS(io_uring_register);
int sim_ring_register(unsigned ring, unsigned opcode, const void* argument, unsigned number) {
  const kvm_vfio_sim::ring_files named =
      kvm_vfio_sim::ring_files_of(opcode, reinterpret_cast<unsigned long>(argument), number, peek);
  if (refuses_ring(reinterpret_cast<const int*>(named.at), named.count)) return -EOPNOTSUPP;
  return NEXT(io_uring_register, int(unsigned, unsigned, const void*, unsigned))(ring, opcode,
                                                                                 argument, number);
}

// Linux refuses to copy between VFIO's files and others, because these files have no position and
// no splice operations. The socket behind a simulated descriptor would take the bytes, or wait for
// them.
bool refuses_copy(int from, int to) {
  if (!is_known_simulated(from) && !is_known_simulated(to)) return false;
  errno = EINVAL;
  return true;
}
#define SENDFILE(own, name)                                                                 \
  long own(int to, int from, long* offset, size_t size) AS(name);                           \
  long own(int to, int from, long* offset, size_t size) {                                   \
    return refuses_copy(from, to) ? -1 : system_call(SYS_sendfile, to, from, offset, size); \
  }
SENDFILE(sim_sendfile, sendfile)
SENDFILE(sim_sendfile64, sendfile64)
#define COPY(own, name)                                                                         \
  long own(int from, long* from_at, int to, long* to_at, size_t size, unsigned flags) AS(name); \
  long own(int from, long* from_at, int to, long* to_at, size_t size, unsigned flags) {         \
    if (refuses_copy(from, to)) return -1;                                                      \
    return NEXT(name, long(int, long*, int, long*, size_t, unsigned))(from, from_at, to, to_at, \
                                                                      size, flags);             \
  }
COPY(sim_splice, splice)
COPY(sim_copy_file_range, copy_file_range)

void* sim_mmap(void* at, size_t size, int protection, int flags, int fd, long offset) AS(mmap);
void* sim_mmap(void* at, size_t size, int protection, int flags, int fd, long offset) {
  return do_mmap(at, size, protection, flags, fd, offset);
}
void* sim_mmap64(void* at, size_t size, int protection, int flags, int fd, long offset) AS(mmap64);
void* sim_mmap64(void* at, size_t size, int protection, int flags, int fd, long offset) {
  return do_mmap(at, size, protection, flags, fd, offset);
}
int sim_munmap(void* at, size_t size) AS(munmap);
int sim_munmap(void* at, size_t size) { return do_munmap(at, size); }
void* sim_mremap(void* from, size_t old_size, size_t new_size, int flags, ...) AS(mremap);
void* sim_mremap(void* from, size_t old_size, size_t new_size, int flags, ...) {
  void* to = nullptr;
  if (flags & MREMAP_FIXED) {
    va_list more;
    va_start(more, flags);
    to = va_arg(more, void*);
    va_end(more);
  }
  return do_mremap(from, old_size, new_size, flags, to);
}

int sim_close(int fd) AS(close);
int sim_close(int fd) {
  if (fd >= 0 && fd < most) {
    if (kinds[fd] == hidden) {
      errno = EBADF;
      return -1;
    }
    if (kinds[fd] == simulated || kinds[fd] == vm) {
      if (const int error = tell_close(fd, false); error != 0) {
        // As in Linux, the descriptor is closed nevertheless.
        (void)real_close(fd);
        errno = error;
        return -1;
      }
    } else if (kinds[fd] != unknown) {
      set_kind(fd, unknown);
    }
  }
  return static_cast<int>(real_close(fd));
}
int sim_close_range(unsigned first, unsigned last, int flags) AS(close_range);
int sim_close_range(unsigned first, unsigned last, int flags) {
  constexpr int only_on_exec = 4;  // CLOSE_RANGE_CLOEXEC
  if (!(flags & only_on_exec))
    for (unsigned fd = first; fd <= last && fd < most; ++fd) {
      if (kinds[fd] == hidden) continue;
      if (kinds[fd] == simulated || kinds[fd] == vm) tell_close(static_cast<int>(fd));
      else if (kinds[fd] != unknown) set_kind(static_cast<int>(fd), unknown);
    }
  const int kept = connection;
  if (kept < 0 || static_cast<unsigned>(kept) < first || static_cast<unsigned>(kept) > last)
    return static_cast<int>(system_call(SYS_close_range, first, last, flags));
  const auto middle = static_cast<unsigned>(kept);
  long r = 0;
  if (middle > first) r = system_call(SYS_close_range, first, middle - 1, flags);
  if (r == 0 && middle < last) r = system_call(SYS_close_range, middle + 1, last, flags);
  return static_cast<int>(r);
}
void sim_closefrom(int first) AS(closefrom);
void sim_closefrom(int first) {
  (void)sim_close_range(first < 0 ? 0 : static_cast<unsigned>(first), ~0U, 0);
}

int sim_dup(int fd) AS(dup);
int sim_dup(int fd) {
  if (const int error = fault_of_dup(fd); error != 0) {
    errno = error;
    return -1;
  }
  const int made = static_cast<int>(system_call(SYS_dup, fd));
  tell_dup(fd, made);
  return made;
}
int sim_dup3(int fd, int to, int flags) AS(dup3);
int sim_dup3(int fd, int to, int flags) {
  // A call that will fail closes nothing.
  const bool good =
      fd != to && (flags & ~O_CLOEXEC) == 0 && system_call(SYS_fcntl, fd, F_GETFD) >= 0;
  if (const int error = good ? fault_of_dup(fd) : 0; error != 0) {
    errno = error;
    return -1;
  }
  if (good && to >= 0 && to < most && kinds[to] != unknown && kinds[to] != real) {
    if (kinds[to] == hidden) forget_connection();
    else tell_close(to);
  }
  const int made = static_cast<int>(system_call(SYS_dup3, fd, to, flags));
  tell_dup(fd, made);
  return made;
}
int sim_dup2(int fd, int to) AS(dup2);
int sim_dup2(int fd, int to) {
  if (fd != to) return sim_dup3(fd, to, 0);
  return system_call(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : to;
}
#define FCNTL(own, name)                                                           \
  int own(int fd, int command, ...) AS(name);                                      \
  int own(int fd, int command, ...) {                                              \
    va_list more;                                                                  \
    va_start(more, command);                                                       \
    const auto argument = va_arg(more, unsigned long);                             \
    va_end(more);                                                                  \
    const bool copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;          \
    if (const int error = copies ? fault_of_dup(fd) : 0; error != 0) {             \
      errno = error;                                                               \
      return -1;                                                                   \
    }                                                                              \
    const int r = static_cast<int>(system_call(SYS_fcntl, fd, command, argument)); \
    if (copies) tell_dup(fd, r);                                                   \
    return r;                                                                      \
  }
FCNTL(sim_fcntl, fcntl)
FCNTL(sim_fcntl64, fcntl64)

// The parent tells of its child, before it closes descriptors that the child has, too.
int sim_fork() AS(fork);
int sim_fork() {
  const int child = NEXT(fork, int())();
  if (child > 0 && simulated_count != 0 && !borrows_memory()) {
    request r;
    r.what = operation::made_child;
    r.number = child;
    reply a;
    ask(r, a);
  }
  return child;
}

// Descriptors that come in a message are not known.
long sim_recvmsg(int fd, msghdr* m, int flags) AS(recvmsg);
long sim_recvmsg(int fd, msghdr* m, int flags) {
  if (is_known_simulated(fd)) {
    errno = ENOTSOCK;
    return -1;
  }
  const long n = NEXT(recvmsg, long(int, msghdr*, int))(fd, m, flags);
  if (n < 0) return n;
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int got;
      memcpy(&got, CMSG_DATA(c) + i * sizeof got, sizeof got);
      set_kind(got, unknown);
    }
  }
  return n;
}

// Programs.
int sim_execve(const char* path, char* const* words, char* const* environment) AS(execve);
int sim_execve(const char* path, char* const* words, char* const* environment) {
  return do_execve(path, words, environment);
}
int sim_execv(const char* path, char* const* words) AS(execv);
int sim_execv(const char* path, char* const* words) { return do_execve(path, words, environ); }
int sim_execvp(const char* name, char* const* words) AS(execvp);
int sim_execvp(const char* name, char* const* words) { return do_execvpe(name, words, environ); }
int sim_execvpe(const char* name, char* const* words, char* const* environment) AS(execvpe);
int sim_execvpe(const char* name, char* const* words, char* const* environment) {
  return do_execvpe(name, words, environment);
}
int sim_execveat(int at, const char* path, char* const* words, char* const* environment, int flags)
    AS(execveat);
int sim_execveat(int at, const char* path, char* const* words, char* const* environment,
                 int flags) {
  return do_execveat(at, path, words, environment, flags);
}
int sim_fexecve(int fd, char* const* words, char* const* environment) AS(fexecve);
int sim_fexecve(int fd, char* const* words, char* const* environment) {
  if (fd < 0 || !words || !environment) {
    errno = EINVAL;
    return -1;
  }
  return do_execveat(fd, "", words, environment, AT_EMPTY_PATH);
}
// The words of the call are its arguments. `environment` is behind them, or the process's own.
#define EXEC_WORDS(own, name, call, environment)                                       \
  int own(const char* path, const char* word, ...) AS(name);                           \
  int own(const char* path, const char* word, ...) {                                   \
    size_t count = 1;                                                                  \
    va_list more;                                                                      \
    va_start(more, word);                                                              \
    for (const char* next = word; next; ++count) next = va_arg(more, const char*);     \
    va_end(more);                                                                      \
    auto** const words = static_cast<char**>(__builtin_alloca(count * sizeof(char*))); \
    words[0] = const_cast<char*>(word);                                                \
    va_start(more, word);                                                              \
    for (size_t i = 1; i < count; ++i) words[i] = va_arg(more, char*);                 \
    char* const* const all = environment;                                              \
    va_end(more);                                                                      \
    return call(path, words, all);                                                     \
  }
EXEC_WORDS(sim_execl, execl, do_execve, environ)
EXEC_WORDS(sim_execlp, execlp, do_execvpe, environ)
EXEC_WORDS(sim_execle, execle, do_execve, va_arg(more, char* const*))
#define SPAWN(own, name, ...)                                                                  \
  int own(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,             \
          const posix_spawnattr_t* attributes, char* const* words, char* const* environment)   \
      AS(name);                                                                                \
  int own(pid_t* pid, const char* path, const posix_spawn_file_actions_t* actions,             \
          const posix_spawnattr_t* attributes, char* const* words, char* const* environment) { \
    const execution e(__VA_ARGS__);                                                            \
    const int r = with_environment(environment, [&](char* const* all) {                        \
      return NEXT(name, int(pid_t*, const char*, const posix_spawn_file_actions_t*,            \
                            const posix_spawnattr_t*, char* const*, char* const*))(            \
          pid, path, actions, attributes, words, all);                                         \
    });                                                                                        \
    if (r != 0) e.failed();                                                                    \
    return r;                                                                                  \
  }
SPAWN(sim_posix_spawn, posix_spawn, AT_FDCWD, path)
SPAWN(sim_posix_spawnp, posix_spawnp, path)
int sim_system(const char* line) AS(system);
int sim_system(const char* line) {
  complete_own_environment();
  return NEXT(system, int(const char*))(line);
}
FILE* sim_popen(const char* line, const char* mode) AS(popen);
FILE* sim_popen(const char* line, const char* mode) {
  complete_own_environment();
  return NEXT(popen, FILE * (const char*, const char*))(line, mode);
}

}  // extern "C"
