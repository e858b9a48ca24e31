// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of snapshot_difference.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE std::vector<std::string> facts_of(const snapshot& s, bool many) {
  std::vector<std::string> out{"release " + s.release};
  const auto counted = [](int n, const char* what) { return std::to_string(n) + " " + what; };
  const auto of = [](const std::string& vm) { return vm.empty() ? ", no VM" : ", of " + vm; };
  const auto names = [](const std::vector<std::string>& devices) {
    std::string text = devices.empty() ? ": no devices" : ": devices";
    for (const std::string& d : devices) text += " " + d;
    return text;
  };
  for (const vm_state& v : s.vms) {
    out.push_back(v.name + ": " + counted(v.users, "users, ") +
                  counted(v.noncoherent, "registrations of noncoherent DMA, ") +
                  counted(v.assigned, "assigned files") + (v.has_device ? ", kvm-vfio" : ""));
    for (const slot_state& m : v.memory) out.push_back(v.name + ": " + text_of(m));
    for (const int gsi : v.irqfds) out.push_back(v.name + ": irqfd of GSI " + std::to_string(gsi));
    if (v.ioeventfds) out.push_back(v.name + ": " + counted(v.ioeventfds, "ioeventfds"));
    for (const file_state& f : v.tracked)
      out.push_back(v.name + " tracks " + f.name + of(f.vm) + ", " +
                    (f.coherent ? "coherent, " : "noncoherent, ") + f.why + ", " +
                    counted(f.references, "references"));
  }
  for (const group_state& g : s.groups) {
    const std::string id = "group " + std::to_string(g.number);
    out.push_back(id + (g.open ? ": open" : ": closed") + (g.viable ? "" : ", not viable") +
                  (g.container < 0 ? "" : ", in a container") +
                  (g.iommufd < 0 ? "" : ", in an iommufd") + of(g.vm));
    for (const device_state& d : g.devices) {
      out.push_back("device " + d.name + ": opened " + counted(d.open_count, "times") + of(d.vm) +
                    (d.holds_vm ? ", holds it" : "") + (d.iommufd < 0 ? "" : ", in an iommufd"));
      for (const interrupt_state& i : d.interrupts)
        out.push_back("device " + d.name + ": armed interrupt " + text_of(i));
    }
  }
  for (const container_state& c : s.containers) {
    const std::string id = c.groups.empty()
                               ? "container without groups"
                               : "container of group " + std::to_string(c.groups.front());
    out.push_back(id + ": " + (c.groups.empty() ? "" : "groups " + list_of(c.groups) + ", ") +
                  (c.iommu.empty() ? "no IOMMU" : c.iommu) + (c.open ? "" : ", closed"));
    for (const domain_state& d : c.domains)
      out.push_back(id + ": domain of groups " + list_of(d.groups) +
                    (d.enforce_coherency ? ", coherency enforced" : ", not enforced"));
    for (const mapping_state& m : c.mappings) out.push_back(id + ": mapping " + text_of(m));
  }
  for (const iommufd_state& f : s.iommufds) {
    std::string id = "iommufd";
    if (many) id += f.devices.empty() ? " without devices" : " of " + f.devices.front();
    out.push_back(id + names(f.devices));
    for (const ioas_state& x : f.spaces) {
      const std::string space = id + ": IOAS " + std::to_string(x.id);
      out.push_back(space + (x.id == f.vfio_ioas ? ", for VFIO" : "") + names(x.devices));
      for (const mapping_state& m : x.mappings) out.push_back(space + ": mapping " + text_of(m));
    }
    for (const table_state& t : f.tables)
      out.push_back(id + ": page table " + std::to_string(t.id) + " of IOAS " +
                    std::to_string(t.ioas) + ": groups " + list_of(t.pages.groups) +
                    (t.pages.enforce_coherency ? ", coherency enforced" : ", not enforced"));
  }
  return out;
}

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::string difference(const snapshot& before, const snapshot& after) {
  if (before == after) return {};
  const bool many = before.iommufds.size() > 1 || after.iommufds.size() > 1;
  // Equal numbers of VMs with other names: the names only tell which VMs existed before.
  bool renamed = false;
  for (std::size_t i = 0; i < before.vms.size() && before.vms.size() == after.vms.size(); ++i)
    renamed = renamed || before.vms[i].name != after.vms[i].name;
  const auto old = detail::facts_of(renamed ? detail::canonical(before) : before, many);
  const auto now = detail::facts_of(renamed ? detail::canonical(after) : after, many);
  std::map<std::string, long> count;
  for (const std::string& line : now) ++count[line];
  std::string out;
  for (const std::string& line : old)
    if (--count[line] < 0) out += "- " + line + "\n";
  for (const std::string& line : old)
    if (count[line] < 0) ++count[line];
  for (const std::string& line : now)
    if (count[line] > 0) {
      --count[line];
      out += "+ " + line + "\n";
    }
  return out.empty() ? "- the order of things was another one\n" : out;
}

}  // namespace kvm_vfio::sim
