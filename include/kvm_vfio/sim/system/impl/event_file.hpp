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
  __atomic_add_fetch(&count_, 1, __ATOMIC_ACQ_REL);
}

KVM_VFIO_INLINE answer event_file::pread(void* to, std::size_t size, std::uint64_t) {
  if (size < sizeof(std::uint64_t)) return errc::inval;
  const std::uint64_t n = __atomic_exchange_n(&count_, 0, __ATOMIC_ACQ_REL);
  if (n == 0) return errc::again;
  __builtin_memcpy(to, &n, sizeof n);
  return answer(static_cast<std::int64_t>(sizeof n));
}

}  // namespace kvm_vfio::sim
