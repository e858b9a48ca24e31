// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A mutex for programs with several threads. `<mutex>` would cost compile time.

#include <kvm_vfio/lock.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kvm_vfio::native {

/// A mutex of four bytes, built on futex(2). It works inside one process. It is not recursive, not
/// fair, and has no priority inheritance. Without contention it makes no system call. It allocates
/// nothing and needs no destructor. It is smaller than pthread_mutex_t, and can be a member of
/// objects that are initialised at compile time. The thread sanitizer understands its atomic
/// operations.
class KVM_VFIO_CAPABILITY("mutex") mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  /// Waits until no other thread holds the mutex, and then holds it.
  void lock() noexcept KVM_VFIO_ACQUIRE() {
    int seen = free;
    if (!__atomic_compare_exchange_n(&state_, &seen, held, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
      wait();
  }
  /// Releases the mutex, and wakes one thread that waits for it.
  void unlock() noexcept KVM_VFIO_RELEASE() {
    if (__atomic_exchange_n(&state_, free, __ATOMIC_RELEASE) == waited_for) wake();
  }

 private:
  static constexpr int free = 0;
  static constexpr int held = 1;
  static constexpr int waited_for = 2;

  // Two functions of their own, so that `lock` and `unlock` are a few instructions in each caller.
  [[gnu::noinline]] void wait() noexcept {
    // A thread that waits marks the mutex. The thread marks the mutex again after it wakes, because
    // other threads may wait, too.
    while (__atomic_exchange_n(&state_, waited_for, __ATOMIC_ACQUIRE) != free)
      (void)::syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, waited_for, nullptr, nullptr, 0);
  }
  [[gnu::noinline]] void wake() noexcept {
    (void)::syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

  int state_ = free;
};
static_assert(lockable<mutex> && lockable<mutex&> && sizeof(mutex) == 4);

}  // namespace kvm_vfio::native
