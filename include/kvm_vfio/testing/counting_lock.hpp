// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A lock that proves what is called with it held.

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/testing/journal.hpp>

namespace kvm_vfio::testing {

/// Counts, and notices misuse: locked while held, unlocked while not. Not a real lock; one thread
/// only. With a journal, its events stand among those of the other mocks, so what lies between
/// them was called with the lock held.
class KVM_VFIO_CAPABILITY("counting lock") counting_lock {
 public:
  constexpr counting_lock() noexcept = default;
  /// `log` must outlive the lock.
  /// \param which tells this lock from others of the same journal
  constexpr explicit counting_lock(journal& log, int which = 0) noexcept
      : log_(&log), which_(which) {}

  constexpr void lock() noexcept KVM_VFIO_ACQUIRE() {
    misused_ = misused_ || held_;
    held_ = true;
    ++acquisitions_;
    if (log_) log_->add(events::lock(which_));
  }
  constexpr void unlock() noexcept KVM_VFIO_RELEASE() {
    misused_ = misused_ || !held_;
    held_ = false;
    if (log_) log_->add(events::unlock(which_));
  }

  /// Whether somebody holds it.
  [[nodiscard]] constexpr bool held() const noexcept { return held_; }
  /// How often it was taken.
  [[nodiscard]] constexpr int acquisitions() const noexcept { return acquisitions_; }
  /// Whether it was ever taken while held, or released while not.
  [[nodiscard]] constexpr bool misused() const noexcept { return misused_; }

 private:
  journal* log_ = nullptr;
  int which_ = 0;
  int acquisitions_ = 0;
  bool held_ = false;
  bool misused_ = false;
};
static_assert(lockable<counting_lock>);

}  // namespace kvm_vfio::testing
