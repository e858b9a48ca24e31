// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// IOMMU groups: the smallest sets of devices that an IOMMU can tell apart from all other devices.
/// A group knows who has claimed its DMA. Both the simulated VFIO and the simulated iommufd use the
/// groups. The world's lock guards them.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstdint>
#include <optional>
#include <vector>

namespace kvm_vfio::sim {

/// A group of devices behind an IOMMU (the kernel's struct iommu_group).
class iommu_group {
 public:
  /// Makes a group whose DMA nobody has claimed.
  /// \param spec  the description of the group and of its devices
  /// \param iommu the IOMMU in front of the group; must outlive the group
  iommu_group(group_spec spec, const iommu_spec& iommu);
  iommu_group(const iommu_group&) = delete;
  iommu_group& operator=(const iommu_group&) = delete;
  ~iommu_group();

  /// Returns the number of the group.
  [[nodiscard]] int number() const noexcept { return spec_.number; }
  /// Returns the descriptions of the devices.
  [[nodiscard]] const std::vector<device_spec>& devices() const noexcept { return spec_.devices; }
  /// Returns the IOMMU in front of the group.
  [[nodiscard]] const iommu_spec& iommu() const noexcept { return iommu_; }

  /// Returns true if a device of the group is bound to a driver of the host (`driver::other`).
  [[nodiscard]] bool owned_by_host() const noexcept;
  /// Returns true if a device of the group is bound to VFIO. If not, the group has no /dev/vfio/N.
  [[nodiscard]] bool has_vfio_device() const noexcept;
  /// Returns true if all devices of the group are mediated devices. Such a group has no IOMMU
  /// domain, so claiming its DMA always succeeds and changes nothing.
  [[nodiscard]] bool mediated() const noexcept;
  /// Returns true if no IOMMU handles the device of the group (VFIO's no-IOMMU mode). Claiming the
  /// DMA of such a group always succeeds and changes nothing.
  [[nodiscard]] bool no_iommu() const noexcept { return spec_.iommu.empty(); }
  /// Returns true if the IOMMU can enforce coherency for every device of the group that is bound to
  /// VFIO.
  [[nodiscard]] bool can_enforce_coherency() const noexcept;
  /// Returns true if the IOMMU can enforce coherency for one device of the group.
  [[nodiscard]] bool can_enforce_coherency(const device_spec& device) const noexcept;
  /// Returns the extended capability register of the IOMMU, of which only the bit for snoop control
  /// is simulated. Nothing: the IOMMU is not Intel's. Linux names Intel's IOMMUs dmar0, dmar1 and
  /// so on.
  [[nodiscard]] std::optional<std::uint64_t> vtd_ecap() const noexcept;
  /// Returns true if the IOMMU has a reserved region of the type `direct`. Nobody can claim the DMA
  /// of such a group, because the firmware needs the mapping of this region.
  [[nodiscard]] bool needs_direct() const noexcept;
  /// Claims the DMA of the group for an owner (iommu_group_claim_dma_owner). An owner may claim
  /// the DMA several times, and gives each claim back with `release_dma`.
  /// \param owner the address of the object that claims the DMA. Different addresses are different
  ///              owners.
  /// \par Errors
  /// - `errc::perm`: `owned_by_host()` is true, or another owner has claimed the DMA
  /// - `direct_error`: `needs_direct()` is true
  [[nodiscard]] errc claim_dma(const void* owner) noexcept;
  /// Gives one claim back (iommu_group_release_dma_owner).
  void release_dma() noexcept;
  /// Returns true if an owner has claimed the DMA or `owned_by_host()` is true
  /// (iommu_group_dma_owner_claimed). If this function returns false, a group without a container
  /// is viable.
  [[nodiscard]] bool dma_owner_claimed() const noexcept;

  /// The error of `claim_dma` if `needs_direct()` is true (`linux_release::direct_error`).
  errc direct_error = errc::inval;
  /// Whether iommufd says which devices have no ATS (`linux_release::reports_ats`).
  bool reports_ats = false;
  /// The number of references that file_iommu_group took and that iommu_group_put has not given
  /// back yet (POWER).
  int references = 0;
  /// Whether iommu_group_get_iommudata finds the data of the group's TCE tables (POWER). Groups of
  /// mediated devices have none. A test can set this member to false.
  bool has_table_data = true;
  /// The TCE windows of the group (POWER). The first one comes from the firmware.
  std::vector<tce_window> windows{};

 private:
  group_spec spec_;
  const iommu_spec& iommu_;
  const void* dma_owner_ = nullptr;  // null: nobody has claimed the DMA
  int dma_claims_ = 0;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommu/impl/iommu_group.hpp>
#endif
