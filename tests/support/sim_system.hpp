// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// System calls of a simulated process.

#include <kvm_vfio/sim/process.hpp>

#include "support/system.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace support {

/// Makes system calls of a simulated process.
class sim_system {
 public:
  explicit sim_system(kvm_vfio::sim::process& task) noexcept : task_(task) {}
  long open(const char* path, int flags = O_RDWR | O_CLOEXEC) {
    return value(task_.open(path, flags));
  }
  long close(int fd) { return value(task_.close(fd)); }
  long dup(int fd) { return value(task_.dup(fd)); }
  long ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    return value(task_.ioctl(fd, request, argument));
  }
  long pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
    return value(task_.pread(fd, to, size, offset));
  }
  long pwrite(int fd, const void* from, std::size_t size, std::uint64_t offset) {
    return value(task_.pwrite(fd, from, size, offset));
  }
  long mmap(int fd, std::uint64_t size, std::uint64_t offset) {
    const kvm_vfio::sim::answer at = task_.mmap(size, PROT_READ | PROT_WRITE, fd, offset);
    if (!at) return kvm_vfio::kernel_return(at.error());
    return value(task_.munmap(reinterpret_cast<void*>(static_cast<std::uintptr_t>(*at)), size));
  }
  long eventfd() { return value(task_.eventfd()); }
  long read_event(int fd, std::uint64_t& count) { return value(task_.pread(fd, &count, 8, 0)); }
  long write_event(int fd, std::uint64_t count) { return value(task_.write(fd, &count, 8)); }

 private:
  static long value(const kvm_vfio::sim::answer& a) noexcept {
    return a ? static_cast<long>(*a) : kvm_vfio::kernel_return(a.error());
  }
  kvm_vfio::sim::process& task_;
};
static_assert(system<sim_system>);

}  // namespace support
