// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The world at one moment, as plain data: what the dumps print.

#include <kvm_vfio/sim/symbols.hpp>

namespace kvm_vfio::sim {

struct file_state {
  std::string name{};
  std::string vm{};  ///< whom set_kvm named last; empty: nobody
  bool coherent = true;
  std::string why{};
  int references = 0;
};
struct vm_state {
  std::string name{};
  int users = 0;
  int noncoherent = 0;  ///< registrations
  int assigned = 0;
  bool has_device = false;            ///< a kvm-vfio
  std::vector<file_state> tracked{};  ///< in order
};
struct device_state {
  std::string name{};
  int open_count = 0;
  std::string vm{};  ///< whom its open saw
  bool holds_vm = false;
  int iommufd = -1;   ///< index in `snapshot::iommufds`; -1: not bound
  bool irqs = false;  ///< interrupts are armed
};
struct group_state {
  int number = 0;
  bool open = false;
  bool viable = true;
  int container = -1;  ///< index in `snapshot::containers`
  std::string vm{};
  std::vector<device_state> devices{};
};
struct domain_state {
  bool enforce_coherency = false;
  std::vector<int> groups{};  ///< their numbers; iommufd: once for each device
};
struct container_state {
  std::string iommu{};  ///< empty: not set
  std::vector<int> groups{};
  std::vector<domain_state> domains{};
  std::size_t mappings = 0;
};
struct iommufd_state {
  std::size_t spaces = 0;
  std::size_t mappings = 0;
  std::vector<domain_state> tables{};
};
struct snapshot {
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
