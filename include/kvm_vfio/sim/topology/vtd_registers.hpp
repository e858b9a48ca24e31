// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The registers of Intel's IOMMUs.

#include <kvm_vfio/sim/topology.hpp>

#include <bit>
#include <cstdint>

namespace kvm_vfio::sim::detail {

/// Returns the capability register of an Intel IOMMU: the number of domains, the widths of
/// addresses and the sizes of pages. The other bits are 0. DPDK reads the width.
[[nodiscard]] inline std::uint64_t vtd_cap(const iommu_spec& i) noexcept {
  constexpr std::uint64_t domains = 6;  // 65536
  constexpr unsigned levels_at = 8, width_at = 16, pages_at = 34;
  const auto width = static_cast<unsigned>(std::bit_width(i.aperture.last | 1));
  const std::uint64_t levels = width <= 39 ? 2 : width <= 48 ? 4 : 8;
  const std::uint64_t pages = (i.page_sizes >> 21 & 1) | (i.page_sizes >> 30 & 1) << 1;
  return domains | levels << levels_at | std::uint64_t{width - 1} << width_at | pages << pages_at;
}

}  // namespace kvm_vfio::sim::detail
