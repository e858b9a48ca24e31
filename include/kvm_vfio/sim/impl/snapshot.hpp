// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of snapshot.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/irqs.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/coherency.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
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

KVM_VFIO_INLINE std::vector<mapping_state> state_of(const dma_map& m) {
  std::vector<mapping_state> s;
  s.reserve(m.size());
  for (const auto& [iova, x] : m.all())
    s.push_back({x.iova, x.size, x.address, x.flags, x.stale, x.file != nullptr});
  return s;
}

KVM_VFIO_INLINE std::vector<interrupt_state> state_of(const pci_irqs& i) {
  std::vector<interrupt_state> s;
  if (!i.any()) return s;
  for (std::uint32_t index = 0; index < VFIO_PCI_NUM_IRQS; ++index) {
    interrupt_state x{.index = index};
    for (std::uint32_t vector = 0; vector < i.count(index); ++vector)
      if (i.connected(index, vector)) x.vectors.push_back(static_cast<int>(vector));
    if (i.armed() != index && x.vectors.empty()) continue;
    x.masked = index == VFIO_PCI_INTX_IRQ_INDEX && i.masked();
    s.push_back(std::move(x));
  }
  return s;
}

KVM_VFIO_INLINE container_state state_of(const container& c) {
  container_state s{.open = c.open()};
  s.groups.reserve(c.groups().size());
  for (const vfio_group* g : c.groups()) s.groups.push_back(g->number());
  if (const iommu_driver* const d = c.driver()) {
    s.iommu = d->name();
    s.mappings = state_of(d->mappings());
    for (const auto& x : d->domains()) s.domains.push_back(state_of(*x));
  }
  return s;
}

KVM_VFIO_INLINE iommufd_state state_of(const iommufd_file& f) {
  using type = iommufd_object::type;
  iommufd_state s{.vfio_ioas = f.vfio_ioas()};
  const auto id_of = [&](const iommufd_object* wanted) -> std::uint32_t {
    for (const auto& [id, o] : f.objects())
      if (&o == wanted) return id;
    return 0;
  };
  for (const auto& [id, o] : f.objects()) {
    if (o.kind == type::ioas)
      s.spaces.push_back({.id = id, .mappings = state_of(o.space.mappings())});
    else if (o.kind == type::hwpt)
      s.tables.push_back({.id = id, .ioas = id_of(o.address_space), .pages = state_of(o.pages)});
    else if (o.kind == type::device) s.devices.push_back(o.device->name);
  }
  for (const auto& [id, o] : f.objects()) {
    if (o.kind != type::device || !o.attached_to) continue;
    const iommufd_object* const to = o.attached_to;
    const std::uint32_t wanted = id_of(to->kind == type::hwpt ? to->address_space : to);
    for (ioas_state& x : s.spaces)
      if (x.id == wanted) x.devices.push_back(o.device->name);
  }
  return s;
}

// Objects with equal texts keep their order.
KVM_VFIO_INLINE std::vector<std::size_t> sorted(const std::vector<std::string>& texts) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto at = order.end();
    while (at != order.begin() && texts[i] < texts[*(at - 1)]) --at;
    order.insert(at, i);
  }
  return order;
}

KVM_VFIO_INLINE int moved(const std::vector<std::size_t>& order, int index) {
  for (std::size_t i = 0; i < order.size(); ++i)
    if (index >= 0 && order[i] == static_cast<std::size_t>(index)) return static_cast<int>(i);
  return -1;
}

KVM_VFIO_INLINE std::string text_of(const std::vector<mapping_state>& all) {
  std::string out;
  for (const mapping_state& m : all)
    for (const std::uint64_t n : {m.iova, m.size, m.address, std::uint64_t{m.flags}})
      out += std::to_string(n) + " ";
  return out;
}

KVM_VFIO_INLINE snapshot canonical(const snapshot& given) {
  snapshot s = given;
  for (vm_state& v : s.vms) {
    std::vector<std::string> files;
    files.reserve(v.tracked.size());
    for (const file_state& f : v.tracked) files.push_back(f.name);
    std::vector<file_state> tracked;
    for (const std::size_t i : sorted(files)) tracked.push_back(std::move(v.tracked[i]));
    v.tracked = std::move(tracked);
  }
  snapshot out = s;
  std::vector<std::string> vms;
  for (const vm_state& v : s.vms) {
    std::string text;
    for (const file_state& f : v.tracked) text += f.name + "\n";
    text += v.has_device ? "1 " : "0 ";
    for (const int n : {v.noncoherent, v.assigned, v.users}) text += std::to_string(n) + " ";
    for (const group_state& g : s.groups)
      for (const device_state& d : g.devices)
        if (d.vm == v.name) text += d.name + "\n";
    vms.push_back(std::move(text));
  }
  std::vector<std::string> containers;
  for (const container_state& c : s.containers) {
    std::string text;
    for (const int g : c.groups) text += std::to_string(g) + " ";
    containers.push_back(text + c.iommu + (c.open ? "1" : "0") + text_of(c.mappings));
  }
  std::vector<std::string> iommufds;
  for (const iommufd_state& f : s.iommufds) {
    std::string text;
    for (const std::string& d : f.devices) text += d + "\n";
    for (const ioas_state& x : f.spaces) text += std::to_string(x.id) + ": " + text_of(x.mappings);
    text += std::to_string(f.vfio_ioas);
    iommufds.push_back(std::move(text));
  }
  const auto vm_order = sorted(vms);
  const auto container_order = sorted(containers);
  const auto iommufd_order = sorted(iommufds);
  const auto renamed = [&](std::string& vm) {
    for (std::size_t i = 0; i < vm_order.size(); ++i) {
      if (s.vms[vm_order[i]].name != vm) continue;
      vm = "vm" + std::to_string(i);
      return;
    }
    if (!vm.empty()) vm = "a destroyed VM";
  };
  for (std::size_t i = 0; i < vm_order.size(); ++i) out.vms[i] = s.vms[vm_order[i]];
  for (vm_state& v : out.vms) {
    renamed(v.name);
    for (file_state& f : v.tracked) renamed(f.vm);
  }
  for (std::size_t i = 0; i < container_order.size(); ++i)
    out.containers[i] = s.containers[container_order[i]];
  for (std::size_t i = 0; i < iommufd_order.size(); ++i)
    out.iommufds[i] = s.iommufds[iommufd_order[i]];
  for (group_state& g : out.groups) {
    renamed(g.vm);
    g.container = moved(container_order, g.container);
    g.iommufd = moved(iommufd_order, g.iommufd);
    for (device_state& d : g.devices) {
      renamed(d.vm);
      d.iommufd = moved(iommufd_order, d.iommufd);
    }
  }
  return out;
}

KVM_VFIO_INLINE bool same_state(const snapshot& a, const snapshot& b) {
  const snapshot x = canonical(a);
  const snapshot y = canonical(b);
  return x.release == y.release && x.vms == y.vms && x.groups == y.groups &&
         x.containers == y.containers && x.iommufds == y.iommufds;
}

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE snapshot::snapshot() = default;
KVM_VFIO_INLINE snapshot::snapshot(const snapshot&) = default;
KVM_VFIO_INLINE snapshot::snapshot(snapshot&&) noexcept = default;
KVM_VFIO_INLINE snapshot& snapshot::operator=(const snapshot&) = default;
KVM_VFIO_INLINE snapshot& snapshot::operator=(snapshot&&) noexcept = default;
KVM_VFIO_INLINE snapshot::~snapshot() = default;

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
  snapshot s;
  s.release = w.release().name;
  s.vms = std::move(vms);
  s.groups.reserve(w.groups().size());
  for (const auto& [number, g] : w.groups()) {
    s.groups.push_back({.number = number});
    s.groups.back().devices.resize(g->devices.size());
    for (std::size_t i = 0; i < g->devices.size(); ++i)
      s.groups.back().devices[i].name = g->devices[i]->name();
  }
  const guard held(w.lock());
  const auto index_in = [](const auto& all, const auto* wanted) {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i] == wanted) return static_cast<int>(i);
    return -1;
  };
  // Many groups in a row are often in one container, so the last answer is tried first.
  const container* last = nullptr;
  int last_index = -1;
  auto to = s.groups.begin();
  for (const auto& [number, g] : w.groups()) {
    group_state& state = *to++;
    state.open = g->opened != nullptr;
    state.viable = g->has_container() || !g->hardware.dma_owner_claimed();
    if (g->in_container != last) {
      last = g->in_container;
      last_index = index_in(w.all_containers(), last);
    }
    state.container = last_index;
    state.iommufd = g->iommufd ? index_in(w.all_iommufds(), g->iommufd) : -1;
    state.vm = detail::name_of(g->vm);
    for (std::size_t i = 0; i < g->devices.size(); ++i) {
      const vfio_device& from = *g->devices[i];
      device_state& d = state.devices[i];
      d.open_count = from.open_count;
      d.vm = detail::name_of(from.vm);
      d.holds_vm = from.holds_vm;
      const iommufd_file* const bound = from.bound ? from.bound->iommufd() : from.group_iommufd;
      d.iommufd = bound ? index_in(w.all_iommufds(), bound) : -1;
      d.interrupts = detail::state_of(from.pci.irqs);
    }
  }
  for (const container* c : w.all_containers()) s.containers.push_back(detail::state_of(*c));
  for (const iommufd_file* f : w.all_iommufds()) s.iommufds.push_back(detail::state_of(*f));
  return s;
}

}  // namespace kvm_vfio::sim
