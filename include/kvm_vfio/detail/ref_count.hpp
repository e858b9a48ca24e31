// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A reference count that threads can share. `<atomic>` would cost compile time.

#include <type_traits>

namespace kvm_vfio::detail {

/// A count that starts at one.
class ref_count {
 public:
  constexpr void get() noexcept { (void)add(1); }
  /// Gives one reference back. Returns true if it was the last one.
  [[nodiscard]] constexpr bool put() noexcept { return add(-1) == 0; }
  [[nodiscard]] constexpr int value() const noexcept {
    if (std::is_constant_evaluated()) return count_;
    return __atomic_load_n(&count_, __ATOMIC_ACQUIRE);
  }

 private:
  constexpr int add(int n) noexcept {
    if (std::is_constant_evaluated()) return count_ += n;
    return __atomic_add_fetch(&count_, n, __ATOMIC_ACQ_REL);
  }

  int count_ = 1;
};

}  // namespace kvm_vfio::detail
