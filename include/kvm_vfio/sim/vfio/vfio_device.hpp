// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The passed-through devices of the simulated host. The world's lock guards them.

#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/low_power.hpp>
#include <kvm_vfio/sim/vfio/sriov.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

class device_file;
class file;
class iommufd_file;  // NOLINT(cppcoreguidelines-virtual-class-destructor): it deletes itself
class vfio_group;

/// A passed-through device of the simulated host, or another device of its group.
class vfio_device {
 public:
  /// \param spec    the description of the device; must outlive the device
  /// \param group   the group that the device is in; must outlive the device
  /// \param iommu   the IOMMU in front of the device
  /// \param number  the N of /dev/vfio/devices/vfioN; -1: VFIO does not drive the device
  /// \param release the Linux release whose VFIO is simulated
  vfio_device(const device_spec& spec, vfio_group& group, const iommu_spec& iommu, int number,
              const linux_release& release)
      : spec_(spec),
        group_(group),
        number_(number),
        // On x86 a function has several MSI vectors only if the IOMMU remaps interrupts.
        pci(spec.pci, release, iommu.interrupt_remapping ? 32 : 1,
            !spec.physical_function.empty()) {
    sriov.is_virtual = !spec.physical_function.empty();
  }
  /// The description of the device in the topology.
  [[nodiscard]] const device_spec& spec() const noexcept { return spec_; }
  /// The address of the device on its bus ("0000:00:04.0").
  [[nodiscard]] const std::string& name() const noexcept { return spec_.name; }
  /// The group that the device is in.
  [[nodiscard]] vfio_group& group() const noexcept { return group_; }
  /// The N of /dev/vfio/devices/vfioN. -1: VFIO does not drive the device.
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  const device_spec& spec_;
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
  /// The first of the open files of the device (`device_file::next`). Null: none is open.
  device_file* files = nullptr;
  /// The file of the group, on which the device holds a reference while it uses the container of
  /// the group. Null: the device does not use a container.
  file* group_file = nullptr;
  /// The iommufd of the group, to which the device is bound because the group uses it instead of a
  /// container. The device holds a reference on it. Null: none.
  iommufd_file* group_iommufd = nullptr;
  /// The number of the device in `group_iommufd`.
  std::uint32_t group_device_id = 0;
  /// The devices that a hot reset of this device names: those on its bus, with this one, in the
  /// order of their addresses, and behind each bridge those on the bus behind it. Empty: the bus
  /// cannot be reset.
  std::vector<vfio_device*> on_bus;
  /// What VFIO keeps of the device because of SR-IOV.
  sriov_function sriov;
  /// The PCI function of the device, which answers ioctls, reads and writes.
  pci_endpoint pci;
  /// The low-power state of the PCI function.
  low_power power;
};

}  // namespace kvm_vfio::sim
