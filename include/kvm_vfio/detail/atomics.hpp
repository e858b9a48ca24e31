// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The atomic operations of lock-free code, as a policy. `<atomic>` would cost compile time.

namespace kvm_vfio::detail {

/// The atomic operations of the compiler. A test gives the code another class with these functions.
struct atomics {
  template <class T>
  [[nodiscard]] static T load_relaxed(const T& from) noexcept {
    return __atomic_load_n(&from, __ATOMIC_RELAXED);
  }
  template <class T>
  [[nodiscard]] static T load_acquire(const T& from) noexcept {
    return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
  }
  template <class T>
  static void store_relaxed(T& to, T value) noexcept {
    __atomic_store_n(&to, value, __ATOMIC_RELAXED);
  }
  /// Sets `object` to `desired` if it has the value `expected`, with the orders acquire and
  /// release. Otherwise sets `expected` to the value, with the order acquire. May fail without a
  /// reason.
  template <class T>
  [[nodiscard]] static bool compare_exchange(T& object, T& expected, T desired) noexcept {
    return __atomic_compare_exchange_n(&object, &expected, desired, true, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
  }
};

}  // namespace kvm_vfio::detail
