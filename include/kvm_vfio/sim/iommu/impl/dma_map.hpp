// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of dma_map.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>

#include <cstdint>
#include <iterator>
#include <map>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE const dma_mapping* dma_map::find(std::uint64_t first,
                                                 std::uint64_t last) const noexcept {
  auto next = by_iova_.upper_bound(first);
  if (next != by_iova_.begin()) {
    const dma_mapping& before = std::prev(next)->second;
    if (before.last() >= first) return &before;
  }
  return next != by_iova_.end() && next->second.iova <= last ? &next->second : nullptr;
}

KVM_VFIO_INLINE dma_mapping* dma_map::at_or_after(std::uint64_t iova) noexcept {
  const auto next = by_iova_.lower_bound(iova);
  return next == by_iova_.end() ? nullptr : &next->second;
}

KVM_VFIO_INLINE dma_mapping* dma_map::next(const dma_mapping& m) noexcept {
  if (m.last() == ~std::uint64_t{0}) return nullptr;
  return at_or_after(m.last() + 1);
}

KVM_VFIO_INLINE void dma_map::cut(std::uint64_t first, std::uint64_t last) {
  while (const dma_mapping* const found = find(first, last)) {
    const dma_mapping m = *found;
    remove(m);
    if (m.iova < first) add(m.part(m.iova, first));
    if (m.last() > last) add(m.part(last + 1, m.iova + m.size));
  }
}

KVM_VFIO_INLINE void dma_map::split_behind(std::uint64_t last) {
  const dma_mapping* const found = find(last, last);
  if (!found || found->last() == last) return;
  const dma_mapping m = *found;
  remove(m);
  add(m.part(m.iova, last + 1));
  add(m.part(last + 1, m.iova + m.size));
}

KVM_VFIO_INLINE const std::map<std::uint64_t, dma_mapping>& dma_map::all() const noexcept {
  return by_iova_;
}

}  // namespace kvm_vfio::sim
