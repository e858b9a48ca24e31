// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// System calls on the running kernel.

#include "support/system.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace support {

/// Makes system calls on the running kernel.
class real_system {
 public:
  long open(const char* path, int flags = O_RDWR | O_CLOEXEC) { return value(::open(path, flags)); }
  long close(int fd) { return value(::close(fd)); }
  long dup(int fd) { return value(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }
  long ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    return value(::ioctl(fd, request, argument));
  }
  long pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
    return value(::pread64(fd, to, size, static_cast<off64_t>(offset)));
  }
  long pwrite(int fd, const void* from, std::size_t size, std::uint64_t offset) {
    return value(::pwrite64(fd, from, size, static_cast<off64_t>(offset)));
  }
  long mmap(int fd, std::uint64_t size, std::uint64_t offset) {
    void* const at = ::mmap64(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                              static_cast<off64_t>(offset));
    return at == MAP_FAILED ? -errno : value(::munmap(at, size));
  }
  long eventfd() { return value(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
  long read_event(int fd, std::uint64_t& count) { return value(::read(fd, &count, 8)); }
  long write_event(int fd, std::uint64_t count) { return value(::write(fd, &count, 8)); }

 private:
  static long value(long r) noexcept { return r < 0 ? -errno : r; }
};
static_assert(system<real_system>);

}  // namespace support
