// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of symbols.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/sim/symbols.hpp>
#include <kvm_vfio/sim/vfio/coherency.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void symbols::load(bool loaded) noexcept {
  std::uint64_t was = loads();
  while (is_loaded(was) != loaded &&
         !__atomic_compare_exchange_n(&loads_, &was, was + 1, true, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE)) {
  }
}

KVM_VFIO_INLINE void symbols::file_set_kvm(const file& f, const vm& to) noexcept {
  const guard held(world_.lock());
  if (vfio_group* const g = group_of(*f)) g->vm = to;
  else if (device_file* const d = device_of(*f)) d->vm = to;
}

KVM_VFIO_INLINE bool symbols::file_enforced_coherent(const file& f) noexcept {
  const guard held(world_.lock());
  return coherency_of(world_.release(), *f).coherent;
}

KVM_VFIO_INLINE std::uint64_t symbols::coherency_epoch() noexcept {
  // Both numbers only grow, so their sum never has an old value again.
  return loads() + (world_.release().coherency_of_container ? world_.container_changes() : 0);
}

KVM_VFIO_INLINE symbols::iommu_group symbols::file_iommu_group(const file& f) noexcept {
  const guard held(world_.lock());
  vfio_group* const g = group_of(*f);
  if (!g) return nullptr;
  ++g->hardware.references;
  return &g->hardware;
}

KVM_VFIO_INLINE std::uint64_t symbols::loads() const noexcept {
  return __atomic_load_n(&loads_, __ATOMIC_ACQUIRE);
}

}  // namespace kvm_vfio::sim
