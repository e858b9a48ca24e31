// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The simulator's own lock: recursive, because closing one file may release another.

#include <kvm_vfio/lock.hpp>

#include <pthread.h>

namespace kvm_vfio::trace {

/// A recursive mutex without the cost of `<mutex>`. Lock order: a VM's, a kvm-vfio's, the world's.
class KVM_VFIO_CAPABILITY("mutex") mutex {
 public:
  mutex() noexcept {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex_, &kind);
    pthread_mutexattr_destroy(&kind);
  }
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  ~mutex() { pthread_mutex_destroy(&mutex_); }
  void lock() noexcept KVM_VFIO_ACQUIRE() { pthread_mutex_lock(&mutex_); }
  void unlock() noexcept KVM_VFIO_RELEASE() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};
static_assert(lockable<mutex>);

}  // namespace kvm_vfio::trace
