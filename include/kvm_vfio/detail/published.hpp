// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A value that any thread may read while one thread changes it. `<atomic>` would cost compile
/// time.

#include <type_traits>

namespace kvm_vfio::detail {

/// A small value that threads share. Reading or writing it does not order any other memory access.
template <class T>
class published {
 public:
  constexpr explicit published(T value) noexcept : value_(value) {}
  /// Returns the value. Any thread may call this at any time; the call never waits.
  [[nodiscard]] constexpr T get() const noexcept {
    if (std::is_constant_evaluated()) return value_;
    return __atomic_load_n(&value_, __ATOMIC_RELAXED);
  }
  /// Changes the value. Only one thread at a time may call this.
  constexpr void set(T value) noexcept {
    if (std::is_constant_evaluated()) value_ = value;
    else __atomic_store_n(&value_, value, __ATOMIC_RELAXED);
  }

 private:
  T value_;
};

}  // namespace kvm_vfio::detail
