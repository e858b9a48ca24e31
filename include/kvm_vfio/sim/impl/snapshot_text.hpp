// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of snapshot_text.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/observe/json_writer.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE std::string list_of(const std::vector<int>& numbers) {
  std::string out;
  for (const int n : numbers) out += (out.empty() ? "" : " ") + std::to_string(n);
  return out;
}

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::string to_text(const snapshot& s) {
  std::string out = s.release + "\n";
  for (const vm_state& v : s.vms) {
    out += v.name + ": " + std::to_string(v.users) + " users, " +
           (v.noncoherent ? "noncoherent DMA" : "coherent") +
           (v.has_device ? "" : ", no kvm-vfio") + "\n";
    for (const file_state& f : v.tracked)
      out += "  " + f.name + " (" + (f.vm.empty() ? "no VM" : f.vm) +
             "): " + (f.coherent ? "coherent" : "noncoherent") + ", " + f.why + "\n";
  }
  for (std::size_t i = 0; i < s.containers.size(); ++i) {
    const container_state& c = s.containers[i];
    out += "container " + std::to_string(i) + ": groups " + detail::list_of(c.groups) + ", " +
           (c.iommu.empty() ? "no IOMMU" : c.iommu) + ", " + std::to_string(c.mappings) +
           " mappings\n";
    for (const domain_state& d : c.domains)
      out += "  domain of groups " + detail::list_of(d.groups) +
             (d.enforce_coherency ? ": coherency enforced\n" : ": not enforced\n");
  }
  for (std::size_t i = 0; i < s.iommufds.size(); ++i)
    out += "iommufd " + std::to_string(i) + ": " + std::to_string(s.iommufds[i].spaces) +
           " spaces, " + std::to_string(s.iommufds[i].tables.size()) + " page tables, " +
           std::to_string(s.iommufds[i].mappings) + " mappings\n";
  for (const group_state& g : s.groups) {
    std::string devices;
    for (const device_state& d : g.devices) {
      if (d.open_count == 0) continue;
      devices += "  " + d.name + ": opened " + std::to_string(d.open_count) + " times, " +
                 (d.vm.empty() ? "without a VM" : "of " + d.vm) + (d.holds_vm ? ", holds it" : "") +
                 (d.irqs ? ", interrupts armed" : "") + "\n";
    }
    if (!g.open && devices.empty() && g.viable) continue;
    out += "group " + std::to_string(g.number) + ":" + (g.open ? " open" : " closed") +
           (g.viable ? "" : ", not viable") +
           (g.container < 0 ? "" : ", in container " + std::to_string(g.container)) +
           (g.vm.empty() ? "" : ", of " + g.vm) + "\n" + devices;
  }
  return out;
}

KVM_VFIO_INLINE std::string to_json(const snapshot& s) {
  detail::json_writer w;
  const auto domains = [&](const char* name, const std::vector<domain_state>& all) {
    w.array(name, all, [&](const domain_state& d) {
      w.field("enforce_coherency", d.enforce_coherency).field("groups", d.groups);
    });
  };
  w.open('{').field("release", s.release);
  w.array("vms", s.vms, [&](const vm_state& v) {
    w.field("name", v.name).field("users", v.users).field("noncoherent", v.noncoherent);
    w.field("assigned", v.assigned).field("kvm_vfio", v.has_device);
    w.array("tracked", v.tracked, [&](const file_state& f) {
      w.field("name", f.name).field("vm", f.vm).field("coherent", f.coherent);
      w.field("why", f.why).field("references", f.references);
    });
  });
  w.array("groups", s.groups, [&](const group_state& g) {
    w.field("number", g.number).field("open", g.open).field("viable", g.viable);
    w.field("container", g.container).field("vm", g.vm);
    w.array("devices", g.devices, [&](const device_state& d) {
      w.field("name", d.name).field("open_count", d.open_count).field("vm", d.vm);
      w.field("holds_vm", d.holds_vm).field("iommufd", d.iommufd).field("irqs", d.irqs);
    });
  });
  w.array("containers", s.containers, [&](const container_state& c) {
    w.field("iommu", c.iommu).field("groups", c.groups).field("mappings", c.mappings);
    domains("domains", c.domains);
  });
  w.array("iommufds", s.iommufds, [&](const iommufd_state& f) {
    w.field("spaces", f.spaces).field("mappings", f.mappings);
    domains("tables", f.tables);
  });
  return w.close('}').take() + "\n";
}

KVM_VFIO_INLINE std::string to_dot(const snapshot& s) {
  using detail::in_quotes;
  std::string out = "digraph vfio {\n  rankdir=LR;\n  node [shape=box];\n";
  const auto edge = [&](const std::string& a, const std::string& b, const std::string& rest) {
    out += "  " + in_quotes(a) + " -> " + in_quotes(b) + rest + ";\n";
  };
  const auto node = [&](const std::string& id, const std::string& label, const char* rest) {
    out += "  " + in_quotes(id) + " [label=" + in_quotes(label) + rest + "];\n";
  };
  for (const vm_state& v : s.vms) {
    node(v.name, v.name + (v.noncoherent ? " (noncoherent)" : ""),
         v.noncoherent ? ", shape=ellipse, color=red" : ", shape=ellipse");
    int order = 0;
    for (const file_state& f : v.tracked)
      edge(v.name, f.name,
           " [label=" + std::to_string(++order) + (f.coherent ? "]" : ", color=red]"));
  }
  for (const group_state& g : s.groups) {
    const std::string id = "/dev/vfio/" + std::to_string(g.number);
    node(id, id, g.viable ? "" : ", style=dashed");
    for (const device_state& d : g.devices) {
      node(d.name, d.name, d.open_count ? ", style=bold" : "");
      edge(id, d.name, " [arrowhead=none]");
      if (!d.vm.empty()) edge(d.name, d.vm, d.holds_vm ? "" : " [style=dashed]");
      if (d.iommufd >= 0) edge(d.name, "iommufd " + std::to_string(d.iommufd), "");
    }
    if (g.container >= 0) edge(id, "container " + std::to_string(g.container), "");
  }
  for (std::size_t i = 0; i < s.containers.size(); ++i) {
    const std::string id = "container " + std::to_string(i);
    const container_state& c = s.containers[i];
    node(id, id + (c.iommu.empty() ? " (no IOMMU)" : " (" + c.iommu + ")"), "");
    for (std::size_t j = 0; j < c.domains.size(); ++j) {
      const std::string domain = id + " domain " + std::to_string(j);
      node(domain, c.domains[j].enforce_coherency ? "coherency enforced" : "not enforced",
           c.domains[j].enforce_coherency ? "" : ", color=red");
      edge(id, domain, "");
    }
  }
  return out + "}\n";
}

}  // namespace kvm_vfio::sim
