// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The world at one moment, as plain data: what the dumps print.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/symbols.hpp>

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

namespace kvm_vfio::sim {

/// A file that a kvm-vfio tracks.
struct file_state {
  /// A path, or a device's name.
  std::string name{};
  std::string vm{};  ///< whom set_kvm named last; empty: nobody
  /// What VFIO answers, and why.
  bool coherent = true;
  std::string why{};
  /// References on it.
  int references = 0;
};
/// A VM.
struct vm_state {
  /// "vm0", in the order of creation.
  std::string name{};
  /// References on it, and what KVM was told about it.
  int users = 0;
  int noncoherent = 0;  ///< registrations
  int assigned = 0;
  bool has_device = false;            ///< a kvm-vfio
  std::vector<file_state> tracked{};  ///< in order
};
/// A device.
struct device_state {
  /// Its address on the bus.
  std::string name{};
  /// How often it is open.
  int open_count = 0;
  std::string vm{};  ///< whom its open saw
  /// Whether it holds a reference on the VM.
  bool holds_vm = false;
  int iommufd = -1;   ///< index in `snapshot::iommufds`; -1: not bound
  bool irqs = false;  ///< interrupts are armed
};
/// A group.
struct group_state {
  /// What GET_STATUS tells, and more.
  int number = 0;
  bool open = false;
  bool viable = true;
  int container = -1;  ///< index in `snapshot::containers`
  std::string vm{};
  /// Its devices, in the topology's order.
  std::vector<device_state> devices{};
};
/// A domain of a container, or a page table of an iommufd.
struct domain_state {
  /// What its IOMMU does.
  bool enforce_coherency = false;
  std::vector<int> groups{};  ///< their numbers; iommufd: once for each device
};
/// A container.
struct container_state {
  std::string iommu{};  ///< empty: not set
  /// Its groups by number, its domains, and how many mappings.
  std::vector<int> groups{};
  std::vector<domain_state> domains{};
  std::size_t mappings = 0;
};
/// An iommufd.
struct iommufd_state {
  /// How many address spaces and mappings; its page tables.
  std::size_t spaces = 0;
  std::size_t mappings = 0;
  std::vector<domain_state> tables{};
};
/// All of it.
struct snapshot {
  /// Which Linux, its VMs, its groups.
  std::string release{};
  std::vector<vm_state> vms{};
  std::vector<group_state> groups{};
  std::vector<container_state> containers{};  ///< those that hold groups
  std::vector<iommufd_state> iommufds{};      ///< those that hold devices
};

namespace detail {
[[nodiscard]] inline std::string name_of(const vm_base* vm) { return vm ? vm->name() : ""; }
/// Numbers objects as they are first seen.
template <class T>
class numbering {
 public:
  /// -1: null.
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

/// What VFIO tells of a file. Holds the world's lock for the asking only.
[[nodiscard]] file_state state_of(world& w, file& f);

/// VFIO's side, with the VMs that `kernel::vms` told. What the topology says, and the memory for
/// the rest, comes before the world's lock is taken.
[[nodiscard]] snapshot snapshot_of(world& w, std::vector<vm_state> vms = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/snapshot.hpp>
#endif
