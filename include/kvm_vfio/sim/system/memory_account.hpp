// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The limit on the memory that a process may lock for DMA.

#include <cstdint>

namespace kvm_vfio::sim {

/// Who is charged for the memory that a process locks for DMA, and how much the process may lock. A
/// mapping shares the account of the process that made it, so an account can outlive its process.
struct memory_account {
  /// The unit in which locked memory is counted, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// The address space of the process. Containers charge it (the kernel's mm->locked_vm).
  int address_space = 1;
  /// The user of the process. An iommufd charges the user (the kernel's user->locked_vm).
  int user = 0;
  /// The most memory that may be locked, in bytes (RLIMIT_MEMLOCK). A part of a page does not
  /// count.
  std::uint64_t limit = ~std::uint64_t{0};
  /// Whether the process has CAP_IPC_LOCK, and may lock more than the limit.
  bool unlimited = false;
  /// Whether the process has ended. Another thread may end it at any moment: see `has_ended`.
  bool ended = false;

  /// Returns whether the process has ended. Its memory is gone then, except for what is locked.
  [[nodiscard]] bool has_ended() const noexcept {
    return __atomic_load_n(&ended, __ATOMIC_ACQUIRE);
  }

  /// Returns how many bytes can still be locked.
  /// \param locked the bytes that are locked already
  [[nodiscard]] std::uint64_t room(std::uint64_t locked) const noexcept {
    if (limit == ~std::uint64_t{0}) return limit;
    const std::uint64_t most = limit - limit % page;
    return locked < most ? most - locked : 0;
  }
};

}  // namespace kvm_vfio::sim
