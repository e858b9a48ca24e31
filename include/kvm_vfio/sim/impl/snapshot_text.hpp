// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of snapshot_text.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/observe/json_writer.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
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

KVM_VFIO_INLINE std::string text_of(const mapping_state& m) {
  return in_hex(m.iova) + " to " + in_hex(m.iova + m.size - 1) + ": " +
         (m.stale ? "without memory"
                  : (m.of_file ? "memory of a file from " : "memory ") + in_hex(m.address)) +
         ", flags " + in_hex(m.flags);
}

KVM_VFIO_INLINE std::string text_of(const slot_state& m) {
  return "memory slot " + std::to_string(m.number) + ": " + in_hex(m.guest) + " to " +
         in_hex(m.guest + m.size - 1) + ", memory " + in_hex(m.address) + ", flags " +
         in_hex(m.flags);
}

KVM_VFIO_INLINE std::string text_of(const interrupt_state& i) {
  static constexpr const char* names[] = {"INTx", "MSI", "MSI-X", "error", "request"};
  const std::string name = i.index < 5 ? names[i.index] : std::to_string(i.index);
  return name + (i.vectors.empty() ? " (no eventfd" : " (vectors " + list_of(i.vectors)) +
         (i.masked ? ", masked)" : ")");
}

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::string to_text(const snapshot& s) {
  std::string out = s.release + "\n";
  const auto list_mappings = [&](const std::vector<mapping_state>& all) {
    for (const mapping_state& m : all) out += "    " + detail::text_of(m) + "\n";
  };
  for (const vm_state& v : s.vms) {
    out += v.name + ": " + std::to_string(v.users) + " users, " +
           (v.noncoherent ? "noncoherent DMA" : "coherent") +
           (v.has_device ? "" : ", no kvm-vfio") + "\n";
    for (const slot_state& m : v.memory) out += "  " + detail::text_of(m) + "\n";
    for (const int gsi : v.irqfds) out += "  irqfd of GSI " + std::to_string(gsi) + "\n";
    if (v.ioeventfds) out += "  " + std::to_string(v.ioeventfds) + " ioeventfds\n";
    for (const file_state& f : v.tracked)
      out += "  " + f.name + " (" + (f.vm.empty() ? "no VM" : f.vm) +
             "): " + (f.coherent ? "coherent" : "noncoherent") + ", " + f.why + "\n";
  }
  for (std::size_t i = 0; i < s.containers.size(); ++i) {
    const container_state& c = s.containers[i];
    out += "container " + std::to_string(i) + ": " +
           (c.groups.empty() ? "no groups" : "groups " + detail::list_of(c.groups)) + ", " +
           (c.iommu.empty() ? "no IOMMU" : c.iommu) + ", " + std::to_string(c.mappings.size()) +
           " mappings" + (c.open ? "\n" : ", closed\n");
    for (const domain_state& d : c.domains)
      out += "  domain of groups " + detail::list_of(d.groups) +
             (d.enforce_coherency ? ": coherency enforced\n" : ": not enforced\n");
    list_mappings(c.mappings);
  }
  for (std::size_t i = 0; i < s.iommufds.size(); ++i) {
    const iommufd_state& f = s.iommufds[i];
    out += "iommufd " + std::to_string(i) + ":";
    for (const std::string& d : f.devices) out += " " + d;
    out += f.devices.empty() ? " no devices\n" : "\n";
    for (const ioas_state& x : f.spaces) {
      out +=
          "  IOAS " + std::to_string(x.id) + ": " + std::to_string(x.mappings.size()) + " mappings";
      if (x.id == f.vfio_ioas) out += ", for VFIO";
      for (const std::string& d : x.devices) out += ", " + d;
      out += "\n";
      list_mappings(x.mappings);
    }
    for (const table_state& t : f.tables)
      out += "  page table " + std::to_string(t.id) + " of IOAS " + std::to_string(t.ioas) +
             ": groups " + detail::list_of(t.pages.groups) +
             (t.pages.enforce_coherency ? ", coherency enforced\n" : ", not enforced\n");
  }
  for (const group_state& g : s.groups) {
    std::string devices;
    for (const device_state& d : g.devices) {
      if (d.open_count == 0) continue;
      devices += "  " + d.name + ": opened " + std::to_string(d.open_count) + " times, " +
                 (d.vm.empty() ? "without a VM" : "of " + d.vm) + (d.holds_vm ? ", holds it" : "") +
                 "\n";
      for (const interrupt_state& x : d.interrupts)
        devices += "    armed: " + detail::text_of(x) + "\n";
    }
    if (!g.open && devices.empty() && g.viable) continue;
    out += "group " + std::to_string(g.number) + ":" + (g.open ? " open" : " closed") +
           (g.viable ? "" : ", not viable") +
           (g.container < 0 ? "" : ", in container " + std::to_string(g.container)) +
           (g.iommufd < 0 ? "" : ", in iommufd " + std::to_string(g.iommufd)) +
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
  const auto mappings = [&](const std::vector<mapping_state>& all) {
    w.array("mappings", all, [&](const mapping_state& m) {
      w.field("iova", m.iova).field("size", m.size);
      w.field("address", m.address).field("flags", m.flags);
      w.field("stale", m.stale);
      if (m.of_file) w.field("of_file", true);
    });
  };
  const auto names = [&](const char* name, const std::vector<std::string>& all) {
    w.key(name).open('[');
    for (const std::string& text : all) w.value(text);
    w.close(']');
  };
  w.open('{').field("release", s.release);
  w.array("vms", s.vms, [&](const vm_state& v) {
    w.field("name", v.name).field("users", v.users).field("noncoherent", v.noncoherent);
    w.field("assigned", v.assigned).field("kvm_vfio", v.has_device);
    w.array("memory", v.memory, [&](const slot_state& m) {
      w.field("number", m.number).field("flags", m.flags).field("guest", m.guest);
      w.field("size", m.size).field("address", m.address);
    });
    w.field("irqfds", v.irqfds).field("ioeventfds", v.ioeventfds);
    w.array("tracked", v.tracked, [&](const file_state& f) {
      w.field("name", f.name).field("vm", f.vm).field("coherent", f.coherent);
      w.field("why", f.why).field("references", f.references);
    });
  });
  w.array("groups", s.groups, [&](const group_state& g) {
    w.field("number", g.number).field("open", g.open).field("viable", g.viable);
    w.field("container", g.container).field("iommufd", g.iommufd).field("vm", g.vm);
    w.array("devices", g.devices, [&](const device_state& d) {
      w.field("name", d.name).field("open_count", d.open_count).field("vm", d.vm);
      w.field("holds_vm", d.holds_vm).field("iommufd", d.iommufd);
      w.array("interrupts", d.interrupts, [&](const interrupt_state& x) {
        w.field("index", x.index).field("vectors", x.vectors);
        w.field("masked", x.masked);
      });
    });
  });
  w.array("containers", s.containers, [&](const container_state& c) {
    w.field("open", c.open).field("iommu", c.iommu).field("groups", c.groups);
    domains("domains", c.domains);
    mappings(c.mappings);
  });
  w.array("iommufds", s.iommufds, [&](const iommufd_state& f) {
    w.array("spaces", f.spaces, [&](const ioas_state& x) {
      w.field("id", x.id);
      mappings(x.mappings);
      names("devices", x.devices);
    });
    w.array("tables", f.tables, [&](const table_state& t) {
      w.field("id", t.id).field("ioas", t.ioas);
      w.field("enforce_coherency", t.pages.enforce_coherency).field("groups", t.pages.groups);
    });
    w.field("vfio_ioas", f.vfio_ioas);
    names("devices", f.devices);
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
  const auto map_nodes = [&](const std::string& owner, const std::vector<mapping_state>& all) {
    for (const mapping_state& m : all) {
      const std::string id = owner + " " + detail::in_hex(m.iova);
      node(id, detail::text_of(m), ", shape=note");
      edge(owner, id, " [arrowhead=none]");
    }
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
      for (const interrupt_state& x : d.interrupts) {
        const std::string armed = d.name + " " + detail::text_of(x);
        node(armed, detail::text_of(x), ", shape=note");
        edge(d.name, armed, " [arrowhead=none]");
      }
      if (d.iommufd >= 0) edge(d.name, "iommufd " + std::to_string(d.iommufd), "");
    }
    if (g.container >= 0) edge(id, "container " + std::to_string(g.container), "");
    if (g.iommufd >= 0) edge(id, "iommufd " + std::to_string(g.iommufd), "");
  }
  for (std::size_t i = 0; i < s.containers.size(); ++i) {
    const std::string id = "container " + std::to_string(i);
    const container_state& c = s.containers[i];
    node(id, id + (c.iommu.empty() ? " (no IOMMU)" : " (" + c.iommu + ")"),
         c.open ? "" : ", style=dashed");
    map_nodes(id, c.mappings);
    for (std::size_t j = 0; j < c.domains.size(); ++j) {
      const std::string domain = id + " domain " + std::to_string(j);
      node(domain, c.domains[j].enforce_coherency ? "coherency enforced" : "not enforced",
           c.domains[j].enforce_coherency ? "" : ", color=red");
      edge(id, domain, "");
    }
  }
  for (std::size_t i = 0; i < s.iommufds.size(); ++i) {
    const std::string id = "iommufd " + std::to_string(i);
    node(id, id, "");
    for (const ioas_state& x : s.iommufds[i].spaces) {
      const std::string space = id + " IOAS " + std::to_string(x.id);
      node(space,
           "IOAS " + std::to_string(x.id) + (x.id == s.iommufds[i].vfio_ioas ? " for VFIO" : ""),
           "");
      edge(id, space, "");
      map_nodes(space, x.mappings);
      for (const std::string& d : x.devices) edge(d, space, " [style=dotted]");
    }
    for (const table_state& t : s.iommufds[i].tables) {
      const std::string table = id + " page table " + std::to_string(t.id);
      node(table, "page table " + std::to_string(t.id),
           t.pages.enforce_coherency ? "" : ", color=red");
      edge(id + " IOAS " + std::to_string(t.ioas), table, "");
    }
  }
  return out + "}\n";
}

}  // namespace kvm_vfio::sim
