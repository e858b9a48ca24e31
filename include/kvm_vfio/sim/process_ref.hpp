// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated process as a `system`, for code that is written for `native::host` or another
/// system.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// A handle of a simulated process. Models `system`. Copies refer to the same process, and each
/// call is a system call of this process. A default-constructed handle has no process.
///
/// Every function has these errors beside those that its own comment lists:
/// - `errc::badf`: the handle has no process, and the call has a descriptor as its argument
/// - `errc::nosys`: the handle has no process, and the call has no such argument
/// - `errc::nomem`: there is no memory for the call (the process threw std::bad_alloc)
class process_ref {
 public:
  process_ref() noexcept = default;
  /// Makes a handle of a process.
  /// \param task the process; must outlive every call through the handle and its copies
  explicit process_ref(process& task) noexcept : process_(&task) {}

  /// Calls `process::open` with O_CLOEXEC beside `flags`.
  /// \par Errors
  /// - each error of `process::open`
  [[nodiscard]] result<int> open(const char* path, int flags) const noexcept;
  /// Calls `process::close`.
  /// \par Errors
  /// - each error of `process::close`
  errc close(int fd) const noexcept;  // NOLINT(modernize-use-nodiscard): often nothing can be done
  /// Calls `process::dup` with 3 as the lowest number.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open
  /// - `errc::mfile`: the process has no free descriptor from 3 on
  [[nodiscard]] result<int> dup(int fd) const noexcept;
  /// Calls `process::ioctl`.
  /// \par Errors
  /// - each error of `process::ioctl`
  [[nodiscard]] result<int> ioctl(int fd, unsigned long request,
                                  std::uintptr_t argument) const noexcept;
  /// Calls `process::read`.
  /// \par Errors
  /// - each error of `process::read`
  [[nodiscard]] result<std::size_t> read(int fd, void* to, std::size_t size) const noexcept;
  /// Calls `process::write`.
  /// \par Errors
  /// - each error of `process::write`
  [[nodiscard]] result<std::size_t> write(int fd, const void* from,
                                          std::size_t size) const noexcept;
  /// Calls `process::pread`.
  /// \par Errors
  /// - each error of `process::pread`
  [[nodiscard]] result<std::size_t> pread(int fd, void* to, std::size_t size,
                                          std::uint64_t offset) const noexcept;
  /// Calls `process::pwrite`.
  /// \par Errors
  /// - each error of `process::pwrite`
  [[nodiscard]] result<std::size_t> pwrite(int fd, const void* from, std::size_t size,
                                           std::uint64_t offset) const noexcept;
  /// Calls `process::mmap`.
  /// \return the address
  /// \par Errors
  /// - each error of `process::mmap`
  [[nodiscard]] result<void*> mmap(std::size_t size, int protection, int fd,
                                   std::uint64_t offset) const noexcept;
  /// Calls `process::munmap`.
  /// \par Errors
  /// - each error of `process::munmap`
  errc munmap(void* address, std::size_t size) const noexcept;  // NOLINT(modernize-use-nodiscard)
  /// Calls `process::eventfd`.
  /// \par Errors
  /// - each error of `process::eventfd`
  [[nodiscard]] result<int> eventfd() const noexcept;

 private:
  // Makes a call of the process. `without` is the answer if there is none.
  template <class Function>
  answer made(Function call, errc without = errc::badf) const noexcept;

  process* process_ = nullptr;
};

static_assert(system<process_ref>);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/process_ref.hpp>
#endif
