// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The lock policy of the model. The header has the concept that a lock must model, a lock for
/// programs with one thread, and a scope guard. The guard has annotations for Clang's thread-safety
/// analysis. Clang does not analyse a lock that has no annotations.

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

/// A lock that at most one thread holds at a time. `Lock` may be a reference type. The device then
/// uses a lock that it does not own.
template <class Lock>
concept lockable = requires(Lock& lock) {
  // Waits until no other thread holds the lock, and then holds it. The device never locks twice.
  { lock.lock() } noexcept;
  // Releases the lock. Called by the thread that holds it.
  { lock.unlock() } noexcept;
};

/// A lock for programs that call from one thread only. It does nothing.
struct KVM_VFIO_CAPABILITY("null lock") null_lock {
  /// Does nothing.
  constexpr void lock() noexcept KVM_VFIO_ACQUIRE() {}
  /// Does nothing.
  constexpr void unlock() noexcept KVM_VFIO_RELEASE() {}
};
static_assert(lockable<null_lock> && lockable<null_lock&>);

/// Stores a lock as a member, either by value or by reference. Const functions of the owner can
/// take the lock, too.
template <class Lock>
class lock_holder {
 public:
  lock_holder() = default;
  /// Moves `lock` into the holder.
  constexpr explicit lock_holder(Lock&& lock) noexcept : lock_(static_cast<Lock&&>(lock)) {}
  /// Returns the lock. The result is not const, so that a const function can take the lock.
  [[nodiscard]] constexpr Lock& get() const noexcept { return lock_; }

 private:
  [[no_unique_address]] mutable Lock lock_{};
};
/// Stores a reference to a lock, which must outlive the holder.
template <class Lock>
class lock_holder<Lock&> {
 public:
  /// Keeps a reference to `lock`.
  constexpr explicit lock_holder(Lock& lock) noexcept : lock_(lock) {}
  /// Returns the lock to which the holder refers.
  [[nodiscard]] constexpr Lock& get() const noexcept { return lock_; }

 private:
  Lock& lock_;
};

/// Holds a lock until the end of a scope.
template <lockable Lock>
class KVM_VFIO_SCOPED_CAPABILITY guard {
 public:
  /// Takes the lock. `lock` must outlive the guard.
  constexpr explicit guard(Lock& lock) noexcept KVM_VFIO_ACQUIRE(lock) : lock_(lock) {
    lock_.lock();
  }
  guard(const guard&) = delete;
  guard& operator=(const guard&) = delete;
  constexpr ~guard() KVM_VFIO_RELEASE() { lock_.unlock(); }

 private:
  Lock& lock_;
};
/// Deduces the type of the lock from the argument.
template <class Lock>
guard(Lock&) -> guard<Lock>;

}  // namespace kvm_vfio
