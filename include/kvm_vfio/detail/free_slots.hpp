// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Keeps track of the free slots among a fixed number.

#include <kvm_vfio/detail/atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio::detail {

/// The free slots among `Count`, as a stack. Each call takes constant time and no lock. Constant
/// evaluation only counts the slots in use.
/// \tparam Shared  true: several threads may call at the same time; false: one thread at a time
/// \tparam Atomics the atomic operations; tests replace them to run every order of them
template <std::size_t Count, bool Shared, class Atomics = atomics>
class free_slots {
  static_assert(Count <= UINT32_MAX);

 public:
  constexpr free_slots() noexcept {
    for (std::uint32_t slot = 0; slot < Count; ++slot) below_[slot] = slot + 1;
  }
  free_slots(const free_slots&) = delete;
  free_slots& operator=(const free_slots&) = delete;

  /// Takes a free slot and returns its number, or `Count` if there is none.
  [[nodiscard]] constexpr std::size_t take() noexcept {
    if (std::is_constant_evaluated()) return std::size_t(top_ == Count ? Count : top_++);
    if constexpr (!Shared) {
      const std::size_t slot = static_cast<std::uint32_t>(top_);
      if (slot != Count) top_ = below_[slot];
      return slot;
    }
    std::uint64_t top = Atomics::load_acquire(top_);
    std::uint32_t slot = 0;
    do {
      slot = static_cast<std::uint32_t>(top);
      if (slot == Count) return Count;
      // If another thread takes the slot now, the value below is stale, and the exchange fails.
    } while (!replace_top(top, Atomics::load_relaxed(below_[slot])));
    return slot;
  }
  /// Makes a slot free again.
  /// \pre `slot` was taken
  constexpr void give_back(std::size_t slot) noexcept {
    if (std::is_constant_evaluated()) return static_cast<void>(--top_);
    if constexpr (!Shared) {
      below_[slot] = static_cast<std::uint32_t>(top_);
      top_ = slot;
      return;
    }
    std::uint64_t top = Atomics::load_relaxed(top_);
    do Atomics::store_relaxed(below_[slot], static_cast<std::uint32_t>(top));
    while (!replace_top(top, static_cast<std::uint32_t>(slot)));
  }

 private:
  // The upper half of `top_` counts the changes. Otherwise the exchange could not notice that
  // another thread took the slot and gave it back.
  bool replace_top(std::uint64_t& expected, std::uint32_t slot) noexcept {
    const std::uint64_t next = ((expected >> 32) + 1) << 32 | slot;
    return Atomics::compare_exchange(top_, expected, next);
  }

  alignas(8) std::uint64_t top_ = 0;  // some 32-bit platforms would align it to 4 bytes
  std::uint32_t below_[Count];
};

}  // namespace kvm_vfio::detail
