// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A value that one thread at a time changes and any thread may read, without the cost of
/// `<atomic>`.

#include <type_traits>

namespace kvm_vfio::detail {

/// A small value on its own: it orders nothing else.
template <class T>
class published {
 public:
  constexpr explicit published(T value) noexcept : value_(value) {}
  /// By any thread at any time; never waits.
  [[nodiscard]] constexpr T get() const noexcept {
    if (std::is_constant_evaluated()) return value_;
    return __atomic_load_n(&value_, __ATOMIC_RELAXED);
  }
  /// By one thread at a time.
  constexpr void set(T value) noexcept {
    if (std::is_constant_evaluated()) value_ = value;
    else __atomic_store_n(&value_, value, __ATOMIC_RELAXED);
  }

 private:
  T value_;
};

}  // namespace kvm_vfio::detail
