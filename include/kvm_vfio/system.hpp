// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The system calls that a VMM makes for a VM with devices. In production the running kernel
/// answers them (`native::host`), in the tests of a VMM a simulated process (`sim::process_ref`).
/// Code that is written for `system` runs on both.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

/// A handle of a system: an object through which a program makes system calls. A copy refers to the
/// same system. A handle that was default-constructed may refuse every call.
///
/// No call is repeated after EINTR except `open`. Any thread may make any call. An error is the
/// `errc` of the error number.
template <class S>
concept system = std::semiregular<S> && std::is_nothrow_default_constructible_v<S> &&
                 std::is_nothrow_copy_constructible_v<S> &&
                 requires(const S& sys, const char* path, int fd, int flags, unsigned long request,
                          std::uintptr_t argument, void* to, const void* from, std::size_t size,
                          std::uint64_t at) {
                   // Makes a new descriptor with open(2), with O_CLOEXEC whatever `flags` says.
                   { sys.open(path, flags) } noexcept -> std::same_as<result<int>>;
                   // Closes a descriptor with close(2). The number is free afterwards, also after
                   // an error other than badf.
                   { sys.close(fd) } noexcept -> std::same_as<errc>;
                   // Makes one more descriptor of the same open file, with O_CLOEXEC and a number
                   // of at least 3.
                   { sys.dup(fd) } noexcept -> std::same_as<result<int>>;
                   // Makes an ioctl. The argument is a number, or the address of an object as an
                   // integer. Returns what the kernel returns: a number that is not negative.
                   { sys.ioctl(fd, request, argument) } noexcept -> std::same_as<result<int>>;
                   // Reads from, or writes to, a file without a position, for example an eventfd.
                   // Returns the number of bytes.
                   { sys.read(fd, to, size) } noexcept -> std::same_as<result<std::size_t>>;
                   { sys.write(fd, from, size) } noexcept -> std::same_as<result<std::size_t>>;
                   // Reads or writes at the offset `at` in bytes. Returns the number of bytes.
                   { sys.pread(fd, to, size, at) } noexcept -> std::same_as<result<std::size_t>>;
                   { sys.pwrite(fd, from, size, at) } noexcept -> std::same_as<result<std::size_t>>;
                   // Maps `size` bytes of a file from `at` on, shared, with the protection
                   // `flags` (PROT_READ, PROT_WRITE). Returns the address.
                   { sys.mmap(size, flags, fd, at) } noexcept -> std::same_as<result<void*>>;
                   // Removes a mapping that `mmap` made. `to` and `size` are those of that call.
                   { sys.munmap(to, size) } noexcept -> std::same_as<errc>;
                   // Makes an eventfd of count 0, with EFD_CLOEXEC and EFD_NONBLOCK.
                   { sys.eventfd() } noexcept -> std::same_as<result<int>>;
                 };

}  // namespace kvm_vfio
