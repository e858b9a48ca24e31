// SPDX-License-Identifier: BSL-1.0
// A program without the C library: it makes every system call itself. Its exit status is 0, or the
// number of the check that failed.
#include <asm/unistd.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  and $-16, %rsp\n"
    "  call run\n"
    "  mov %eax, %edi\n"
    "  mov $231, %eax\n"
    "  syscall\n");
static long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                 long f = 0) {
  long result = 0;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__aarch64__)
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  mov x29, #0\n"
    "  bl run\n"
    "  mov x8, #94\n"
    "  svc #0\n");
static long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                 long f = 0) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#endif

// The compiler may call these.
extern "C" void* memset(void* to, int value, std::size_t size) {
  auto* const bytes = static_cast<volatile unsigned char*>(to);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(value);
  return to;
}
extern "C" void* memcpy(void* to, const void* from, std::size_t size) {
  auto* const out = static_cast<volatile unsigned char*>(to);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<const unsigned char*>(from)[i];
  return to;
}

static long address(const void* of) { return reinterpret_cast<long>(of); }
static long open(const char* path) {
  constexpr long here = -100;     // AT_FDCWD
  constexpr long read_write = 2;  // O_RDWR
  return call(__NR_openat, here, address(path), read_write);
}
static long ioctl(long fd, unsigned request, long argument) {
  return call(__NR_ioctl, fd, static_cast<long>(request), argument);
}

#define CHECK(condition)           \
  do {                             \
    ++step;                        \
    if (!(condition)) return step; \
  } while (false)

extern "C" int run() {
  int step = 0;
  constexpr long shared = 1;
  constexpr long both = 3;  // PROT_READ | PROT_WRITE
  constexpr long bar_size = 0x4000;
  const long container = open("/dev/vfio/vfio");
  CHECK(container > 2);
  CHECK(ioctl(container, VFIO_GET_API_VERSION, 0) == VFIO_API_VERSION);
  const long group = open("/dev/vfio/1");
  CHECK(group > container);
  CHECK(open("/dev/vfio/1") == -16);    // EBUSY
  CHECK(open("/dev/vfio/4242") == -2);  // ENOENT
  const auto wanted = static_cast<std::int32_t>(container);
  CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, address(&wanted)) == 0);
  CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) == 0);
  const long device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, address("0000:01:00.0"));
  CHECK(device > group);
  vfio_region_info config = {};
  config.argsz = sizeof config;
  config.index = VFIO_PCI_CONFIG_REGION_INDEX;
  CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, address(&config)) == 0);
  std::uint16_t vendor = 0;
  CHECK(call(__NR_pread64, device, address(&vendor), sizeof vendor,
             static_cast<long>(config.offset)) == sizeof vendor);
  CHECK(vendor == 0x1234);
  const std::uint16_t memory_on = 2;
  CHECK(call(__NR_pwrite64, device, address(&memory_on), sizeof memory_on,
             static_cast<long>(config.offset + 4)) == sizeof memory_on);
  const long mapped = call(__NR_mmap, 0, bar_size, both, shared, device, 0);
  CHECK(mapped > 0);
  auto* const words = reinterpret_cast<volatile std::uint32_t*>(mapped);
  words[1] = 0x12345678;
  std::uint32_t word = 0;
  CHECK(call(__NR_pread64, device, address(&word), sizeof word, 4) == sizeof word);
  CHECK(word == 0x12345678);
  CHECK(call(__NR_munmap, mapped, bar_size) == 0);
  const long event = call(__NR_eventfd2, 0, 0);
  CHECK(event > device);
  struct {
    std::uint32_t argsz, flags, index, start, count;
    std::int32_t event;
  } irqs = {24,
            VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
            VFIO_PCI_MSI_IRQ_INDEX,
            0,
            1,
            static_cast<std::int32_t>(event)};
  CHECK(ioctl(device, VFIO_DEVICE_SET_IRQS, address(&irqs)) == 0);
  irqs.argsz = 20;
  irqs.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
  CHECK(ioctl(device, VFIO_DEVICE_SET_IRQS, address(&irqs)) == 0);
  std::uint64_t count = 0;
  CHECK(call(__NR_read, event, address(&count), sizeof count) == sizeof count);
  CHECK(count == 1);
  CHECK(call(__NR_close, device) == 0);
  CHECK(ioctl(group, VFIO_GROUP_UNSET_CONTAINER, 0) == 0);
  CHECK(call(__NR_close, group) == 0);
  CHECK(call(__NR_close, container) == 0);
  // The number is free again, and so is the group.
  CHECK(open("/dev/vfio/1") == container);
  return 0;
}
