// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The state of a simulated kernel as plain data: a world with its VMs. snapshot_text.hpp writes
/// the state as text.

#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

namespace kvm_vfio::sim {

/// The state of a file that a kvm-vfio tracks.
struct file_state {
  /// The path of the group's file, or the name of the device.
  std::string name{};
  /// The name of the VM that the last set_kvm gave to the file. Empty: no VM.
  std::string vm{};
  /// Whether VFIO answers that the file is enforced coherent.
  bool coherent = true;
  /// The reason for this answer, in words.
  std::string why{};
  /// The number of references on the open file.
  int references = 0;
};
/// The state of a VM.
struct vm_state {
  /// The name: "vm" and the number of the VM, in the order of creation ("vm0").
  std::string name{};
  /// The number of references on the VM.
  int users = 0;
  /// How often noncoherent DMA is registered.
  int noncoherent = 0;
  /// The number of assigned files (Linux up to 6.12).
  int assigned = 0;
  /// Whether the VM has a kvm-vfio.
  bool has_device = false;
  /// The files that the kvm-vfio tracks, in the order of its list.
  std::vector<file_state> tracked{};
};
/// The state of a passed-through device.
struct device_state {
  /// The address of the device on its bus.
  std::string name{};
  /// How often the device is open.
  int open_count = 0;
  /// The name of the VM that the driver saw when the device was opened. Empty: no VM.
  std::string vm{};
  /// Whether the device holds a reference on this VM.
  bool holds_vm = false;
  /// The index in `snapshot::iommufds` of the iommufd that the device is bound to. -1: none.
  int iommufd = -1;
  /// Whether an interrupt of the device is armed.
  bool irqs = false;
};
/// The state of a group.
struct group_state {
  /// The N of /dev/vfio/N.
  int number = 0;
  /// Whether the file of the group is open.
  bool open = false;
  /// The flag VFIO_GROUP_FLAGS_VIABLE that VFIO_GROUP_GET_STATUS returns.
  bool viable = true;
  /// The index in `snapshot::containers` of the container that the group is in. -1: none.
  int container = -1;
  /// The name of the VM that the last set_kvm gave to the group. Empty: no VM.
  std::string vm{};
  /// The devices of the group, in the order of the topology.
  std::vector<device_state> devices{};
};
/// The state of an IOMMU domain: a domain of a container, or a page table of an iommufd.
struct domain_state {
  /// Whether the IOMMU makes all DMA through the domain coherent.
  bool enforce_coherency = false;
  /// The numbers of the groups in the domain. In a page table of an iommufd a group stands once for
  /// each attached device.
  std::vector<int> groups{};
};
/// The state of a container.
struct container_state {
  /// The name of the IOMMU driver. Empty: VFIO_SET_IOMMU has not succeeded yet.
  std::string iommu{};
  /// The numbers of the groups in the container, in the order in which they joined.
  std::vector<int> groups{};
  /// The IOMMU domains of the container.
  std::vector<domain_state> domains{};
  /// The number of mappings.
  std::size_t mappings = 0;
};
/// The state of an iommufd.
struct iommufd_state {
  /// The number of I/O address spaces (IOAS).
  std::size_t spaces = 0;
  /// The number of mappings in all address spaces together.
  std::size_t mappings = 0;
  /// The page tables (HWPT).
  std::vector<domain_state> tables{};
};
/// The state of a world and of its VMs.
struct snapshot {
  /// The name of the Linux release ("Linux 7.3").
  std::string release{};
  /// The VMs that still have users, in the order of creation.
  std::vector<vm_state> vms{};
  /// All groups, by their numbers.
  std::vector<group_state> groups{};
  /// The containers that have a group in them.
  std::vector<container_state> containers{};
  /// The iommufds that have a bound device.
  std::vector<iommufd_state> iommufds{};
};

namespace detail {
[[nodiscard]] inline std::string name_of(const vm_base* vm) { return vm ? vm->name() : ""; }
/// Gives numbers to objects, in the order in which they are first seen.
template <class T>
class numbering {
 public:
  /// The number of an object, counted from 0. -1: the pointer is null.
  [[nodiscard]] int index_of(const T* wanted) {
    if (!wanted) return -1;
    if (!all_.empty() && all_[static_cast<std::size_t>(last_)] == wanted) return last_;
    const auto [at, added] = index_.try_emplace(wanted, static_cast<int>(all_.size()));
    if (added) all_.push_back(wanted);
    return last_ = at->second;
  }
  [[nodiscard]] const std::vector<const T*>& all() const noexcept { return all_; }

 private:
  std::vector<const T*> all_;
  std::unordered_map<const T*, int> index_;
  int last_ = 0;
};
[[nodiscard]] domain_state state_of(const domain& d);
[[nodiscard]] container_state state_of(const container& c);
[[nodiscard]] iommufd_state state_of(const iommufd_file& f);
}  // namespace detail

/// Reads the state of a file. Holds the world's lock while VFIO is asked for the coherency and the
/// VM of the file.
[[nodiscard]] file_state state_of(world& w, file& f);

/// Reads the state of a world. Names and most memory are prepared before the world's lock is taken,
/// so that calls of other threads wait only a short time.
/// \param w   the world
/// \param vms the VMs, from `kernel::vms`; they become a part of the result
[[nodiscard]] snapshot snapshot_of(world& w, std::vector<vm_state> vms = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/snapshot.hpp>
#endif
