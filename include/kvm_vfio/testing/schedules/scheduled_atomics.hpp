// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Atomic operations that the scheduler orders.

#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

namespace kvm_vfio::testing {

/// The functions of `detail::atomics`, each announced as one access. The threads see the operations
/// in one order. So schedules with these functions show mistakes of the algorithm. They do not show
/// a memory order that is too weak, and a weak exchange does not fail without a reason.
struct scheduled_atomics {
  ///@{
  /// Announces the access and makes it.
  template <class T>
  [[nodiscard]] static T load_relaxed(const T& from) noexcept {
    announce({access_kind::read, &from, 0, "load"});
    return from;
  }
  template <class T>
  [[nodiscard]] static T load_acquire(const T& from) noexcept {
    announce({access_kind::read, &from, 0, "load"});
    return from;
  }
  template <class T>
  static void store_relaxed(T& to, T value) noexcept {
    announce({access_kind::write, &to, 0, "store"});
    to = value;
  }
  template <class T>
  [[nodiscard]] static bool compare_exchange(T& object, T& expected, T desired) noexcept {
    announce({access_kind::write, &object, 0, "compare_exchange"});
    if (object == expected) {
      object = desired;
      return true;
    }
    expected = object;
    return false;
  }
  ///@}
};

}  // namespace kvm_vfio::testing
