// SPDX-License-Identifier: BSL-1.0
// Addresses: wild ones, mapped BARs, eventfds.
#include "client.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

namespace client {
namespace {

volatile std::uint32_t* words(void* at) { return static_cast<volatile std::uint32_t*>(at); }

void* map(int device, std::uint64_t offset, std::size_t size, int protection, int flags,
          void* at = nullptr) {
  return ::mmap(at, size, protection, flags, device, static_cast<off_t>(offset));
}

std::uint32_t read_word(int device, std::uint64_t offset) {
  std::uint32_t word = 0;
  CHECK(::pread(device, &word, sizeof word, static_cast<off_t>(offset)) == sizeof word);
  return word;
}
void write_word(int device, std::uint64_t offset, std::uint32_t word) {
  CHECK(::pwrite(device, &word, sizeof word, static_cast<off_t>(offset)) == sizeof word);
}

}  // namespace

int wild_pointers(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto config = region(a.device, VFIO_PCI_CONFIG_REGION_INDEX);
  const auto at = static_cast<off_t>(config.offset);
  char* const one = static_cast<char*>(
      ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CHECK(one != MAP_FAILED);
  CHECK(::mprotect(one + 4096, 4096, PROT_NONE) == 0);
  char* const constant =
      static_cast<char*>(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  // The pointers are hidden from the compiler, which knows that they are wild.
  for (const std::uintptr_t address :
       {std::uintptr_t{0}, std::uintptr_t{8}, ~std::uintptr_t{0}, std::uintptr_t{1} << 63,
        reinterpret_cast<std::uintptr_t>(one + 4094), std::uintptr_t{0xffffffff81000000}}) {
    void* volatile hidden = reinterpret_cast<void*>(address);
    void* const wild = hidden;
    FAILS(::ioctl(a.device, VFIO_DEVICE_GET_INFO, wild), EFAULT);
    FAILS(::ioctl(a.device, VFIO_DEVICE_GET_REGION_INFO, wild), EFAULT);
    FAILS(::ioctl(a.device, VFIO_DEVICE_SET_IRQS, wild), EFAULT);
    FAILS(::ioctl(a.group, VFIO_GROUP_GET_STATUS, wild), EFAULT);
    FAILS(::ioctl(a.group, VFIO_GROUP_SET_CONTAINER, wild), EFAULT);
    FAILS(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, wild), EFAULT);
    FAILS(::ioctl(a.container, VFIO_IOMMU_GET_INFO, wild), EFAULT);
    FAILS(::pread(a.device, wild, 4, at), EFAULT);
    FAILS(::pwrite(a.device, wild, 4, at), EFAULT);
    if (address != reinterpret_cast<std::uintptr_t>(one + 4094)) {
      FAILS(::open(static_cast<const char*>(wild), O_RDWR), EFAULT);
      FAILS(::access(static_cast<const char*>(wild), F_OK), EFAULT);
      FAILS(::readlink(static_cast<const char*>(wild), one, 100), EFAULT);
      struct stat s;
      FAILS(::stat(static_cast<const char*>(wild), &s), EFAULT);
    }
  }
  // The last page of all addresses, and the first page of the kernel's.
  for (const std::uint64_t address : {~std::uint64_t{0} << 12, ~std::uint64_t{0} << 63}) {
    vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                                 .flags = VFIO_DMA_MAP_FLAG_READ,
                                 .vaddr = address,
                                 .iova = 0x100000,
                                 .size = 4096};
    FAILS(::ioctl(a.container, VFIO_IOMMU_MAP_DMA, &map), EFAULT);
  }
  // Memory that may not be written.
  FAILS(::pread(a.device, constant, 4, at), EFAULT);
  void* volatile hidden = nullptr;
  FAILS(::readlink("/sys/bus/pci/devices/0000:01:00.0/iommu_group", static_cast<char*>(hidden), 9),
        EFAULT);
  FAILS(::stat("/dev/vfio/1", static_cast<struct stat*>(hidden)), EFAULT);
  CHECK(identity(a.device) == 0x00011234);
  detach(a);
  // A path that ends at the end of the memory.
  char* const last = one + 4096 - sizeof "/dev/vfio/1";
  std::memcpy(last, "/dev/vfio/1", sizeof "/dev/vfio/1");
  const int group = ::open(last, O_RDWR);
  CHECK(group >= 0);
  const std::string longest(5000, 'x');
  FAILS(::open(("/dev/vfio/" + longest).c_str(), O_RDWR), ENAMETOOLONG);
  return 0;
}

// Calls with several parts of memory.
int parts(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto at = static_cast<off_t>(region(a.device, VFIO_PCI_CONFIG_REGION_INDEX).offset);
  std::uint16_t words_read[4] = {};
  iovec both[] = {{words_read, 2}, {words_read + 2, 4}};
  CHECK(::preadv(a.device, both, 2, at) == 6);
  CHECK(words_read[0] == 0x1234 && words_read[1] == 0 && words_read[2] == 1);
  CHECK(::preadv2(a.device, both, 2, at, 0) == 6);
  FAILS(::preadv2(a.device, both, 2, at, RWF_NOWAIT), EOPNOTSUPP);
  CHECK(::preadv(a.device, both, 0, at) == 0);
  // The compiler is not to see that these are wrong.
  for (const int count : {-1, 1025}) {
    const volatile int wrong = count;
    FAILS(::preadv(a.device, both, wrong, at), EINVAL);
  }
  iovec* volatile wild = nullptr;
  FAILS(::preadv(a.device, wild, 1, at), EFAULT);
  // A part behind an address that is not mapped: what was read before it counts.
  iovec second_wild[] = {{words_read, 2}, {nullptr, 4}};
  CHECK(::preadv(a.device, second_wild, 2, at) == 2);
  FAILS(::preadv(a.device, second_wild + 1, 1, at), EFAULT);
  // The command register: memory and bus master are enabled.
  std::uint8_t command[] = {PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0};
  iovec bytes[] = {{command, 1}, {command + 1, 1}};
  CHECK(::pwritev(a.device, bytes, 2, at + PCI_COMMAND) == 2);
  CHECK((read_word(a.device, static_cast<std::uint64_t>(at) + PCI_COMMAND) & 0xffff) ==
        (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
  FAILS(::preadv(a.group, both, 2, 0), EINVAL);
  FAILS(::readv(a.group, both, 2), EINVAL);
  FAILS(::writev(a.container, both, 2), EINVAL);
  // No copies between files: a wrong call does not wait for ever.
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0 && ::write(ends[1], "text", 4) == 4);
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  for (const int fd : {a.device, a.group, a.container}) {
    FAILS(::lseek(fd, 0, SEEK_CUR), ESPIPE);
    FAILS(::sendfile(fd, file, nullptr, 4), EINVAL);
    FAILS(::sendfile(ends[1], fd, nullptr, 4), EINVAL);
    FAILS(::splice(fd, nullptr, ends[1], nullptr, 4, 0), EINVAL);
    FAILS(::splice(ends[0], nullptr, fd, nullptr, 4, 0), EINVAL);
    FAILS(::copy_file_range(file, nullptr, fd, nullptr, 4, 0), EINVAL);
    FAILS(::ftruncate(fd, 0), EINVAL);
  }
  CHECK(::sendfile(ends[1], file, nullptr, 4) == 4);
  CHECK(::close(file) == 0 && ::close(ends[0]) == 0 && ::close(ends[1]) == 0);
  // A real file.
  const int zero = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
  CHECK(::readv(zero, both, 2) == 6 && ::writev(zero, both, 2) == 6);
  CHECK(::close(zero) == 0);
  detach(a);
  return 0;
}

// Calls that use the position of a file: a device has one, and other files refuse the calls.
int positions(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  std::uint32_t word = 0;
  // BAR 0 is at the start.
  enable_memory(a.device);
  for (std::uint32_t i = 1; i < 4; ++i) write_word(a.device, bar.offset + 4 * std::uint64_t{i}, i);
  word = 0x11223344;
  CHECK(::write(a.device, &word, sizeof word) == sizeof word);
  CHECK(read_word(a.device, bar.offset) == 0x11223344);
  CHECK(::read(a.device, &word, sizeof word) == sizeof word && word == 1);
  std::uint16_t halves[2] = {};
  iovec parts[] = {{halves, 2}, {halves + 1, 2}};
  CHECK(::readv(a.device, parts, 2) == 4 && halves[0] == 2 && halves[1] == 0);
  // A duplicate has the same position, and a call that fails does not change it.
  const int copy = ::dup(a.device);
  void* volatile wild = nullptr;
  FAILS(::read(copy, wild, 4), EFAULT);
  CHECK(::read(copy, &word, sizeof word) == sizeof word && word == 3);
  CHECK(::close(copy) == 0);
  const int iommufd = ::open("/dev/iommu", O_RDWR | O_CLOEXEC);
  for (const int fd : {a.group, a.container, iommufd}) {
    FAILS(::read(fd, &word, sizeof word), EINVAL);
    FAILS(::write(fd, &word, sizeof word), EINVAL);
  }
  CHECK(::close(iommufd) == 0);
  detach(a);
  return 0;
}

// A simulated descriptor is no socket for the program.
int sockets(const std::vector<std::string>&) {
  attached a = attach(1, false);
  char byte = 0;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  auto* const address = reinterpret_cast<sockaddr*>(&name);
  for (const int fd : {a.device, a.group, a.container}) {
    iovec part{&byte, 1};
    mmsghdr several{};
    several.msg_hdr.msg_iov = &part;
    several.msg_hdr.msg_iovlen = 1;
    socklen_t size = sizeof name;
    int value = 0;
    socklen_t value_size = sizeof value;
    FAILS(::send(fd, &byte, 1, MSG_NOSIGNAL), ENOTSOCK);
    FAILS(::recv(fd, &byte, 1, MSG_DONTWAIT), ENOTSOCK);
    FAILS(::sendto(fd, &byte, 1, MSG_NOSIGNAL, nullptr, 0), ENOTSOCK);
    FAILS(::recvfrom(fd, &byte, 1, MSG_DONTWAIT, nullptr, nullptr), ENOTSOCK);
    FAILS(::sendmsg(fd, &several.msg_hdr, MSG_NOSIGNAL), ENOTSOCK);
    FAILS(::recvmsg(fd, &several.msg_hdr, MSG_DONTWAIT), ENOTSOCK);
    FAILS(::sendmmsg(fd, &several, 1, MSG_NOSIGNAL), ENOTSOCK);
    FAILS(::recvmmsg(fd, &several, 1, MSG_DONTWAIT, nullptr), ENOTSOCK);
    FAILS(::getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &value_size), ENOTSOCK);
    FAILS(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, value_size), ENOTSOCK);
    FAILS(::getsockname(fd, address, &size), ENOTSOCK);
    FAILS(::getpeername(fd, address, &size), ENOTSOCK);
    FAILS(::connect(fd, address, size), ENOTSOCK);
    FAILS(::bind(fd, address, size), ENOTSOCK);
    FAILS(::listen(fd, 1), ENOTSOCK);
    FAILS(::accept(fd, nullptr, nullptr), ENOTSOCK);
    FAILS(::accept4(fd, nullptr, nullptr, 0), ENOTSOCK);
    FAILS(::shutdown(fd, SHUT_RDWR), ENOTSOCK);
  }
  // Real sockets are as they were.
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  CHECK(::send(ends[0], "x", 1, 0) == 1 && ::recv(ends[1], &byte, 1, 0) == 1 && byte == 'x');
  CHECK(::close(ends[0]) == 0 && ::close(ends[1]) == 0);
  detach(a);
  return 0;
}

// mremap(2) of a mapped BAR: it shrinks and moves, and does not grow.
int remaps(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  enable_memory(a.device);
  constexpr int both = PROT_READ | PROT_WRITE;
  char* const bytes = static_cast<char*>(map(a.device, bar.offset, 0x4000, both, MAP_SHARED));
  CHECK(bytes != MAP_FAILED);
  for (std::uint32_t i = 0; i < 4; ++i) words(bytes + 0x1000 * i)[0] = 100 + i;
  const auto failed = [](void* made) { return reinterpret_cast<long>(made); };
  FAILS(failed(::mremap(bytes, 0x4000, 0x5000, MREMAP_MAYMOVE)), EFAULT);
  FAILS(failed(::mremap(bytes, 0x1000, 0x2000, 0)), EFAULT);
  FAILS(failed(::mremap(bytes, 0, 0x1000, MREMAP_MAYMOVE)), EFAULT);
  FAILS(failed(::mremap(bytes, 0x4000, 0, MREMAP_MAYMOVE)), EINVAL);
  FAILS(failed(::mremap(bytes, 0x4000, 0x4000, MREMAP_MAYMOVE | 4)), EINVAL);  // DONTUNMAP
  FAILS(failed(::mremap(bytes, 0x4000, 0x4000, MREMAP_MAYMOVE | MREMAP_FIXED, bytes + 0x1000)),
        EINVAL);
  CHECK(::mremap(bytes, 0x4000, 0x4000, MREMAP_MAYMOVE) == bytes);
  CHECK(::mremap(bytes, 0x4000, 0x3000, MREMAP_MAYMOVE) == bytes);
  char* const plain =
      static_cast<char*>(::mmap(nullptr, 0x8000, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  // The middle moves.
  CHECK(::mremap(bytes + 0x1000, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_FIXED, plain) == plain);
  CHECK(words(plain)[0] == 101);
  words(plain)[1] = 55;
  CHECK(read_word(a.device, bar.offset + 0x1004) == 55);
  // The mappings keep the device open until the last has gone.
  CHECK(::close(a.device) == 0);
  CHECK(::munmap(bytes, 0x1000) == 0);
  CHECK(words(bytes + 0x2000)[0] == 102);
  FAILS(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
  CHECK(::munmap(bytes + 0x2000, 0x1000) == 0);
  FAILS(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
  // Plain memory that moves to the place of a BAR removes the mapping.
  CHECK(::mremap(plain + 0x4000, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_FIXED, plain) == plain);
  CHECK(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER) == 0);
  CHECK(::close(a.group) == 0 && ::close(a.container) == 0);
  CHECK(try_group(1) == 0);
  return 0;
}

// A ring does not take simulated descriptors. With the preloaded object, the functions of liburing
// refuse them.
int rings(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const int files[] = {0, a.device};
  if (std::getenv("KVM_VFIO_SIM_DIRECTORY")) {
    using function = int(void*, const int*, unsigned);
    auto* const registers =
        reinterpret_cast<function*>(::dlsym(RTLD_DEFAULT, "io_uring_register_files"));
    CHECK(registers && registers(nullptr, files, 2) == -EOPNOTSUPP);
  } else {
    alignas(8) char parameters[256] = {};
    const long ring = ::syscall(425, 4, parameters);  // io_uring_setup
    if (ring >= 0) {
      CHECK(::syscall(427, ring, 2, files, 1) == 0);  // IORING_REGISTER_FILES
      CHECK(::syscall(427, ring, 3, nullptr, 0) == 0);
    }
    FAILS(::syscall(427, ring, 2, files, 2), EOPNOTSUPP);
    const struct {
      std::uint32_t count, flags;
      std::uint64_t reserved, data, tags;
    } second{2, 0, 0, reinterpret_cast<std::uintptr_t>(files), 0};
    FAILS(::syscall(427, ring, 13, &second, sizeof second), EOPNOTSUPP);
    if (ring >= 0) CHECK(::close(static_cast<int>(ring)) == 0);
  }
  detach(a);
  return 0;
}

// Writes to a group without the C library's function.
int writes_past(const std::vector<std::string>&) {
  attached a = attach(1, false);
  (void)::syscall(SYS_write, a.group, "x", 1);
  detach(a);
  return 0;
}

// Reads and writes a whole BAR with one call.
int large_transfers(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  enable_memory(a.device);
  const auto at = static_cast<off_t>(bar.offset);
  constexpr int both = PROT_READ | PROT_WRITE;
  // The buffer is longer than the BAR.
  const std::size_t size = bar.size + 0x100000;
  char* const buffer =
      static_cast<char*>(::mmap(nullptr, size, both, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  CHECK(buffer != MAP_FAILED);
  for (std::size_t i = 0; i < size; i += 4096) words(buffer + i)[0] = static_cast<unsigned>(i + 1);
  CHECK(::pwrite(a.device, buffer, size, at) == static_cast<ssize_t>(bar.size));
  CHECK(read_word(a.device, bar.offset + bar.size - 4096) == bar.size - 4096 + 1);
  std::memset(buffer, 0, size);
  CHECK(::pread(a.device, buffer, size, at) == static_cast<ssize_t>(bar.size));
  for (std::size_t i = 0; i < size; i += 4096)
    CHECK(words(buffer + i)[0] == (i < bar.size ? static_cast<unsigned>(i + 1) : 0));
  // The bytes in front of a wild address arrive, and the call fails.
  std::memset(buffer, 0, size);
  CHECK(::munmap(buffer + 0x100000, 0x1000) == 0);
  FAILS(::pread(a.device, buffer, bar.size, at), EFAULT);
  CHECK(words(buffer + 0xff000)[0] == 0xff000 + 1);
  write_word(a.device, bar.offset, 7);
  FAILS(::pwrite(a.device, buffer, bar.size, at), EFAULT);
  CHECK(read_word(a.device, bar.offset) == 7);
  // Without memory in the command register no part can be read.
  const std::uint16_t off = 0;
  const auto config = region(a.device, VFIO_PCI_CONFIG_REGION_INDEX);
  CHECK(::pwrite(a.device, &off, 2, static_cast<off_t>(config.offset) + PCI_COMMAND) == 2);
  FAILS(::pread(a.device, buffer, bar.size, at), EIO);
  FAILS(::pread(a.device, buffer, bar.size, at + static_cast<off_t>(bar.size)), EINVAL);
  detach(a);
  return 0;
}

int maps_bar(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  CHECK(bar.size == 0x4000);
  CHECK(bar.flags & VFIO_REGION_INFO_FLAG_MMAP);
  constexpr int both = PROT_READ | PROT_WRITE;
  enable_memory(a.device);
  // Shared with pread and pwrite.
  void* const whole = map(a.device, bar.offset, bar.size, both, MAP_SHARED);
  CHECK(whole != MAP_FAILED);
  words(whole)[1] = 0x11223344;
  CHECK(read_word(a.device, bar.offset + 4) == 0x11223344);
  write_word(a.device, bar.offset + 0x3ffc, 0x55667788);
  CHECK(words(whole)[0xfff] == 0x55667788);
  // A second mapping, of one page.
  void* const page = map(a.device, bar.offset + 0x3000, 0x1000, PROT_READ, MAP_SHARED);
  CHECK(page != MAP_FAILED);
  CHECK(words(page)[0x3ff] == 0x55667788);
  words(whole)[0xc00] = 42;
  CHECK(words(page)[0] == 42);
  // A page that may only be read stays so.
  char* volatile target = static_cast<char*>(page);
  const int null = ::open("/dev/zero", O_RDONLY);
  FAILS(::read(null, target, 1), EFAULT);
  // Outside of the BAR, beyond its end, at a place that is no page, privately, and with no size.
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset + 0x4000, 0x1000, both, MAP_SHARED)),
        EINVAL);
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset + 0x3000, 0x2000, both, MAP_SHARED)),
        EINVAL);
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset + 8, 0x1000, both, MAP_SHARED)), EINVAL);
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset, 0x1000, both, MAP_PRIVATE)), EINVAL);
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset, 0, both, MAP_SHARED)), EINVAL);
  const auto config = region(a.device, VFIO_PCI_CONFIG_REGION_INDEX);
  FAILS(reinterpret_cast<long>(map(a.device, config.offset, 0x1000, both, MAP_SHARED)), EINVAL);
  FAILS(reinterpret_cast<long>(map(a.group, 0, 0x1000, both, MAP_SHARED)), ENODEV);
  // Parts are unmapped: the middle, then the ends. The middle is mapped again at its place.
  char* const bytes = static_cast<char*>(whole);
  CHECK(::munmap(bytes + 0x1000, 0x1000) == 0);
  CHECK(words(whole)[1] == 0x11223344);
  CHECK(words(bytes + 0x2000)[0x7ff] == 0x55667788);
  FAILS(::msync(bytes + 0x1000, 0x1000, MS_ASYNC), ENOMEM);
  CHECK(map(a.device, bar.offset + 0x1000, 0x1000, both, MAP_SHARED | MAP_FIXED, bytes + 0x1000) ==
        bytes + 0x1000);
  words(bytes + 0x1000)[0] = 7;
  CHECK(read_word(a.device, bar.offset + 0x1000) == 7);
  FAILS(reinterpret_cast<long>(map(a.device, bar.offset, 0x1000, both,
                                   MAP_SHARED | MAP_FIXED_NOREPLACE, bytes + 0x1000)),
        EEXIST);
  // Plain memory in the place of a part of the BAR, and the BAR in the place of plain memory.
  CHECK(::mmap(bytes + 0x2000, 0x1000, both, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        bytes + 0x2000);
  words(bytes + 0x2000)[0] = 99;
  CHECK(read_word(a.device, bar.offset + 0x2000) != 99);
  char* const plain =
      static_cast<char*>(::mmap(nullptr, 0x4000, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  CHECK(map(a.device, bar.offset, 0x1000, both, MAP_SHARED | MAP_FIXED, plain) == plain);
  CHECK(words(plain)[1] == 0x11223344);
  // The BAR over the BAR.
  CHECK(map(a.device, bar.offset + 0x1000, 0x1000, both, MAP_SHARED | MAP_FIXED, plain) == plain);
  CHECK(words(plain)[0] == 7);
  FAILS(reinterpret_cast<long>(
            map(a.device, bar.offset + 0x4000, 0x1000, both, MAP_SHARED | MAP_FIXED, plain)),
        EINVAL);
  CHECK(::munmap(plain, 0x4000) == 0);
  CHECK(::munmap(whole, bar.size) == 0);
  CHECK(::munmap(page, 0x1000) == 0);
  CHECK(read_word(a.device, bar.offset + 4) == 0x11223344);
  detach(a);
  return 0;
}

int maps_in_two(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  enable_memory(a.device);
  void* const here = map(a.device, bar.offset, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK(here != MAP_FAILED);
  words(here)[0] = 1;
  const pid_t child = ::fork();
  if (child == 0) {
    CHECK(words(here)[0] == 1);  // inherited
    void* const own = map(a.device, bar.offset, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED);
    CHECK(own != MAP_FAILED);
    CHECK(words(own)[0] == 1);
    words(own)[1] = 2;
    std::_Exit(0);
  }
  expect_success(child);
  CHECK(words(here)[1] == 2);
  CHECK(::munmap(here, bar.size) == 0);
  detach(a);
  return 0;
}

// UNSET_CONTAINER fails while a part of a BAR is mapped, which the checker reports.
int busy_while_mapped(const std::vector<std::string>&) {
  attached a = attach(1, false);
  const auto bar = region(a.device, VFIO_PCI_BAR0_REGION_INDEX);
  enable_memory(a.device);
  char* const bytes =
      static_cast<char*>(map(a.device, bar.offset, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED));
  CHECK(bytes != MAP_FAILED);
  words(bytes)[0] = 5;
  CHECK(::close(a.device) == 0);
  // The mapping keeps the device open.
  FAILS(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
  CHECK(words(bytes)[0] == 5);
  CHECK(::munmap(bytes, 0x1000) == 0);
  FAILS(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
  // Mapping something else over the rest removes it, too.
  CHECK(::mmap(bytes + 0x1000, 0x3000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        bytes + 0x1000);
  CHECK(::ioctl(a.group, VFIO_GROUP_UNSET_CONTAINER) == 0);
  CHECK(::close(a.group) == 0);
  CHECK(try_group(1) == 0);
  CHECK(::close(a.container) == 0);
  return 0;
}

int interrupts(const std::vector<std::string>&) {
  attached a = attach(1, false);
  std::uint32_t index = VFIO_PCI_MSI_IRQ_INDEX;
  const auto set = [&](std::uint32_t flags, std::uint32_t start, std::uint32_t count,
                       const std::int32_t* fds) {
    alignas(vfio_irq_set) char bytes[sizeof(vfio_irq_set) + 4 * sizeof(std::int32_t)]{};
    vfio_irq_set head{};
    head.argsz = static_cast<std::uint32_t>(sizeof head + (fds ? count * sizeof *fds : 0));
    head.flags = flags;
    head.index = index;
    head.start = start;
    head.count = count;
    std::memcpy(bytes, &head, sizeof head);
    if (fds) std::memcpy(bytes + sizeof head, fds, count * sizeof *fds);
    return ::ioctl(a.device, VFIO_DEVICE_SET_IRQS, bytes);
  };
  const auto count_of = [](int fd) {
    pollfd p{fd, POLLIN, 0};
    CHECK(::poll(&p, 1, 0) >= 0);
    if (!(p.revents & POLLIN)) return std::uint64_t{0};
    std::uint64_t n = 0;
    CHECK(::read(fd, &n, sizeof n) == sizeof n);
    return n;
  };
  constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
  constexpr std::uint32_t with_fds = VFIO_IRQ_SET_DATA_EVENTFD | trigger;
  constexpr std::uint32_t now = VFIO_IRQ_SET_DATA_NONE | trigger;
  std::int32_t fds[4];
  for (std::int32_t& fd : fds) CHECK((fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
  CHECK(set(with_fds, 0, 4, fds) == 0);
  // The loopback: the program asks for the interrupt itself.
  CHECK(set(now, 2, 1, nullptr) == 0);
  for (int i = 0; i < 4; ++i) CHECK(count_of(fds[i]) == (i == 2 ? 1U : 0U));
  CHECK(set(now, 0, 4, nullptr) == 0);
  CHECK(set(now, 0, 4, nullptr) == 0);
  for (const int fd : fds) CHECK(count_of(fd) == 2);
  // The eventfd lives after its descriptor: a duplicate sees the interrupt.
  const int copy = ::dup(fds[1]);
  CHECK(::close(fds[1]) == 0);
  CHECK(set(now, 1, 1, nullptr) == 0);
  CHECK(count_of(copy) == 1);
  // The number is used again, by another eventfd.
  CHECK(::eventfd(0, EFD_NONBLOCK) == fds[1]);
  CHECK(set(now, 1, 1, nullptr) == 0);
  CHECK(count_of(fds[1]) == 0);
  CHECK(count_of(copy) == 1);
  CHECK(set(with_fds, 1, 1, fds + 1) == 0);
  CHECK(set(now, 1, 1, nullptr) == 0);
  CHECK(count_of(fds[1]) == 1);
  CHECK(count_of(copy) == 0);
  // A thread that waits in poll wakes up: here the child does.
  const pid_t child = ::fork();
  if (child == 0) {
    pollfd p{fds[3], POLLIN, 0};
    std::_Exit(::poll(&p, 1, 10000) == 1 ? 0 : 1);
  }
  CHECK(set(now, 3, 1, nullptr) == 0);
  expect_success(child);
  // Not an eventfd, and no descriptor.
  const std::int32_t wrong[] = {::open("/dev/null", O_RDWR), 900};
  FAILS(set(with_fds, 0, 1, wrong), EINVAL);
  FAILS(set(with_fds, 0, 1, wrong + 1), EBADF);
  CHECK(set(now, 0, 0, nullptr) == 0);  // disables MSI
  // What the program writes to the eventfd that unmasks INTx goes to the device.
  index = VFIO_PCI_INTX_IRQ_INDEX;
  constexpr std::uint32_t unmask = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
  CHECK(set(with_fds, 0, 1, fds) == 0);
  CHECK(set(unmask, 0, 1, fds + 2) == 0);
  FAILS(set(unmask, 0, 1, fds + 3), EBUSY);
  const std::uint64_t one = 1;
  CHECK(::write(fds[2], &one, sizeof one) == sizeof one);
  CHECK(set(now, 0, 1, nullptr) == 0);
  CHECK(count_of(fds[0]) == 1);
  CHECK(count_of(fds[2]) == 0);
  // The device forgets an eventfd that is closed.
  CHECK(::close(fds[2]) == 0);
  CHECK(set(unmask, 0, 1, fds + 3) == 0);
  CHECK(set(now, 0, 0, nullptr) == 0);  // disables INTx
  // The eventfd of VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP: the next access signals it.
  std::uint32_t feature[] = {16, VFIO_DEVICE_FEATURE_SET | 4U, static_cast<std::uint32_t>(wrong[0]),
                             0};
  FAILS(::ioctl(a.device, VFIO_DEVICE_FEATURE, feature), EINVAL);
  feature[2] = static_cast<std::uint32_t>(fds[3]);
  CHECK(::ioctl(a.device, VFIO_DEVICE_FEATURE, feature) == 0);
  CHECK(identity(a.device) == 0x00011234);
  CHECK(count_of(fds[3]) == 1);
  detach(a);
  return 0;
}

}  // namespace client
