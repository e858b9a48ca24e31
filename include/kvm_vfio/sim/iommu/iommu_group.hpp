// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The groups of devices that an IOMMU can tell apart, and the owner of their DMA. The world's lock
/// guards them. VFIO and iommufd both work on these groups.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/topology.hpp>

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

  /// The number of the group.
  [[nodiscard]] int number() const noexcept { return spec_.number; }
  /// The descriptions of the devices.
  [[nodiscard]] const std::vector<device_spec>& devices() const noexcept { return spec_.devices; }
  /// The IOMMU in front of the group.
  [[nodiscard]] const iommu_spec& iommu() const noexcept { return iommu_; }

  /// Whether a driver of the host, not of VFIO, drives a device of the group.
  [[nodiscard]] bool owned_by_host() const noexcept;
  /// Whether VFIO drives a device of the group. Only then /dev/vfio/N exists.
  [[nodiscard]] bool has_vfio_device() const noexcept;
  /// Whether all devices of the group are mediated devices. Then there is no IOMMU domain, and
  /// nobody needs to claim the group's DMA.
  [[nodiscard]] bool mediated() const noexcept;
  /// Whether the IOMMU can enforce coherency for every device of the group that VFIO drives.
  [[nodiscard]] bool can_enforce_coherency() const noexcept;
  /// Whether the IOMMU can enforce coherency for a device of the group.
  [[nodiscard]] bool can_enforce_coherency(const device_spec& device) const noexcept;
  /// Claims the DMA of the group for an owner (iommu_group_claim_dma_owner). An owner may claim it
  /// several times.
  /// \param owner the address of the owner
  /// \par Errors
  /// - `errc::perm`: a driver of the host drives a device of the group, or another owner has
  ///   claimed the DMA
  [[nodiscard]] errc claim_dma(const void* owner) noexcept;
  /// Gives one claim back (iommu_group_release_dma_owner).
  void release_dma() noexcept;
  /// Whether the host or an owner has claimed the DMA (iommu_group_dma_owner_claimed). A group that
  /// is in no container is viable if this function returns false.
  [[nodiscard]] bool dma_owner_claimed() const noexcept;

  /// The number of references that file_iommu_group handed out (POWER).
  int references = 0;
  /// Whether iommu_group_get_iommudata finds table data (POWER). A test sets it to false.
  bool has_table_data = true;
  /// The windows of the group's hardware table (POWER).
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
