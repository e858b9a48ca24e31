// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a test needs of a system to make system calls on it: the real one, or the simulated.

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace support {

/// Makes system calls. A negative answer is a negated error number, as in the kernel.
template <class S>
concept system =
    requires(S& sys, const char* path, int fd, unsigned long request, std::uintptr_t argument,
             void* to, const void* from, std::size_t size, std::uint64_t& number) {
      // open(2) for reading and writing with O_CLOEXEC; then with these flags.
      { sys.open(path) } -> std::same_as<long>;
      { sys.open(path, fd) } -> std::same_as<long>;
      { sys.close(fd) } -> std::same_as<long>;
      // A copy of the descriptor, as of F_DUPFD_CLOEXEC.
      { sys.dup(fd) } -> std::same_as<long>;
      { sys.ioctl(fd, request, argument) } -> std::same_as<long>;
      // pread(2) and pwrite(2) at the offset `number`.
      { sys.pread(fd, to, size, number) } -> std::same_as<long>;
      { sys.pwrite(fd, from, size, number) } -> std::same_as<long>;
      // mmap(2) of a file at the offset `number` to read and write, then munmap(2); 0: both worked.
      { sys.mmap(fd, number, number) } -> std::same_as<long>;
      // A new event file of count 0; a read of its count, which does not wait.
      { sys.eventfd() } -> std::same_as<long>;
      { sys.read_event(fd, number) } -> std::same_as<long>;
      // A write of `number` to an event file.
      { sys.write_event(fd, number) } -> std::same_as<long>;
    };

}  // namespace support
