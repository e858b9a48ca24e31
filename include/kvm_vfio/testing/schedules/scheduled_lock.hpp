// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A lock for the threads of a scenario.

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

namespace kvm_vfio::testing {

/// A lock whose taking and releasing are accesses that the scheduler orders. If no thread of a
/// scenario calls, the lock only remembers that it is held.
class KVM_VFIO_CAPABILITY("scheduled lock") scheduled_lock {
 public:
  scheduled_lock() = default;
  /// Makes a lock with a name for messages. `name` must outlive the lock.
  explicit scheduled_lock(const char* name) noexcept : name_(name) {}
  scheduled_lock(const scheduled_lock&) = delete;
  scheduled_lock& operator=(const scheduled_lock&) = delete;

  /// Takes the lock. The scheduler chooses the thread only while the lock is free. Threads that
  /// wait for each other, or for themselves, are a mistake that `explore` reports as a deadlock.
  void lock() noexcept KVM_VFIO_ACQUIRE() {
    scheduler* const s = scheduler::running();
    if (s) s->wait({access_kind::lock, this, 0, name_}, &is_free, this);
    holder_ = s ? s->thread() : outside;
  }
  /// Releases the lock. It is a mistake if another thread holds the lock, or none.
  void unlock() noexcept KVM_VFIO_RELEASE() {
    if (scheduler* const s = scheduler::running()) {
      s->announce({access_kind::unlock, this, 0, name_});
      if (!mine()) s->fail("a thread releases a lock that it does not hold");
    }
    holder_ = nobody;
  }
  /// Returns true if the lock is held.
  [[nodiscard]] bool held() const noexcept { return holder_ != nobody; }
  /// Returns true if the thread that calls holds the lock.
  [[nodiscard]] bool mine() const noexcept {
    const scheduler* const s = scheduler::running();
    return holder_ == (s ? s->thread() : outside);
  }

 private:
  static constexpr int nobody = -1, outside = -2;
  static bool is_free(const void* lock) noexcept {
    return !static_cast<const scheduled_lock*>(lock)->held();
  }

  const char* name_ = "lock";
  int holder_ = nobody;
};
static_assert(lockable<scheduled_lock>);

}  // namespace kvm_vfio::testing
