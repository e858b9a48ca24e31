// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The objects behind VFIO's files: groups, devices and IOMMU domains. The world's lock guards
/// them. These classes hold the state; the files decide what happens to it.

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

/// A passed-through device of the simulated host, or another device of its group.
class vfio_device {
 public:
  /// \param spec    the description of the device
  /// \param group   the group that the device is in; must outlive the device
  /// \param number  the N of /dev/vfio/devices/vfioN; -1: VFIO does not drive the device
  /// \param release the Linux release whose VFIO is simulated
  vfio_device(const device_spec& spec, vfio_group& group, int number, const linux_release& release);
  /// The description of the device in the topology.
  [[nodiscard]] const device_spec& spec() const noexcept { return spec_; }
  /// The address of the device on its bus ("0000:00:04.0").
  [[nodiscard]] const std::string& name() const noexcept { return spec_.name; }
  /// The group that the device is in.
  [[nodiscard]] vfio_group& group() const noexcept { return group_; }
  /// The N of /dev/vfio/devices/vfioN. -1: VFIO does not drive the device.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  device_spec spec_;
  vfio_group& group_;
  int number_;

 public:
  /// How often the device is open.
  int open_count = 0;
  /// The VM that the driver saw when the device was opened. Null after the last close, or if the
  /// driver saw no VM.
  vm_base* vm = nullptr;
  /// Whether the device holds a reference on `vm`.
  bool holds_vm = false;
  /// The file of the character device that is bound to an iommufd. Null: none is.
  device_file* bound = nullptr;
  /// The PCI function of the device, which answers ioctls, reads and writes.
  pci_endpoint pci;
};

/// A range of I/O virtual addresses that a TCE table translates (POWER).
struct tce_window {
  /// The size of a page as a power of two: a page has 2^page_shift bytes.
  std::uint32_t page_shift = 12;
  /// The first address of the window, in pages.
  std::uint64_t offset = 0;
  /// The size of the window, in pages.
  std::uint64_t size = 0;
  /// Compares all members.
  friend bool operator==(const tce_window&, const tce_window&) = default;
};

/// A group. One object stands for the kernel's struct iommu_group and VFIO's struct vfio_group.
class vfio_group {
 public:
  /// Makes a group without devices, which is closed and in no container.
  /// \param spec  the description of the group
  /// \param iommu the IOMMU in front of the group; must outlive the group
  vfio_group(const group_spec& spec, const iommu_spec& iommu);
  /// The N of /dev/vfio/N.
  [[nodiscard]] int number() const noexcept { return number_; }
  /// The IOMMU in front of the group.
  [[nodiscard]] const iommu_spec& iommu() const noexcept { return iommu_; }

  /// Whether a driver of the host, not of VFIO, drives a device of the group.
  [[nodiscard]] bool owned_by_host() const noexcept;
  /// Whether VFIO drives a device of the group. Only then /dev/vfio/N exists.
  [[nodiscard]] bool exists() const noexcept;
  /// Whether all devices of the group are mediated devices. Then there is no IOMMU domain, and
  /// nobody needs to claim the group's DMA.
  [[nodiscard]] bool mediated() const noexcept;
  /// Whether the IOMMU can enforce coherency for every device of the group that VFIO drives.
  [[nodiscard]] bool can_enforce_coherency() const noexcept;
  /// Whether the IOMMU can enforce coherency for a device of the group.
  [[nodiscard]] bool enforces_coherency(const vfio_device& d) const noexcept;
  /// Claims the DMA of the group for an owner (iommu_group_claim_dma_owner). An owner may claim it
  /// several times.
  /// \param who the address of the owner
  /// \par Errors
  /// - `errc::perm`: a driver of the host drives a device of the group, or another owner has
  ///   claimed the DMA
  [[nodiscard]] errc claim_dma(const void* who) noexcept;
  /// Gives one claim back (iommu_group_release_dma_owner).
  void release_dma() noexcept;
  /// Whether the host or an owner has claimed the DMA (iommu_group_dma_owner_claimed). A group that
  /// is in no container is viable if this function returns false.
  [[nodiscard]] bool dma_owner_claimed() const noexcept;

  /// The devices of the group.
  std::vector<std::unique_ptr<vfio_device>> devices;
  /// The open file of the group. Null: the group is closed.
  file* opened = nullptr;
  /// The number of devices whose character device is bound to an iommufd. While it is not 0, the
  /// group cannot be opened.
  int bound_devices = 0;
  /// The container that the group is in. Null: none.
  container* in_container = nullptr;
  /// The number of users of the container: 1 for VFIO_GROUP_SET_CONTAINER, and 1 for each open
  /// device of the group.
  int container_users = 0;
  /// The VM that the last set_kvm gave to the group. Null: none.
  vm_base* vm = nullptr;
  /// The address of the owner that has claimed the DMA. Null: nobody has.
  const void* dma_owner = nullptr;
  /// The number of claims of this owner.
  int dma_claims = 0;
  /// The number of references that file_iommu_group handed out (POWER).
  int references = 0;
  /// Whether iommu_group_get_iommudata finds table data (POWER). A test sets it to false.
  bool has_table_data = true;
  /// The windows of the group's hardware table (POWER).
  std::vector<tce_window> windows{};

 private:
  int number_;
  const iommu_spec& iommu_;
};

/// An IOMMU domain.
struct domain {
  /// Whether the IOMMU makes all DMA through the domain coherent.
  bool enforce_coherency = false;
  /// The groups whose DMA goes through the domain.
  std::vector<vfio_group*> groups{};
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/objects.hpp>
#endif
