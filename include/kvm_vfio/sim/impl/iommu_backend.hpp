// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iommu_backend.hpp.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/iommu_backend.hpp>
#include <kvm_vfio/sim/kvm/tce_table.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE bool kvm_spapr_tce::makes_table(std::uint32_t request) noexcept {
  return request == uapi::request_create_spapr_tce_64 || request == uapi::request_create_spapr_tce;
}

KVM_VFIO_INLINE result<file*> kvm_spapr_tce::make_table(const vm_base& vm, process& task,
                                                        std::uint32_t request,
                                                        std::uint64_t argument) {
  uapi::create_spapr_tce_64 c{};
  if (request == uapi::request_create_spapr_tce) {
    uapi::create_spapr_tce old{};
    if (!task.copy_from_user(argument, old)) return errc::fault;
    c.liobn = old.liobn;
    c.page_shift = 12;
    c.size = old.window_size >> 12;
  } else if (!task.copy_from_user(argument, c)) {
    return errc::fault;
  }
  if (c.flags || c.size == 0 || c.page_shift < 12 || c.page_shift > 34) return errc::inval;
  // Linux does not see a sum that wraps.
  if (c.offset + c.size > ~std::uint64_t{0} >> c.page_shift) return errc::inval;
  const tce_window window{.page_shift = c.page_shift, .offset = c.offset, .size = c.size};
  return tce_table::make(tables_, vm, c.liobn, window);
}

KVM_VFIO_INLINE errc kvm_spapr_tce::spapr_tce_attach(vm_base* const& vm, int tablefd,
                                                     sim::iommu_group* const& group) noexcept {
  if (!current_process) return errc::badf;
  const result<file*> f = current_process->fget(tablefd);
  if (!f) return f.error();
  const file_ref held(*f);
  if (held->kind() != file_kind::tce_table) return errc::inval;
  auto* const table = static_cast<tce_table*>(held.get());
  const guard locked(world_.lock());
  return detail::attempt([&] { return table->attach(*vm, *group); });
}

KVM_VFIO_INLINE void kvm_spapr_tce::spapr_tce_release(vm_base* const& vm,
                                                      sim::iommu_group* const& group) noexcept {
  const guard held(world_.lock());
  for (tce_table* t : tables_.all) t->detach(*vm, *group);
}

KVM_VFIO_INLINE void kvm_spapr_tce::iommu_group_put(sim::iommu_group* const& group) noexcept {
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
