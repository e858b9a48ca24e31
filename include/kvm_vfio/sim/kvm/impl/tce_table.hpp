// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of tce_table.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/kvm/tce_table.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE tce_table::tce_table(tce_tables& tables, const vm_base& vm, std::uint64_t number,
                                     const tce_window& w)
    : file(file_kind::tce_table), tables_(tables), vm_(vm), number_(number), window_(w) {}

KVM_VFIO_INLINE result<file*> tce_table::make(tce_tables& tables, const vm_base& vm,
                                              std::uint64_t number, const tce_window& w) {
  auto* const table = new tce_table(tables, vm, number, w);
  file_ref made(table);  // without the lock, which `release` takes
  const guard held(tables.lock);
  for (const tce_table* other : tables.all)
    if (&other->vm_ == &vm && other->number_ == number) return errc::busy;
  tables.all.push_back(table);
  return made.take();
}

KVM_VFIO_INLINE errc tce_table::attach(const vm_base& vm, iommu_group& group) {
  if (&vm != &vm_) return errc::inval;
  if (!group.has_table_data) return errc::fault;
  const bool fits = std::ranges::any_of(group.windows, [this](const tce_window& w) {
    // The table may have larger pages than the hardware, and fewer addresses.
    return w.page_shift <= window_.page_shift &&
           w.offset << w.page_shift == window_.offset << window_.page_shift &&
           w.size << w.page_shift >= window_.size << window_.page_shift;
  });
  if (!fits) return errc::inval;
  if (std::ranges::find(attached_, &group) == attached_.end()) attached_.push_back(&group);
  return errc::ok;
}

KVM_VFIO_INLINE void tce_table::detach(const vm_base& vm, const iommu_group& group) noexcept {
  if (&vm == &vm_) std::erase(attached_, &group);
}

KVM_VFIO_INLINE const std::vector<const iommu_group*>& tce_table::attached() const noexcept {
  return attached_;
}

KVM_VFIO_INLINE void tce_table::release() noexcept {
  const guard held(tables_.lock);
  std::erase(tables_.all, this);
}

}  // namespace kvm_vfio::sim
