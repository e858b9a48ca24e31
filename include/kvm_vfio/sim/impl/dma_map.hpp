// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of dma_map.hpp.

#include <kvm_vfio/sim/dma_map.hpp>

#include <iterator>
#include <utility>

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
    if (m.iova < first) add({m.iova, first - m.iova, m.address, m.flags, m.stale});
    if (m.last() > last)
      add({last + 1, m.last() - last, m.address + (last + 1 - m.iova), m.flags, m.stale});
  }
}

KVM_VFIO_INLINE const std::map<std::uint64_t, dma_mapping>& dma_map::all() const noexcept {
  return by_iova_;
}

KVM_VFIO_INLINE std::vector<iova_range> without(std::vector<iova_range> ranges,
                                                const std::vector<reserved_region>& reserved) {
  for (const reserved_region& hole : reserved) {
    if (hole.type == region_type::direct_relaxable) continue;
    std::vector<iova_range> left;
    for (const iova_range& r : ranges) {
      if (hole.last < r.first || hole.first > r.last) {
        left.push_back(r);
        continue;
      }
      if (r.first < hole.first) left.push_back({r.first, hole.first - 1});
      if (r.last > hole.last) left.push_back({hole.last + 1, r.last});
    }
    ranges = std::move(left);
  }
  return ranges;
}

KVM_VFIO_INLINE std::vector<iova_range> intersection(const std::vector<iova_range>& a,
                                                     const iova_range& b) {
  std::vector<iova_range> out;
  for (const iova_range& r : a) {
    const iova_range both{r.first > b.first ? r.first : b.first, r.last < b.last ? r.last : b.last};
    if (both.first <= both.last) out.push_back(both);
  }
  return out;
}

KVM_VFIO_INLINE std::vector<iova_range> narrowed(const std::vector<iova_range>& ranges,
                                                 const iommu_spec& iommu) {
  return without(intersection(ranges, iommu.aperture), iommu.reserved);
}

KVM_VFIO_INLINE bool allowed(const std::vector<iova_range>& ranges, std::uint64_t first,
                             std::uint64_t last) noexcept {
  for (const iova_range& r : ranges)
    if (r.first <= first && last <= r.last) return true;
  return false;
}

}  // namespace kvm_vfio::sim
