// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The state behind VFIO's files: groups, devices, IOMMU domains. Guarded by the world's lock;
/// what happens to it is the files' business.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/pci_endpoint.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vm_base.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

class container;
class device_file;
class vfio_group;

/// A device that VFIO drives.
class vfio_device {
 public:
  /// \param number of its character device; -1: VFIO does not drive it
  vfio_device(const device_spec& spec, vfio_group& group, int number, const linux_release& release);
  /// As the topology has it.
  [[nodiscard]] const device_spec& spec() const noexcept { return spec_; }
  /// Its address on the bus ("0000:00:04.0").
  [[nodiscard]] const std::string& name() const noexcept { return spec_.name; }
  /// The group that it is in.
  [[nodiscard]] vfio_group& group() const noexcept { return group_; }
  /// Of its node, /dev/vfio/devices/vfioN; -1: VFIO does not drive it.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  device_spec spec_;
  vfio_group& group_;
  int number_;

 public:
  /// How often it is open.
  int open_count = 0;
  vm_base* vm = nullptr;  ///< whom the driver's open saw, until the last close
  /// Whether it holds a reference on that VM.
  bool holds_vm = false;
  device_file* bound = nullptr;  ///< the character device's file that is bound to an iommufd
  /// What answers its ioctls.
  pci_endpoint pci;
};

/// A window of DMA addresses that a group's hardware table translates (sPAPR).
struct tce_window {
  /// Page size, and where it lies.
  std::uint32_t page_shift = 12;
  std::uint64_t offset = 0;  ///< in pages
  std::uint64_t size = 0;    ///< in pages
  /// Equal in all.
  friend bool operator==(const tce_window&, const tce_window&) = default;
};

/// An IOMMU group and VFIO's group of the same number.
class vfio_group {
 public:
  /// Closed, in no container.
  vfio_group(const group_spec& spec, const iommu_spec& iommu);
  /// As the topology has it.
  [[nodiscard]] int number() const noexcept { return number_; }
  /// The IOMMU in front of it.
  [[nodiscard]] const iommu_spec& iommu() const noexcept { return iommu_; }

  /// A host driver owns a device of the group.
  [[nodiscard]] bool owned_by_host() const noexcept;
  /// VFIO drives a device of the group: /dev/vfio/N exists.
  [[nodiscard]] bool exists() const noexcept;
  /// All of it is mediated: no hardware domain, nobody to claim DMA from.
  [[nodiscard]] bool mediated() const noexcept;
  /// Every device can enforce coherency.
  [[nodiscard]] bool can_enforce_coherency() const noexcept;
  /// This device can.
  [[nodiscard]] bool enforces_coherency(const vfio_device& d) const noexcept;
  /// Takes DMA away from the host for `who`, once more. \return perm: somebody else has it
  [[nodiscard]] errc claim_dma(const void* who) noexcept;
  /// Gives one claim back.
  void release_dma() noexcept;
  /// VFIO_GROUP_FLAGS_VIABLE, while there is no container.
  [[nodiscard]] bool dma_owner_claimed() const noexcept;

  /// Its devices, its file, its container, its VM, and who owns its DMA.
  std::vector<std::unique_ptr<vfio_device>> devices;
  file* opened = nullptr;  ///< the one open group file
  int bound_devices = 0;   ///< devices bound as character devices: the group cannot be opened
  container* in_container = nullptr;
  int container_users = 0;  ///< 1 for SET_CONTAINER, and one for each opened device
  vm_base* vm = nullptr;    ///< what set_kvm said last
  const void* dma_owner = nullptr;
  int dma_claims = 0;
  int references = 0;          ///< handed out by file_iommu_group (sPAPR)
  bool has_table_data = true;  ///< sPAPR: iommu_group_get_iommudata finds something
  std::vector<tce_window> windows{};

 private:
  int number_;
  const iommu_spec& iommu_;
};

/// An IOMMU domain and the groups in it.
struct domain {
  /// What its IOMMU does, and whose DMA goes through it.
  bool enforce_coherency = false;
  std::vector<vfio_group*> groups{};
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/objects.hpp>
#endif
