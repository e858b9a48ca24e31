// SPDX-License-Identifier: BSL-1.0
// An object for LD_PRELOAD. The object appends one line to the file $ORDER_CALLS for each call that
// the program makes on a file of VFIO, iommufd, KVM's pseudo device kvm-vfio and KVM's irqfds, with
// the bytes of its arguments before and after the call. qemu-order loads the object into QEMU in a
// booted kernel, and in front of the simulator's object.
//
// A line is a name of a call and then words KEY=VALUE, in which numbers are decimal and bytes are
// hexadecimal. A byte string that is empty has no word.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define AS(name) __asm__(#name) __attribute__((visibility("default")))

namespace {

// What a descriptor is. A descriptor of no interest is `other`.
enum kind : unsigned char { other, vfio, kvm, vm, kvm_vfio, event };
constexpr int most = 4096;
kind kinds[most];
kind kind_of(int fd) { return fd >= 0 && fd < most ? kinds[fd] : other; }
void set_kind(int fd, kind k) {
  if (fd >= 0 && fd < most) kinds[fd] = k;
}

// The mappings of device memory.
struct mapping {
  unsigned long first, size;
};
mapping mappings[256];

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// One line of the log. The destructor writes it, and keeps errno.
class line {
 public:
  explicit line(const char* call) { text("%s", call); }
  line(const line&) = delete;
  line& operator=(const line&) = delete;
  ~line() {
    text("\n");
    const int before = errno;
    static const int log = [] {
      const char* const path = getenv("ORDER_CALLS");
      const long low = path ? syscall(SYS_openat, AT_FDCWD, path,
                                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                            : -1;
      if (low < 0) return -1;
      // A high number, so that the program gets the numbers that it would get without the log.
      const long high = syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
      (void)syscall(SYS_close, low);
      return static_cast<int>(high);
    }();
    if (log >= 0) (void)syscall(SYS_write, log, text_, size_);
    errno = before;
  }
  __attribute__((format(printf, 2, 3))) void text(const char* format, ...) {
    va_list values;
    va_start(values, format);
    const int n = vsnprintf(text_ + size_, sizeof text_ - size_, format, values);
    va_end(values);
    if (n > 0)
      size_ += static_cast<std::size_t>(n) < sizeof text_ - size_ ? static_cast<std::size_t>(n) : 0;
  }
  void bytes(const char* name, const void* from, std::size_t size) {
    if (size == 0 || !from) return;
    text(" %s=", name);
    const auto* const p = static_cast<const unsigned char*>(from);
    for (std::size_t i = 0; i < size && i < 4096; ++i) text("%02x", p[i]);
  }
  void result(long value) {
    const int error = errno;
    text(" ret=%ld", value);
    if (value == -1) text(" errno=%d", error);
    errno = error;
  }

 private:
  char text_[20000];
  std::size_t size_ = 0;
};

bool starts(const char* text, const char* with) { return strncmp(text, with, strlen(with)) == 0; }

kind kind_of_path(const char* path) {
  if (starts(path, "/dev/vfio/") || strcmp(path, "/dev/iommu") == 0) return vfio;
  return strcmp(path, "/dev/kvm") == 0 ? kvm : other;
}

int opened(const char* path, int flags, int fd) {
  const kind k = kind_of_path(path);
  set_kind(fd, k);
  if (k == vfio || starts(path, "/sys/bus/pci/") || starts(path, "/sys/kernel/iommu")) {
    line l("open");
    l.text(" path=%s flags=%d", path, flags & O_ACCMODE);
    l.result(fd);
  }
  return fd;
}

// The size of the argument of a request, and where the kernel writes more: at `more`, so many
// bytes.
std::size_t size_of(unsigned long request, const void* argument) {
  std::uint32_t size = 0;
  switch (request) {
    case VFIO_GET_API_VERSION:
    case VFIO_CHECK_EXTENSION:
    case VFIO_SET_IOMMU:
    case VFIO_GROUP_UNSET_CONTAINER:
    case VFIO_DEVICE_RESET: return 0;
    case VFIO_GROUP_SET_CONTAINER: return sizeof(int);
    case VFIO_GROUP_GET_DEVICE_FD: return strlen(static_cast<const char*>(argument));
    case KVM_CREATE_DEVICE: return sizeof(kvm_create_device);
    case KVM_SET_DEVICE_ATTR:
    case KVM_GET_DEVICE_ATTR:
    case KVM_HAS_DEVICE_ATTR: return sizeof(kvm_device_attr);
    case KVM_IRQFD: return sizeof(kvm_irqfd);
    default: memcpy(&size, argument, sizeof size); return size;
  }
}

// The bytes that the kernel wrote through a pointer in the argument of a request of iommufd.
void more_of(line& l, unsigned long request, const unsigned char* argument) {
  std::uint32_t count = 0;
  std::uint64_t address = 0;
  constexpr unsigned long ioas_iova_ranges = VFIO_TYPE << 8 | 132,
                          get_hw_info = VFIO_TYPE << 8 | 138;
  if (request == ioas_iova_ranges) {
    memcpy(&count, argument + 8, sizeof count);
    memcpy(&address, argument + 16, sizeof address);
    l.bytes("more", reinterpret_cast<const void*>(address), std::size_t{count} * 16);
  } else if (request == get_hw_info) {
    memcpy(&count, argument + 12, sizeof count);
    memcpy(&address, argument + 16, sizeof address);
    l.bytes("more", reinterpret_cast<const void*>(address), count);
  }
}

bool wanted(int fd, unsigned long request, const void* argument) {
  const kind k = kind_of(fd);
  if (k == vfio || k == kvm_vfio) return true;
  if (k != vm) return false;
  if (request == KVM_IRQFD) return true;
  return request == KVM_CREATE_DEVICE &&
         static_cast<const kvm_create_device*>(argument)->type == KVM_DEV_TYPE_VFIO;
}

}  // namespace

extern "C" {

#define OPEN(own, name)                                                     \
  int own(const char* path, int flags, ...) AS(name);                       \
  int own(const char* path, int flags, ...) {                               \
    va_list values;                                                         \
    va_start(values, flags);                                                \
    const unsigned mode = (flags & O_CREAT) ? va_arg(values, unsigned) : 0; \
    va_end(values);                                                         \
    static auto* const real = next<int(const char*, int, ...)>(#name);      \
    return opened(path, flags, real(path, flags, mode));                    \
  }
OPEN(order_open, open)
OPEN(order_open64, open64)
int order_open_2(const char* path, int flags) AS(__open_2);
int order_open_2(const char* path, int flags) {
  static auto* const real = next<int(const char*, int)>("__open_2");
  return opened(path, flags, real(path, flags));
}
int order_open64_2(const char* path, int flags) AS(__open64_2);
int order_open64_2(const char* path, int flags) {
  static auto* const real = next<int(const char*, int)>("__open64_2");
  return opened(path, flags, real(path, flags));
}

int order_ioctl(int fd, unsigned long request, ...) AS(ioctl);
int order_ioctl(int fd, unsigned long request, ...) {
  va_list values;
  va_start(values, request);
  void* const argument = va_arg(values, void*);
  va_end(values);
  static auto* const real = next<int(int, unsigned long, ...)>("ioctl");
  if (kind_of(fd) == other) return real(fd, request, argument);
  // A request that a program gives as an int has wrong upper bits.
  const unsigned long low = request & 0xffffffffUL;
  if (!wanted(fd, low, argument)) {
    const int made = real(fd, request, argument);
    if (kind_of(fd) == kvm && low == KVM_CREATE_VM) set_kind(made, vm);
    return made;
  }
  line l("ioctl");
  const std::size_t size = size_of(low, argument);
  l.text(" fd=%d request=%lu", fd, low);
  if (size == 0) l.text(" argument=%ld", reinterpret_cast<long>(argument));
  l.bytes("in", argument, size);
  const bool attribute = low == KVM_SET_DEVICE_ATTR;
  int subject = -1;
  if (attribute) {
    const auto* const a = static_cast<const kvm_device_attr*>(argument);
    memcpy(&subject, reinterpret_cast<const void*>(a->addr), sizeof subject);
    l.text(" subject=%d", subject);
  }
  const int value = real(fd, request, argument);
  const int error = errno;
  l.bytes("out", argument, size);
  if (value >= 0 && size != 0) more_of(l, low, static_cast<const unsigned char*>(argument));
  if (low == VFIO_GROUP_GET_DEVICE_FD) set_kind(value, vfio);
  if (low == KVM_CREATE_DEVICE && value == 0)
    set_kind(static_cast<int>(static_cast<const kvm_create_device*>(argument)->fd), kvm_vfio);
  errno = error;
  l.result(value);
  return value;
}

int order_close(int fd) AS(close);
int order_close(int fd) {
  static auto* const real = next<int(int)>("close");
  const kind k = kind_of(fd);
  set_kind(fd, other);
  const int value = real(fd);
  if (k != other) {
    line l("close");
    l.text(" fd=%d", fd);
    l.result(value);
  }
  return value;
}

int order_dup(int fd) AS(dup);
int order_dup(int fd) {
  static auto* const real = next<int(int)>("dup");
  const int made = real(fd);
  set_kind(made, kind_of(fd));
  if (kind_of(fd) == vfio) {
    line l("dup");
    l.text(" fd=%d", fd);
    l.result(made);
  }
  return made;
}

int order_eventfd(unsigned count, int flags) AS(eventfd);
int order_eventfd(unsigned count, int flags) {
  static auto* const real = next<int(unsigned, int)>("eventfd");
  const int made = real(count, flags);
  set_kind(made, event);
  return made;
}

#define TRANSFER(own, name, call, type)                                            \
  ssize_t own(int fd, type data, std::size_t size, off_t offset) AS(name);         \
  ssize_t own(int fd, type data, std::size_t size, off_t offset) {                 \
    static auto* const real = next<ssize_t(int, type, std::size_t, off_t)>(#name); \
    const ssize_t value = real(fd, data, size, offset);                            \
    if (kind_of(fd) == vfio) {                                                     \
      line l(call);                                                                \
      l.text(" fd=%d size=%zu offset=%ld", fd, size, static_cast<long>(offset));   \
      if (value > 0) l.bytes("data", data, static_cast<std::size_t>(value));       \
      l.result(value);                                                             \
    }                                                                              \
    return value;                                                                  \
  }
TRANSFER(order_pread, pread, "pread", void*)
TRANSFER(order_pread64, pread64, "pread", void*)
// A program that was compiled with _FORTIFY_SOURCE calls these where the compiler does not know the
// size.
ssize_t order_pread_chk(int fd, void* data, std::size_t size, off_t offset, std::size_t room)
    AS(__pread_chk);
ssize_t order_pread_chk(int fd, void* data, std::size_t size, off_t offset, std::size_t room) {
  if (size > room) abort();
  return order_pread(fd, data, size, offset);
}
ssize_t order_pread64_chk(int fd, void* data, std::size_t size, off_t offset, std::size_t room)
    AS(__pread64_chk);
ssize_t order_pread64_chk(int fd, void* data, std::size_t size, off_t offset, std::size_t room) {
  if (size > room) abort();
  return order_pread64(fd, data, size, offset);
}
TRANSFER(order_pwrite, pwrite, "pwrite", const void*)
TRANSFER(order_pwrite64, pwrite64, "pwrite", const void*)

#define MAP(own, name)                                                                             \
  void* own(void* at, std::size_t size, int protection, int flags, int fd, off_t offset) AS(name); \
  void* own(void* at, std::size_t size, int protection, int flags, int fd, off_t offset) {         \
    static auto* const real = next<void*(void*, std::size_t, int, int, int, off_t)>(#name);        \
    void* const place = real(at, size, protection, flags, fd, offset);                             \
    if (kind_of(fd) == vfio && !(flags & MAP_ANONYMOUS)) {                                         \
      line l("mmap");                                                                              \
      l.text(" fd=%d size=%zu protection=%d flags=%d offset=%ld", fd, size, protection,            \
             flags & ~MAP_FIXED, static_cast<long>(offset));                                       \
      l.result(reinterpret_cast<long>(place));                                                     \
      for (mapping & m : mappings)                                                                 \
        if (place != MAP_FAILED && m.size == 0) {                                                  \
          m = {reinterpret_cast<unsigned long>(place), size};                                      \
          break;                                                                                   \
        }                                                                                          \
    }                                                                                              \
    return place;                                                                                  \
  }
MAP(order_mmap, mmap)
MAP(order_mmap64, mmap64)

int order_munmap(void* at, std::size_t size) AS(munmap);
int order_munmap(void* at, std::size_t size) {
  static auto* const real = next<int(void*, std::size_t)>("munmap");
  const int value = real(at, size);
  for (mapping& m : mappings)
    if (m.size != 0 && reinterpret_cast<unsigned long>(at) == m.first) {
      line l("munmap");
      l.text(" address=%lu size=%zu", m.first, size);
      l.result(value);
      m.size = 0;
    }
  return value;
}

ssize_t order_readlink(const char* path, char* text, std::size_t size) AS(readlink);
ssize_t order_readlink(const char* path, char* text, std::size_t size) {
  static auto* const real = next<ssize_t(const char*, char*, std::size_t)>("readlink");
  const ssize_t value = real(path, text, size);
  if (starts(path, "/sys/bus/pci/") || starts(path, "/sys/kernel/iommu")) {
    line l("readlink");
    l.text(" path=%s", path);
    if (value > 0) l.text(" text=%.*s", static_cast<int>(value), text);
    l.result(value < 0 ? value : 0);
  }
  return value;
}
ssize_t order_readlink_chk(const char* path, char* text, std::size_t size, std::size_t room)
    AS(__readlink_chk);
ssize_t order_readlink_chk(const char* path, char* text, std::size_t size, std::size_t room) {
  if (size > room) abort();
  return order_readlink(path, text, size);
}
}
