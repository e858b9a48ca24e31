// SPDX-License-Identifier: BSL-1.0
// Lists the combinations of requests of devices, and of accesses to regions.
#include "rows.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

namespace {

class device_list : row_list {
 public:
  using row_list::row_list;

  void make() {
    irqs();
    devices();
    regions();
  }

 private:
  std::uint32_t vectors(const sim::pci_spec& p, std::uint32_t index) const {
    switch (index) {
      case VFIO_PCI_INTX_IRQ_INDEX: return p.intx ? 1 : 0;
      case VFIO_PCI_MSI_IRQ_INDEX: return p.msi_vectors;
      case VFIO_PCI_MSIX_IRQ_INDEX: return p.msix_vectors;
      case VFIO_PCI_ERR_IRQ_INDEX: return p.express || m_.error_irq_always ? 1 : 0;
      default: return 1;
    }
  }
  void irqs() {
    const auto f = family::irqs;
    add(f, "SET_IRQS | unbound", needs_cdevs());
    add(f, "SET_IRQS | not one kind of data and one action");
    add(f, "SET_IRQS | no such index");
    add(f, "SET_IRQS | too short");
    constexpr const char* of_index[] = {"INTx", "MSI", "MSI-X", "error", "request"};
    constexpr const char* of_count[] = {"absent", "one", "several"};
    for (std::uint32_t index = 0; index < 5; ++index)
      for (int c = 0; c < 3; ++c) {
        const auto has = [&](const sim::pci_spec& p) {
          return static_cast<int>(std::min(vectors(p, index), 2U)) == c;
        };
        // These numbers are fixed, so the combination does not exist.
        if ((c == 2 && (index == 0 || index > 2)) || (c == 0 && index == 4)) continue;
        const std::string name = std::string(of_index[index]) + ", " + of_count[c];
        for (const std::string action : {"MASK", "UNMASK", "TRIGGER"})
          for (const std::string data : {"NONE", "BOOL", "EVENTFD"})
            irq_rows(index, c, name, action, data, has);
      }
  }
  void irq_rows(std::uint32_t index, int there, const std::string& name, const std::string& action,
                const std::string& data, const std::function<bool(const sim::pci_spec&)>& has) {
    const auto f = family::irqs;
    const std::string how = action + " " + data;
    const std::string none = needs_armed("idle", has);
    names states = armed_states();
    if (index == 1 || index == 2) {
      std::erase_if(states, [](const auto& s) { return s.starts_with("INTx") && s != "INTx"; });
    } else if (index > 2) {
      states = {"idle"};
      if (there != 0) states.emplace_back("connected");
    }
    const bool several = there == 2 && action == "TRIGGER";
    if (there != 0) {
      add(f, key("SET_IRQS", name, how, "more than there are"), none);
      const bool by_state = action == "TRIGGER" && data == "NONE";
      if (!several && !by_state)
        add(f, key("SET_IRQS", name, how, "none of them | any state"), none);
      if (!several && by_state)
        for (const std::string& s : states)
          add(f, key("SET_IRQS", name, how, "none of them", s), reason_of(s, has),
              index > 2 ? "" : s);
    }
    for (const std::string& s : states) {
      const std::string reason = reason_of(s, has);
      if (!several) {
        add(f, key("SET_IRQS", name, how, s), reason, index > 2 ? "" : s);
        continue;
      }
      for (const char* range : {"none of them", "all of them", "the first", "others"})
        add(f, key("SET_IRQS", name, how, range, s), reason, s);
    }
  }
  std::string reason_of(const std::string& s,
                        const std::function<bool(const sim::pci_spec&)>& has) const {
    return s == "connected" ? needs_armed("idle", has) : needs_armed(s, has);
  }

  void devices() {
    const auto f = family::devices;
    for (const char* name : {"DEVICE_GET_INFO", "GET_REGION_INFO", "GET_IRQ_INFO", "RESET",
                             "GET_PCI_HOT_RESET_INFO", "PCI_HOT_RESET", "FEATURE"})
      add(f, key(name, "unbound"), needs_cdevs());
    add(f, "DEVICE_GET_INFO | group");
    add(f, "DEVICE_GET_INFO | group in an iommufd", needs_iommufd());
    add(f, "DEVICE_GET_INFO | bound", needs_cdevs());
    add(f, "DEVICE_GET_INFO | attached", needs_cdevs());
    for (const std::string& r : region_kinds()) add(f, key("GET_REGION_INFO", r), needs_region(r));
    constexpr const char* of_index[] = {"INTx", "MSI", "MSI-X", "error", "request"};
    constexpr const char* of_count[] = {"absent", "one", "several"};
    for (std::uint32_t index = 0; index < 5; ++index)
      for (int c = 0; c < 3; ++c) {
        if ((c == 2 && (index == 0 || index > 2)) || (c == 0 && index == 4)) continue;
        add(f, key("GET_IRQ_INFO", of_index[index], of_count[c]),
            needs_armed("idle", [&](const sim::pci_spec& p) {
              return static_cast<int>(std::min(vectors(p, index), 2U)) == c;
            }));
      }
    add(f, "GET_IRQ_INFO | no such index");
    for (const std::string& s : armed_states())
      for (const bool resets : {true, false})
        add(f, key("RESET", resets ? "can be reset" : "cannot be reset", s),
            needs_armed(s, [&](const sim::pci_spec& p) { return p.resets == resets; }), s);
    for (const std::string bus : {"no bus reset", "alone on its bus", "several on its bus"})
      for (const std::string from : {"group", "character device"}) {
        const std::string reason =
            why({unless(has_bus(bus), no_device), from == "group" ? "" : needs_cdevs()});
        add(f, key("GET_PCI_HOT_RESET_INFO | room", bus, from), reason);
        add(f, key("GET_PCI_HOT_RESET_INFO | no room", bus, from),
            bus == "no bus reset" ? "without devices on the bus, there is always room" : reason);
        for (const char* files :
             {"no files", "several files", "its group", "another group", "another file"})
          add(f, key("PCI_HOT_RESET", files, bus, from),
              std::string(files) == "its group" && from != "group" && reason.empty()
                  ? "the group cannot be open while its device is bound"
                  : reason);
      }
    for (const char* which : {"0", "1", "2", "10", "100"})
      for (const char* how : {"no flag", "PROBE", "PROBE GET", "PROBE SET", "no probe GET"})
        add(f, key("FEATURE", which, how));
    for (const std::string which : {"3", "4", "5"}) {
      for (const char* how : {"no flag", "PROBE", "PROBE GET", "PROBE SET", "no probe GET"})
        add(f, key("FEATURE", which, how), needs_suspension());
      for (const std::string s : {"active", "low power", "low power, wakes"}) {
        if (which != "4") add(f, key("FEATURE", which, "SET", s), needs_suspension());
        else
          for (const char* data : {"short", "negative", "an eventfd", "no file", "another file"})
            add(f, key("FEATURE", which, std::string("SET, ") + data, s), needs_suspension());
      }
    }
    for (const std::string s : {"low power", "low power, wakes"}) {
      add(f, key("an ioctl", s), needs_suspension());
      for (const std::string v : {"pread", "pwrite"})
        for (const char* what : {"0 bytes", "no region", "config", "another region"})
          add(family::regions, key(v, what, s), needs_suspension());
      add(family::regions, key("mmap", "any region", s),
          why({needs_suspension(), unless(m_.maps, "pages of 4 KiB only")}));
    }
  }
  std::string needs_suspension() const {
    return unless(m_.suspends, "the kernel does not suspend devices, or does not tell it");
  }
  bool has_bus(const std::string& bus) const {
    return std::any_of(m_.targets.begin(), m_.targets.end(),
                       [&](const target& t) { return t.comparable && t.bus == bus; });
  }
  static const names& region_kinds() {
    static const names all{"memory",
                           "memory below a page",
                           "memory of 4 GiB or more",
                           "ports",
                           "MSI-X table",
                           "no BAR",
                           "ROM",
                           "no ROM",
                           "config",
                           "VGA",
                           "no region"};
    return all;
  }
  std::string needs_region(const std::string& r) const {
    return unless(any([&](const sim::pci_spec& p) {
                    for (std::uint64_t i = 0; i < 10; ++i)
                      if (region_in_words(p, i) == r) return true;
                    return false;
                  }),
                  no_device);
  }

  void regions() {
    const auto f = family::regions;
    for (const std::string v : {"pread", "pwrite", "mmap"}) {
      const std::string maps = v == "mmap" ? unless(m_.maps, "pages of 4 KiB only") : "";
      add(f, key(v, "unbound"), why({needs_cdevs(), maps}));
      for (const std::string& r : region_kinds()) {
        const std::string reason = why({needs_region(r), maps});
        const bool bar = r.starts_with("memory") || r == "ports" || r == "MSI-X table";
        if (v == "mmap" && bar) {
          for (const std::string how : {"size 0", "not aligned", "behind the end", "whole", "part"})
            add(f, key(v, r, how),
                how == "part" && r != "MSI-X table" && r != "memory of 4 GiB or more" &&
                        reason.empty() && !larger_than_page(r)
                    ? "no such BAR is larger than a page"
                    : reason);
        } else if (r == "config" && v != "mmap") {
          config_rows(v);
        } else if (bar) {
          bar_rows(v, r, reason);
        } else {
          add(f, key(v, r), reason);
        }
      }
      for (const kind k : {kind::container, kind::group, kind::vm, kind::kvm_vfio, kind::iommufd,
                           kind::path, kind::kvm, kind::closed})
        if (v != "mmap" || (k != kind::vm && k != kind::iommufd))
          add(f, key(v, "another file", name_of(k)), why({needs_kind(k), maps}));
      if (v == "mmap") add(f, key(v, "another file", name_of(kind::event)), maps);
    }
  }
  bool larger_than_page(const std::string& r) const {
    return any([&](const sim::pci_spec& p) {
      for (std::uint64_t i = 0; i < p.bars.size(); ++i)
        if (region_in_words(p, i) == r && p.bars[i].size > m_.page) return true;
      return false;
    });
  }
  void bar_rows(const std::string& v, const std::string& r, const std::string& reason) {
    const auto f = family::regions;
    add(f, key(v, r, "0 bytes"), reason);
    names spans{"behind the end", "across the end", "inside"};
    if (r == "MSI-X table") {
      spans.emplace_back("in the MSI-X table");
      spans.emplace_back("across an end of the MSI-X table");
    }
    for (const std::string& span : spans)
      for (const std::string access : {"enabled", "memory disabled"}) {
        if (access == "memory disabled" && r == "ports") continue;
        // A write that reaches the device could make it act.
        const bool acts = v == "pwrite" && (span == "inside" || span.starts_with("across")) &&
                          r != "memory of 4 GiB or more";
        const bool words = !m_.any_access && span.starts_with("across");
        add(f, key(v, r, span, access),
            why({reason, unless(!acts, "a write that reaches the device could make the device act"),
                 unless(!words, "this machine's BARs are read in words only")}));
      }
  }
  void config_rows(const std::string& v) {
    const auto f = family::regions;
    const bool express = any([](const sim::pci_spec& p) { return p.express; });
    if (v == "pread") {
      for (const std::string place :
           {"header", "capabilities", "extended capabilities", "across the end", "behind the end"})
        for (const std::string size : {"0 bytes", "1 byte", "2 bytes", "4 bytes", "other sizes"}) {
          const bool never = place == "across the end" && (size == "0 bytes" || size == "1 byte");
          if (never) continue;
          add(f, key(v, "config", place, size),
              place == "extended capabilities" ? unless(express, no_device) : "");
        }
      return;
    }
    const bool msi = any([](const sim::pci_spec& p) { return p.msi_vectors != 0; });
    for (const std::string armed : {"INTx armed", "INTx not armed"})
      for (const std::string what : {"command", "command, INTx disabled"})
        add(f, key(v, "config", what, armed), armed == "INTx armed" ? needs_intx() : "",
            armed == "INTx armed" ? "INTx" : "");
    for (const char* what : {"interrupt line", "address of the ROM", "what cannot be written"})
      add(f, key(v, "config", what));
    for (const std::string& r : region_kinds())
      if (r.starts_with("memory") || r == "ports" || r == "MSI-X table" || r == "no BAR")
        add(f, key(v, "config", "BAR", r), needs_region(r));
    for (const std::string armed : {"MSI armed", "MSI not armed"})
      for (const char* what : {"flags of MSI", "address of MSI"})
        add(f, key(v, "config", what, armed), unless(msi, no_device),
            armed == "MSI armed" ? "MSI" : "");
  }
};

}  // namespace

void add_device_rows(const machine& m, std::vector<row>& rows) { device_list(m, rows).make(); }

}  // namespace vfio_lockstep
