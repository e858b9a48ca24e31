// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The settings of a simulated VFIO that do not describe its host.

#include <cstdint>

namespace kvm_vfio::sim {

/// The IOMMU driver that VFIO uses in containers.
enum class iommu_kind : unsigned char {
  type1,  ///< VFIO's type 1 driver, for IOMMUs such as those of x86 and Arm
  spapr   ///< VFIO's driver for POWER (VFIO_SPAPR_TCE_IOMMU)
};

/// The settings of a simulated VFIO that are not part of the topology.
struct world_options {
  /// The IOMMU driver that VFIO uses in containers.
  iommu_kind iommu = iommu_kind::type1;
  /// Whether /dev/iommu and /dev/vfio/devices exist. Releases without device files ignore it.
  bool device_files = true;
  /// The module parameter `allow_unsafe_interrupts` of vfio_iommu_type1.
  bool allow_unsafe_interrupts = false;
  /// The largest alignment that iommufd uses when it chooses an address, in bytes: a huge page, on
  /// hosts that have them.
  std::uint64_t huge_page = std::uint64_t{1} << 21;
  /// The module parameter `dma_entry_limit` of vfio_iommu_type1: the number of mappings that a
  /// container can hold.
  std::uint32_t dma_entry_limit = 65535;
};

}  // namespace kvm_vfio::sim
