// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// This process's memory, read and written without a fault: a bad address is an answer, as it is
/// for the kernel, and not a crash.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/native/system.hpp>

#include <sys/uio.h>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native {

/// Copies through process_vm_readv(2) and process_vm_writev(2). What they do not do, be it that a
/// seccomp filter forbids them or that the memory is of a kind that only its owner can copy
/// (write-only pages, memfd_secret(2)), goes through a pipe, which needs two descriptors for the
/// length of a call; if those cannot be had the address counts as bad. Models `user_memory`. Does
/// not allocate.
class own_memory {
 public:
  /// False when any byte of the object cannot be read; `object` is unspecified then.
  template <class T>
  [[nodiscard]] bool copy_from_user(std::uint64_t address, T& object) const noexcept {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= largest);
    return read(address, &object, sizeof object);
  }
  /// False when any byte cannot be written; those before it may have been.
  template <class T>
  [[nodiscard]] bool copy_to_user(std::uint64_t address, const T& object) const noexcept {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= largest);
    return write(address, &object, sizeof object);
  }

 private:
  static constexpr std::size_t largest = 4096;  // PIPE_BUF: what a pipe surely takes at once

  // Null, where nothing is, for what no pointer holds on a 32-bit machine.
  static void* pointer(std::uint64_t address) noexcept {
    if (kvm_vfio::detail::convert<std::uintptr_t>(address) != address) return nullptr;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): ioctl arguments carry addresses as numbers
    return reinterpret_cast<void*>(kvm_vfio::detail::convert<std::uintptr_t>(address));
  }
  static bool read(std::uint64_t address, void* to, std::size_t size) noexcept {
    const iovec here{to, size};
    const iovec there{pointer(address), size};
    const ssize_t n = ::process_vm_readv(sys::thread_id(), &here, 1, &there, 1, 0);
    return n == static_cast<ssize_t>(size) || through_pipe(there, here);
  }
  static bool write(std::uint64_t address, const void* from, std::size_t size) noexcept {
    const iovec here{const_cast<void*>(from), size};
    const iovec there{pointer(address), size};
    const ssize_t n = ::process_vm_writev(sys::thread_id(), &here, 1, &there, 1, 0);
    return n == static_cast<ssize_t>(size) || through_pipe(here, there);
  }
  // The kernel's own copies, whose errors are the ones that an ioctl would answer.
  static bool through_pipe(const iovec& from, const iovec& to) noexcept {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    const unique_fd out(ends[0]);
    const unique_fd in(ends[1]);
    const auto all = static_cast<ssize_t>(from.iov_len);
    return ::writev(in.get(), &from, 1) == all && ::readv(out.get(), &to, 1) == all;
  }
};
static_assert(user_memory<own_memory>);

}  // namespace kvm_vfio::native
