// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The world at one moment, as plain data: what the dumps print.

#include <kvm_vfio/sim/symbols.hpp>

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
[[nodiscard]] inline std::string name_of(const machine* vm) { return vm ? vm->name() : ""; }
template <class T>
[[nodiscard]] int index_in(std::vector<const T*>& seen, const T* wanted) {
  if (!wanted) return -1;
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (seen[i] == wanted) return static_cast<int>(i);
  seen.push_back(wanted);
  return static_cast<int>(seen.size()) - 1;
}
[[nodiscard]] inline domain_state state_of(const domain& d) {
  domain_state s{.enforce_coherency = d.enforce_coherency};
  for (const vfio_group* g : d.groups) s.groups.push_back(g->number());
  return s;
}
[[nodiscard]] inline container_state state_of(const container& c) {
  container_state s;
  for (const vfio_group* g : c.groups()) s.groups.push_back(g->number());
  if (const iommu_driver* const d = c.driver()) {
    s.iommu = d->name();
    s.mappings = d->mappings().size();
    for (const auto& x : d->domains()) s.domains.push_back(state_of(*x));
  }
  return s;
}
[[nodiscard]] inline iommufd_state state_of(const iommufd_file& f) {
  iommufd_state s;
  for (const auto& [id, o] : f.objects()) {
    if (o.kind == iommufd_object::type::ioas) {
      ++s.spaces;
      s.mappings += o.space.mappings().size();
    } else if (o.kind == iommufd_object::type::hwpt) {
      s.tables.push_back(state_of(o.pages));
    }
  }
  return s;
}
}  // namespace detail

/// What VFIO tells of a file. With the world's lock held.
[[nodiscard]] inline file_state state_of(const generation& release, file& f) {
  const coherency_answer c = coherency_of(release, f);
  const machine* vm = nullptr;
  if (const vfio_group* g = f.as_group()) vm = g->vm;
  else if (const device_file* d = f.as_device()) vm = d->vm;
  return {f.name(), detail::name_of(vm), c.coherent, c.why, f.references()};
}

/// VFIO's side, with the VMs that `kernel::vms` told.
[[nodiscard]] inline snapshot snapshot_of(world& w, std::vector<vm_state> vms = {}) {
  snapshot s{.release = w.release().name, .vms = std::move(vms)};
  std::vector<const container*> containers;
  std::vector<const iommufd_file*> iommufds;
  const guard held(w.lock());
  for (const auto& [number, g] : w.groups()) {
    group_state state{.number = number,
                      .open = g->opened != nullptr,
                      .viable = g->in || !g->dma_owner_claimed(),
                      .container = detail::index_in<container>(containers, g->in),
                      .vm = detail::name_of(g->vm)};
    for (const auto& d : g->devices) {
      const iommufd_file* const fd = d->bound ? d->bound->iommufd() : nullptr;
      state.devices.push_back({d->name(), d->open_count, detail::name_of(d->vm), d->holds_vm,
                               detail::index_in<iommufd_file>(iommufds, fd), d->pci.irqs.any()});
    }
    s.groups.push_back(std::move(state));
  }
  for (const container* c : containers) s.containers.push_back(detail::state_of(*c));
  for (const iommufd_file* f : iommufds) s.iommufds.push_back(detail::state_of(*f));
  return s;
}

}  // namespace kvm_vfio::sim
