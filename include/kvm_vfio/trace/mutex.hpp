// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The class of the mutexes in the simulator. Observers use this class, too.

#include <kvm_vfio/lock.hpp>

#include <pthread.h>

namespace kvm_vfio::trace {

/// A recursive mutex. It is recursive, because closing one file may release another one while the
/// lock is held. (`<mutex>` is not used, because it takes long to compile.) A thread takes several
/// locks in this order: the lock of a VM, the lock of a kvm-vfio, the lock of the world.
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
  /// Waits until no other thread holds the mutex, and then holds it once more.
  void lock() noexcept KVM_VFIO_ACQUIRE() { pthread_mutex_lock(&mutex_); }
  /// Releases the mutex once.
  void unlock() noexcept KVM_VFIO_RELEASE() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};
static_assert(lockable<mutex>);

}  // namespace kvm_vfio::trace
