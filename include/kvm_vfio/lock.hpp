// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The lock policy: its contract, the lock of a single-threaded user, and the guard. The guard is
/// annotated for Clang's thread-safety analysis; an unannotated lock simply is not analysed.

#include <concepts>

#if defined(__clang__)
#define KVM_VFIO_CAPABILITY(kind) __attribute__((capability(kind)))
#define KVM_VFIO_SCOPED_CAPABILITY __attribute__((scoped_lockable))
#define KVM_VFIO_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define KVM_VFIO_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#else
#define KVM_VFIO_CAPABILITY(kind)
#define KVM_VFIO_SCOPED_CAPABILITY
#define KVM_VFIO_ACQUIRE(...)
#define KVM_VFIO_RELEASE(...)
#endif

namespace kvm_vfio {

/// Mutual exclusion. `Lock` may be a reference type: the device then uses a lock of somebody
/// else's.
template <class Lock>
concept lockable = requires(Lock& lock) {
  // Waits until nobody else holds the lock, then holds it. Never re-entered by the device.
  { lock.lock() } noexcept;
  // Lets go of it. Called by the thread that locked.
  { lock.unlock() } noexcept;
};

/// The lock for users that call from one thread only: nothing at all.
struct KVM_VFIO_CAPABILITY("null lock") null_lock {
  constexpr void lock() noexcept KVM_VFIO_ACQUIRE() {}
  constexpr void unlock() noexcept KVM_VFIO_RELEASE() {}
};
static_assert(lockable<null_lock> && lockable<null_lock&>);

/// A lock as a member: its own, or a reference to somebody else's. Const operations lock too.
template <class Lock>
class lock_holder {
 public:
  lock_holder() = default;
  /// Holds a lock that is moved in.
  constexpr explicit lock_holder(Lock&& lock) noexcept : lock_(static_cast<Lock&&>(lock)) {}
  /// The lock.
  [[nodiscard]] constexpr Lock& get() const noexcept { return lock_; }

 private:
  [[no_unique_address]] mutable Lock lock_{};
};
/// The lock is somebody else's and must outlive the holder.
template <class Lock>
class lock_holder<Lock&> {
 public:
  /// Refers to a lock.
  constexpr explicit lock_holder(Lock& lock) noexcept : lock_(lock) {}
  /// The lock.
  [[nodiscard]] constexpr Lock& get() const noexcept { return lock_; }

 private:
  Lock& lock_;
};

/// Holds a lock for the length of a scope.
template <lockable Lock>
class KVM_VFIO_SCOPED_CAPABILITY guard {
 public:
  /// Takes the lock, which must outlive the guard.
  constexpr explicit guard(Lock& lock) noexcept KVM_VFIO_ACQUIRE(lock) : lock_(lock) {
    lock_.lock();
  }
  guard(const guard&) = delete;
  guard& operator=(const guard&) = delete;
  constexpr ~guard() KVM_VFIO_RELEASE() { lock_.unlock(); }

 private:
  Lock& lock_;
};
/// By its arguments.
template <class Lock>
guard(Lock&) -> guard<Lock>;

}  // namespace kvm_vfio
