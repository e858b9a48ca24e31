// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The groups of the simulated VFIO. The world's lock guards them.

#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

class container;
class iommufd_file;  // NOLINT(cppcoreguidelines-virtual-class-destructor): it deletes itself

/// A group of VFIO, with the file /dev/vfio/N (the kernel's struct vfio_group).
class vfio_group {
 public:
  /// Makes a group without devices, which is closed and in no container.
  /// \param spec  the description of the group
  /// \param iommu the IOMMU in front of the group; must outlive the group
  vfio_group(group_spec spec, const iommu_spec& iommu) : hardware(std::move(spec), iommu) {}
  /// The N of /dev/vfio/N.
  [[nodiscard]] int number() const noexcept { return hardware.number(); }

  /// The group as the IOMMU sees it.
  iommu_group hardware;
  /// The devices of the group.
  std::vector<std::unique_ptr<vfio_device>> devices;
  /// The open file of the group. Null: the group is closed.
  file* opened = nullptr;
  /// The number of devices whose character device is bound to an iommufd. While it is not 0, the
  /// group cannot be opened.
  int bound_devices = 0;
  /// The container that the group is in. Null: none.
  container* in_container = nullptr;
  /// The iommufd that the group uses instead of a container. The group holds a reference on it.
  /// Null: none.
  iommufd_file* iommufd = nullptr;
  /// The number of users of the container: 1 for VFIO_GROUP_SET_CONTAINER, and 1 for each open
  /// device of the group.
  int container_users = 0;
  /// Whether the group is in a container or uses an iommufd instead.
  [[nodiscard]] bool has_container() const noexcept { return in_container || iommufd; }
  /// The VM that the last set_kvm gave to the group. Null: none.
  vm_base* vm = nullptr;
};

}  // namespace kvm_vfio::sim
