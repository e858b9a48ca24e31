// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of symbols.hpp.

#include <kvm_vfio/sim/symbols.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE coherency_answer coherency_of(const linux_release& release, file& f) noexcept {
  if (const vfio_group* const g = group_of(f)) {
    if (release.coherency_of_container) {
      if (!g->in_container) return {true, "no container: nobody can tell yet"};
      if (!g->in_container->driver()) return {false, "its container has no IOMMU"};
      return g->in_container->has(VFIO_DMA_CC_IOMMU)
                 ? coherency_answer{true, "every domain of its container enforces coherency"}
                 : coherency_answer{false, "a domain of its container does not enforce coherency"};
    }
    return g->can_enforce_coherency()
               ? coherency_answer{true, "every device of the group can be enforced coherent"}
               : coherency_answer{false, "a device of the group cannot be enforced coherent"};
  }
  if (const device_file* const d = device_of(f)) {
    return d->device().group().enforces_coherency(d->device())
               ? coherency_answer{true, "the device can be enforced coherent"}
               : coherency_answer{false, "the device cannot be enforced coherent"};
  }
  return {true, "not a VFIO file"};
}

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
  if (g) ++g->references;
  return g;
}

KVM_VFIO_INLINE std::uint64_t symbols::loads() const noexcept {
  return __atomic_load_n(&loads_, __ATOMIC_ACQUIRE);
}

KVM_VFIO_INLINE file* kvm_spapr_tce::make_table(const vm_base& vm, const tce_window& window) {
  return new tce_table(tables_, vm, window);
}

KVM_VFIO_INLINE errc kvm_spapr_tce::spapr_tce_attach(vm_base* const& vm, int tablefd,
                                                     vfio_group* const& group) noexcept {
  if (!current_process) return errc::badf;
  const result<file*> f = current_process->fget(tablefd);
  if (!f) return f.error();
  const file_ref held(*f);
  if (held->kind() != file_kind::tce_table) return errc::inval;
  auto* const table = static_cast<tce_table*>(held.get());
  const guard locked(world_.lock());
  return table->attach(*vm, *group);
}

KVM_VFIO_INLINE void kvm_spapr_tce::spapr_tce_release(vm_base* const& vm,
                                                      vfio_group* const& group) noexcept {
  const guard held(world_.lock());
  for (tce_table* t : tables_.all) t->detach(*vm, *group);
}

KVM_VFIO_INLINE void kvm_spapr_tce::iommu_group_put(vfio_group* const& group) noexcept {
  const guard held(world_.lock());
  --group->references;
}

KVM_VFIO_INLINE void kvm_spapr_tce::warn(spapr_warning which) noexcept {
  const guard held(world_.lock());
  ++warnings_[static_cast<unsigned>(which)];
}

KVM_VFIO_INLINE int kvm_spapr_tce::warnings(spapr_warning which) const noexcept {
  return warnings_[static_cast<unsigned>(which)];
}

}  // namespace kvm_vfio::sim
