// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Access to memory of this process by address. A bad address makes the call fail, as in the
/// kernel, and does not end the program.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/unique_fd.hpp>

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native {

/// Copies memory with process_vm_readv(2) and process_vm_writev(2). These calls can fail: a seccomp
/// filter may forbid them, and some memory can be copied only by its owner (write-only pages,
/// memfd_secret(2)). The copy then goes through a pipe, which needs two free descriptors during the
/// call. Without them the address is reported as bad. Models `user_memory`. Allocates nothing.
class own_memory {
 public:
  /// Copies an object from an address. Returns false if any byte cannot be read. The value of
  /// `object` is then unspecified.
  template <class T>
  [[nodiscard]] bool copy_from_user(std::uint64_t address, T& object) const noexcept {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= largest);
    return read(address, &object, sizeof object);
  }
  /// Copies an object to an address. Returns false if any byte cannot be written. Some of the bytes
  /// may then have been written.
  template <class T>
  [[nodiscard]] bool copy_to_user(std::uint64_t address, const T& object) const noexcept {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= largest);
    return write(address, &object, sizeof object);
  }

 private:
  static constexpr std::size_t largest = 4096;  // PIPE_BUF: a pipe takes this many at once

  // Returns null if a 32-bit pointer cannot hold the address. Nothing is mapped there, so the copy
  // fails.
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
  // The kernel itself copies from and to the addresses, so a bad address fails as in an ioctl.
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
