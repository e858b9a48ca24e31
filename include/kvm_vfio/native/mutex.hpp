// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A lock for users with threads, without the cost of `<mutex>`.

#include <kvm_vfio/lock.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace kvm_vfio::native {

/// A mutex of four bytes over futex(2): private to the process, not recursive, not fair, without
/// priority inheritance. Uncontended, no system call; allocates nothing and needs no destruction.
/// Chosen over pthread_mutex_t for its size and because it can be a member of constant-initialised
/// objects; the thread sanitizer sees its atomics and needs no help.
class KVM_VFIO_CAPABILITY("mutex") mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;

  void lock() noexcept KVM_VFIO_ACQUIRE() {
    int seen = free;
    if (__atomic_compare_exchange_n(&state_, &seen, held, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
      return;
    // Whoever waits says so, and keeps saying so when it wakes: there may be others.
    while (__atomic_exchange_n(&state_, waited_for, __ATOMIC_ACQUIRE) != free)
      (void)::syscall(SYS_futex, &state_, FUTEX_WAIT_PRIVATE, waited_for, nullptr, nullptr, 0);
  }
  void unlock() noexcept KVM_VFIO_RELEASE() {
    if (__atomic_exchange_n(&state_, free, __ATOMIC_RELEASE) == waited_for)
      (void)::syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }

 private:
  static constexpr int free = 0;
  static constexpr int held = 1;
  static constexpr int waited_for = 2;

  int state_ = free;
};
static_assert(lockable<mutex> && lockable<mutex&> && sizeof(mutex) == 4);

}  // namespace kvm_vfio::native
