// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A lock for tests, which shows which calls are made with the lock held.

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/testing/journal.hpp>

namespace kvm_vfio::testing {

/// Counts how often it is taken, and notices misuse: taking it while it is held, or releasing it
/// while it is not. It protects nothing and is for one thread only. With a journal, it records an
/// event for each call. The calls that stand between its two events were made with the lock held.
class KVM_VFIO_CAPABILITY("counting lock") counting_lock {
 public:
  constexpr counting_lock() noexcept = default;
  /// Makes a lock that records its calls in `log`, which must outlive the lock.
  /// \param which a number that tells this lock from other locks in the journal
  constexpr explicit counting_lock(journal& log, int which = 0) noexcept
      : log_(&log), which_(which) {}

  /// Takes the lock. Remembers a misuse if the lock is held.
  constexpr void lock() noexcept KVM_VFIO_ACQUIRE() {
    misused_ = misused_ || held_;
    held_ = true;
    ++acquisitions_;
    if (log_) log_->add(events::lock(which_));
  }
  /// Releases the lock. Remembers a misuse if the lock is not held.
  constexpr void unlock() noexcept KVM_VFIO_RELEASE() {
    misused_ = misused_ || !held_;
    held_ = false;
    if (log_) log_->add(events::unlock(which_));
  }

  /// Returns true if the lock is held.
  [[nodiscard]] constexpr bool held() const noexcept { return held_; }
  /// Returns how often the lock was taken.
  [[nodiscard]] constexpr int acquisitions() const noexcept { return acquisitions_; }
  /// Returns true if the lock was ever taken while it was held, or released while it was not.
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
