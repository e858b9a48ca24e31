// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calculations with ranges of I/O virtual addresses.

#include <kvm_vfio/sim/topology.hpp>

#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// Removes reserved regions from ranges. Regions of the type `direct_relaxable` are not removed,
/// because a VMM may map them. The result is sorted if `ranges` is sorted.
[[nodiscard]] std::vector<iova_range> without(std::vector<iova_range> ranges,
                                              const std::vector<reserved_region>& reserved);

/// The addresses that are in a range of `a` and in `b`.
[[nodiscard]] std::vector<iova_range> intersection(const std::vector<iova_range>& a,
                                                   const iova_range& b);

/// Every address: the ranges while no device restricts them.
[[nodiscard]] inline std::vector<iova_range> every_address() { return {{0, ~std::uint64_t{0}}}; }

/// The addresses of `ranges` that an IOMMU translates and that it has not reserved.
[[nodiscard]] std::vector<iova_range> narrowed(const std::vector<iova_range>& ranges,
                                               const iommu_spec& iommu);

/// The size in bytes of the smallest page in a bitmap of page sizes; 0 if the bitmap is empty.
[[nodiscard]] constexpr std::uint64_t smallest_page(std::uint64_t page_sizes) noexcept {
  return page_sizes & (~page_sizes + 1);
}

/// Whether one of the ranges contains all of [first, last].
[[nodiscard]] bool allowed(const std::vector<iova_range>& ranges, std::uint64_t first,
                           std::uint64_t last) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommu/impl/iova_ranges.hpp>
#endif
