// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Which of a fixed number of slots are free.

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio::detail {

/// The free slots among `Count`, as a stack: constant time, no lock. In constant evaluation slots
/// are only counted.
/// \tparam Shared for any number of threads, not for one at a time
template <std::size_t Count, bool Shared>
class free_slots {
  static_assert(Count <= UINT32_MAX);

 public:
  constexpr free_slots() noexcept {
    for (std::uint32_t slot = 0; slot < Count; ++slot) below_[slot] = slot + 1;
  }
  free_slots(const free_slots&) = delete;
  free_slots& operator=(const free_slots&) = delete;

  /// A free slot; `Count`: there is none.
  [[nodiscard]] constexpr std::size_t take() noexcept {
    if (std::is_constant_evaluated()) return std::size_t(top_ == Count ? Count : top_++);
    if constexpr (!Shared) {
      const std::size_t slot = static_cast<std::uint32_t>(top_);
      if (slot != Count) top_ = below_[slot];
      return slot;
    }
    std::uint64_t top = __atomic_load_n(&top_, __ATOMIC_ACQUIRE);
    std::uint32_t slot = 0;
    do {
      slot = static_cast<std::uint32_t>(top);
      if (slot == Count) return Count;
      // What is below is stale if somebody else takes the slot now; the exchange fails then.
    } while (!replace_top(top, __atomic_load_n(&below_[slot], __ATOMIC_RELAXED)));
    return slot;
  }
  /// \pre `slot` was taken
  constexpr void give_back(std::size_t slot) noexcept {
    if (std::is_constant_evaluated()) return static_cast<void>(--top_);
    if constexpr (!Shared) {
      below_[slot] = static_cast<std::uint32_t>(top_);
      top_ = slot;
      return;
    }
    std::uint64_t top = __atomic_load_n(&top_, __ATOMIC_RELAXED);
    do __atomic_store_n(&below_[slot], static_cast<std::uint32_t>(top), __ATOMIC_RELAXED);
    while (!replace_top(top, static_cast<std::uint32_t>(slot)));
  }

 private:
  // The upper half counts, so that a slot that was taken and came back meanwhile is noticed.
  bool replace_top(std::uint64_t& expected, std::uint32_t slot) noexcept {
    const std::uint64_t next = ((expected >> 32) + 1) << 32 | slot;
    return __atomic_compare_exchange_n(&top_, &expected, next, true, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
  }

  alignas(8) std::uint64_t top_ = 0;  // also where that is not its natural alignment
  std::uint32_t below_[Count];
};

}  // namespace kvm_vfio::detail
