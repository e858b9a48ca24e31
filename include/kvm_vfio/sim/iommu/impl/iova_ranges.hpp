// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iova_ranges.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

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
