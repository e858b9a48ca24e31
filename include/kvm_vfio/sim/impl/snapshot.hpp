// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of snapshot.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/coherency.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE domain_state state_of(const domain& d) {
  domain_state s{.enforce_coherency = d.enforce_coherency};
  s.groups.reserve(d.groups.size());
  for (const iommu_group* g : d.groups) s.groups.push_back(g->number());
  return s;
}

KVM_VFIO_INLINE container_state state_of(const container& c) {
  container_state s;
  s.groups.reserve(c.groups().size());
  for (const vfio_group* g : c.groups()) s.groups.push_back(g->number());
  if (const iommu_driver* const d = c.driver()) {
    s.iommu = d->name();
    s.mappings = d->mappings().size();
    for (const auto& x : d->domains()) s.domains.push_back(state_of(*x));
  }
  return s;
}

KVM_VFIO_INLINE iommufd_state state_of(const iommufd_file& f) {
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

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE file_state state_of(world& w, file& f) {
  coherency_answer c;
  std::string vm;
  {
    const guard held(w.lock());
    c = coherency_of(w.release(), f);
    if (const vfio_group* g = group_of(f)) vm = detail::name_of(g->vm);
    else if (const device_file* d = device_of(f)) vm = detail::name_of(d->vm);
  }
  return {f.name(), std::move(vm), c.coherent, c.why, f.references()};
}

KVM_VFIO_INLINE snapshot snapshot_of(world& w, std::vector<vm_state> vms) {
  snapshot s{.release = w.release().name, .vms = std::move(vms)};
  s.groups.reserve(w.groups().size());
  for (const auto& [number, g] : w.groups()) {
    s.groups.push_back({.number = number});
    s.groups.back().devices.resize(g->devices.size());
    for (std::size_t i = 0; i < g->devices.size(); ++i)
      s.groups.back().devices[i].name = g->devices[i]->name();
  }
  detail::numbering<container> containers;
  detail::numbering<iommufd_file> iommufds;
  const guard held(w.lock());
  auto to = s.groups.begin();
  for (const auto& [number, g] : w.groups()) {
    group_state& state = *to++;
    state.open = g->opened != nullptr;
    state.viable = g->in_container || !g->hardware.dma_owner_claimed();
    state.container = containers.index_of(g->in_container);
    state.vm = detail::name_of(g->vm);
    for (std::size_t i = 0; i < g->devices.size(); ++i) {
      const vfio_device& from = *g->devices[i];
      device_state& d = state.devices[i];
      d.open_count = from.open_count;
      d.vm = detail::name_of(from.vm);
      d.holds_vm = from.holds_vm;
      d.iommufd = iommufds.index_of(from.bound ? from.bound->iommufd() : nullptr);
      d.irqs = from.pci.irqs.any();
    }
  }
  for (const container* c : containers.all()) s.containers.push_back(detail::state_of(*c));
  for (const iommufd_file* f : iommufds.all()) s.iommufds.push_back(detail::state_of(*f));
  return s;
}

}  // namespace kvm_vfio::sim
