// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of event_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE event_file* event_file::as_event() noexcept { return this; }

KVM_VFIO_INLINE void event_file::signal() noexcept {
  std::uint64_t before = __atomic_load_n(&count_, __ATOMIC_ACQUIRE);
  while (before != ~std::uint64_t{0} &&
         !__atomic_compare_exchange_n(&count_, &before, before + 1, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE)) {
  }
  consume();
}

KVM_VFIO_INLINE void event_file::consume() noexcept {
  // KVM waits in front of all consumers, and takes the signal from them (irqfd_wakeup).
  if (__atomic_load_n(&irqfds_, __ATOMIC_ACQUIRE) != 0) {
    __atomic_store_n(&count_, 0, __ATOMIC_RELEASE);
    return;
  }
  if (__atomic_load_n(&consumers_, __ATOMIC_ACQUIRE) == 0) return;
  __atomic_store_n(&count_, 0, __ATOMIC_RELEASE);
  __atomic_add_fetch(&consumed_, 1, __ATOMIC_ACQ_REL);
}

KVM_VFIO_INLINE bool event_file::add_irqfd(bool only) noexcept {
  int before = __atomic_load_n(&irqfds_, __ATOMIC_ACQUIRE);
  do {
    if (only && before != 0) return false;
  } while (!__atomic_compare_exchange_n(&irqfds_, &before, before + 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE));
  return true;
}

KVM_VFIO_INLINE answer event_file::pread(void* to, std::size_t size, std::uint64_t) {
  return event_file::read(to, size);
}

KVM_VFIO_INLINE answer event_file::read(void* to, std::size_t size) {
  if (size < sizeof(std::uint64_t)) return errc::inval;
  const std::uint64_t n = __atomic_exchange_n(&count_, 0, __ATOMIC_ACQ_REL);
  if (n == 0) return errc::again;
  __builtin_memcpy(to, &n, sizeof n);
  return answer(static_cast<std::int64_t>(sizeof n));
}

KVM_VFIO_INLINE answer event_file::write(const void* from, std::size_t size) {
  std::uint64_t n = 0;
  if (!takes(size)) return errc::inval;
  __builtin_memcpy(&n, from, sizeof n);
  constexpr std::uint64_t largest = ~std::uint64_t{0} - 1;
  if (n > largest) return errc::inval;
  std::uint64_t before = __atomic_load_n(&count_, __ATOMIC_ACQUIRE);
  do {
    if (before > largest - n) return errc::again;
  } while (!__atomic_compare_exchange_n(&count_, &before, before + n, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE));
  consume();
  return answer(static_cast<std::int64_t>(sizeof n));
}

}  // namespace kvm_vfio::sim
