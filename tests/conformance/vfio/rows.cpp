// SPDX-License-Identifier: BSL-1.0
// Lists the combinations, and why a kernel or a machine cannot reach some of them. The names are
// those of key.cpp.
#include "combinations.hpp"

#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

namespace {

using names = std::vector<std::string>;

constexpr const char* no_iommufd = "the kernel has no iommufd";
constexpr const char* no_cdevs = "the kernel has no device files";
constexpr const char* only_tce = "containers on POWER have no IOMMU of type 1";
constexpr const char* no_tce = "only POWER has TCE tables";
constexpr const char* no_mediated = "the kernel has no mediated devices";
constexpr const char* mediated_once =
    "the program opens one mediated device at a time, because it compares no requests of them";
constexpr const char* no_device = "no such device in this machine";

class list {
 public:
  explicit list(const machine& m) : m_(m) {}

  std::vector<row> make() {
    files();
    forms();
    groups();
    containers();
    irqs();
    devices();
    regions();
    cdevs();
    iommufds();
    kvm();
    return std::move(rows_);
  }

 private:
  void add(family f, std::string key, std::string reason = {}, std::string brought = {}) {
    rows_.push_back({.key = std::move(key),
                     .made_by = f,
                     .reason = std::move(reason),
                     .brought = std::move(brought)});
  }
  // The first of the reasons that is there.
  static std::string why(std::initializer_list<std::string> reasons) {
    for (const std::string& r : reasons)
      if (!r.empty()) return r;
    return {};
  }
  static std::string unless(bool there, const char* reason) { return there ? "" : reason; }
  bool any(const std::function<bool(const sim::pci_spec&)>& has) const {
    return std::any_of(m_.targets.begin(), m_.targets.end(),
                       [&](const target& t) { return t.comparable && has(t.pci); });
  }
  std::string needs_iommufd() const { return unless(m_.iommufd, no_iommufd); }
  std::string needs_cdevs() const { return unless(m_.iommufd, no_cdevs); }
  std::string needs_mediated() const { return unless(m_.mediated, no_mediated); }
  std::string needs_group(const std::string& k) const {
    if (k == "mediated") return needs_mediated();
    return k == "several devices" ? unless(m_.several, "no group has several devices") : "";
  }
  std::string needs_container(const std::string& state) const {
    if (state.starts_with("iommufd")) return needs_iommufd();
    if (state.starts_with("TCE")) return unless(m_.spapr, no_tce);
    return unless(!m_.spapr || !state.starts_with("type1"), only_tce);
  }
  std::string needs_group_state(const std::string& s) const {
    if (s == "alone, device open" || s.starts_with("in an iommufd")) return needs_iommufd();
    return {};
  }
  static const names& group_states() {
    static const names all{"alone",
                           "alone, device open",
                           "in a container",
                           "with an IOMMU",
                           "with an IOMMU, device open",
                           "in an iommufd",
                           "in an iommufd, device open"};
    return all;
  }
  static const names& container_states() {
    static const names all{
        "no group",        "group", "type1",   "type1, mapped",      "type1v2",
        "type1v2, mapped", "TCE",   "iommufd", "iommufd with space", "iommufd with space, mapped"};
    return all;
  }
  static const names& object_states() {
    static const names all{"no object",         "device", "mediated",      "page table",
                           "page table in use", "space",  "space, mapped", "space in use"};
    return all;
  }
  std::string needs_object(const std::string& s) const {
    return s == "mediated" ? needs_mediated() : "";
  }

  void files() {
    const auto opens = family::opens;
    add(opens, "open | container");
    add(opens, "open | iommufd", needs_iommufd());
    for (const char* s : {"absent", "free", "bound", "its group is open"})
      add(opens, key("open | character device", s), needs_cdevs());
    add(opens, "open | group | absent");
    for (const std::string k : {"one device", "several devices", "mediated"})
      for (const std::string s : {"free", "open", "device bound"})
        add(opens, key("open | group", k, s),
            why({needs_group(k), s == "device bound" ? needs_cdevs() : ""}));
    add(opens, "open | O_PATH");
    add(opens, "eventfd");
    for (int i = 0; i < kinds_with_slots; ++i) {
      const auto k = static_cast<kind>(i);
      add(family::dups, key("dup", name_of(k)), needs_kind(k));
      add(family::closes, key("close", name_of(k), "another descriptor is open"), needs_kind(k));
    }
    const auto closes = [&](kind k, const std::string& s, const std::string& reason = {},
                            const std::string& brought = {}) {
      add(family::closes, key("close", name_of(k), s), why({needs_kind(k), reason}), brought);
    };
    for (const std::string& s : container_states())
      if (!s.starts_with("iommufd")) closes(kind::container, s, needs_container(s));
    for (const std::string& s : group_states()) closes(kind::group, s, needs_group_state(s));
    for (const std::string s : {"unbound", "bound", "attached"}) closes(kind::cdev, s);
    closes(kind::device, "mediated", needs_mediated());
    for (const std::string& s : armed_states()) closes(kind::device, s, needs_armed(s), s);
    for (const std::string s : {"empty", "objects", "device bound"}) closes(kind::iommufd, s);
    for (const std::string s : {"new", "kvm-vfio"}) closes(kind::vm, s);
    for (const std::string s : {"irqchip", "irqchip and kvm-vfio"})
      closes(kind::vm, s, needs_books());
    for (const std::string s : {"tracks files", "tracks nothing"}) closes(kind::kvm_vfio, s);
    for (const std::string s : {"0", "signalled", "0, unmasks"})
      closes(kind::event, s, s == "0, unmasks" ? needs_intx() : "");
    closes(kind::event, "signalled, unmasks", needs_intx());
    add(family::closes, "close | O_PATH");
    for (const std::string s : {"0", "signalled", "0, unmasks", "signalled, unmasks"}) {
      const std::string reason = s.ends_with("unmasks") ? needs_intx() : "";
      const std::string brought = s.ends_with("unmasks") ? "INTx masked, unmask eventfd" : "";
      add(family::events, key("read", s), reason, brought);
      for (const std::string n : {"0", "2^64 - 1", "2^64 - 2", "a number"})
        add(family::events, key("write", n, s), reason, brought);
    }
  }
  std::string needs_intx() const {
    return unless(any([](const sim::pci_spec& p) { return p.intx; }), no_device);
  }
  std::string needs_books() const {
    return unless(m_.books, "only x86 compares the requests of VMs");
  }
  std::string needs_kind(kind k) const {
    return k == kind::cdev ? needs_cdevs() : k == kind::iommufd ? needs_iommufd() : "";
  }

  // What each request has: addresses that are wrong, sizes and flags that are wrong.
  void forms() {
    for (const request_form& f : request_forms()) {
      const std::string name = f.name;
      const std::string reason = lacks(f, m_);
      if (f.pointer)
        for (const char* at : {"null", "unmapped", "read-only", "straddling", "high"})
          add(f.made_by, key(name, std::string("at a ") + at + " address"), reason);
      if (f.least != 0) add(f.made_by, key(name, "too short"), reason);
      if (f.size != 0) add(f.made_by, key(name, "too long"), reason);
      if (f.flags_at >= 0) add(f.made_by, key(name, "unknown flag"), reason);
    }
    for (const kind k :
         {kind::container, kind::group, kind::device, kind::cdev, kind::iommufd, kind::vm,
          kind::kvm_vfio, kind::event, kind::path, kind::kvm, kind::closed}) {
      add(family::unknown, key("unknown", name_of(k)), needs_kind(k));
      add(k == kind::cdev ? family::iommufds : family::containers,
          key("request of another file", name_of(k)), needs_kind(k));
    }
  }

  void groups() {
    const auto f = family::groups;
    for (const std::string& s : group_states()) {
      const std::string reason = needs_group_state(s);
      add(f, key("GET_STATUS", s), reason);
      add(f, key("UNSET_CONTAINER", s), reason);
      for (const kind to : {kind::container, kind::group, kind::device, kind::cdev, kind::iommufd,
                            kind::vm, kind::kvm_vfio, kind::event, kind::path, kind::closed}) {
        if (s == "alone" && to == kind::container) continue;
        // A group in use refuses each file before the kernel looks at the file.
        if (s != "alone" && to != kind::container && to != kind::iommufd) continue;
        add(f, key("SET_CONTAINER", s, name_of(to)), why({reason, needs_kind(to)}));
      }
      for (const std::string k : {"one device", "several devices", "mediated"})
        add(f, key("GET_DEVICE_FD", "alone in the name", k, s),
            why({reason, needs_group(k),
                 unless(k != "mediated" || !s.ends_with("device open"), mediated_once)}));
      add(f, key("GET_DEVICE_FD", "of another group", s), reason);
      add(f, key("GET_DEVICE_FD", "no device", s), reason);
    }
    for (const std::string k : {"one device", "several devices", "mediated"}) {
      for (const std::string to : {"no group", "group", "with an IOMMU"})
        add(f, key("SET_CONTAINER", "alone", k, to), needs_group(k));
      add(f, key("GET_DEVICE_FD", "with options", k, "any state"), needs_group(k));
    }
  }

  void containers() {
    const auto f = family::containers;
    for (const char* on : {"no IOMMU", "type1", "TCE", "iommufd"}) {
      const std::string reason = needs_container(on);
      for (int n = 1; n <= 12; ++n) {
        const bool left_out = m_.spapr && n == VFIO_SPAPR_TCE_v2_IOMMU;
        add(f, key("CHECK_EXTENSION", std::to_string(n), on),
            why({reason, unless(!left_out, "version 2 of sPAPR is not modelled")}));
      }
      add(f, key("CHECK_EXTENSION | other", on), reason);
    }
    for (const std::string& s : container_states()) {
      const std::string reason = needs_container(s);
      for (const char* type : {"type1", "type1v2", "TCE", "other"})
        add(f, key("SET_IOMMU", type, s), reason);
      add(f, key("GET_API_VERSION", s), reason);
      for (const char* room : {"room for the sizes", "room for some capabilities", "room for all"})
        add(f, key("IOMMU_GET_INFO", room, s), why({reason, unless(!m_.spapr, only_tce)}));
      for (const char* name : {"ENABLE", "DISABLE", "SPAPR_TCE_GET_INFO"})
        add(f, key(name, s), why({unless(m_.spapr, no_tce), reason}));
      const bool translates = s.starts_with("type1") || s.starts_with("iommufd with");
      if (!translates) {
        add(f, key("MAP_DMA | any", s), reason);
        add(f, key("UNMAP_DMA | any", s), reason);
        continue;
      }
      const bool mapped = s.ends_with("mapped");
      for (const char* what :
           {"no access", "size 0", "not aligned", "wraps around", "memory of another kind",
            "reserved", "high address", "free", "gives the address back", "VADDR with access"})
        add(f, key("MAP_DMA", what, s), reason);
      if (mapped) add(f, key("MAP_DMA | mapped", s), reason);
      for (const char* what :
           {"dirty bitmap", "all", "all, with a range", "takes the address", "takes all addresses",
            "size 0", "not aligned", "wraps around", "free"})
        add(f, key("UNMAP_DMA", what, s), reason);
      if (mapped)
        for (const char* what : {"a mapping", "more than a mapping", "part of a mapping"})
          add(f, key("UNMAP_DMA", what, s), reason);
    }
  }

  static const names& armed_states() {
    static const names all{"idle",
                           "INTx",
                           "INTx masked",
                           "INTx, unmask eventfd",
                           "INTx masked, unmask eventfd",
                           "INTx disabled",
                           "MSI",
                           "several MSI",
                           "MSI-X",
                           "several MSI-X"};
    return all;
  }
  std::string needs_armed(
      const std::string& s, const std::function<bool(const sim::pci_spec&)>& has = [](const auto&) {
        return true;
      }) const {
    if (s == "several MSI")
      return "without interrupt remapping, which no IOMMU of these machines has, a function gets "
             "one "
             "MSI vector";
    return unless(any([&](const sim::pci_spec& p) {
                    return has(p) && (s == "idle" || (s.starts_with("INTx") && p.intx) ||
                                      (s == "MSI" && p.msi_vectors > 0) ||
                                      (s == "MSI-X" && p.msix_vectors > 0) ||
                                      (s == "several MSI-X" && p.msix_vectors > 1));
                  }),
                  no_device);
  }
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

  void cdevs() {
    const auto f = family::cdevs;
    for (const std::string what : {"PCI", "mediated"}) {
      const std::string reason = why({needs_cdevs(), what == "PCI" ? "" : needs_mediated()});
      for (const std::string s : {"unbound", "bound", "attached"}) {
        add(f, key("DETACH", what, s), reason);
        if (s == "unbound") {
          add(f, key("ATTACH", what, s), reason);
          continue;
        }
        add(f, key("BIND_IOMMUFD", what, s), reason);
        for (const std::string& o : object_states())
          add(f, key("ATTACH", what, s, o), why({reason, needs_object(o)}));
      }
      for (const char* s : {"unbound", "bound by another file", "its group is open"})
        for (const char* to : {"an iommufd", "no file", "another file"})
          add(f, key("BIND_IOMMUFD", what, s, to),
              why({reason, unless(what == "PCI" || std::string(s) != "bound by another file",
                                  mediated_once)}));
    }
  }

  void iommufds() {
    const auto f = family::iommufds;
    const auto put = [&](const std::string& k, const std::string& reason = {}) {
      add(f, k, why({needs_iommufd(), reason}));
    };
    put("IOAS_ALLOC | first");
    put("IOAS_ALLOC | more");
    for (const std::string& o : object_states()) {
      const std::string reason = needs_object(o);
      put(key("DESTROY", o), reason);
      for (const char* room : {"no room", "little room", "room"})
        put(key("IOVA_RANGES", o, room), reason);
      put(o == "device" ? key("HWPT_ALLOC", "mediated") : key("HWPT_ALLOC", o),
          o == "device" ? needs_mediated() : reason);
      put(key("HWPT_ALLOC", "device", o), reason);
      put(key("GET_HW_INFO", o), reason);
      put(key("VFIO_IOAS", "SET", o), reason);
      if (!o.starts_with("space")) {
        put(key("IOAS_MAP", "any", o), reason);
        put(key("IOAS_UNMAP", "any", o), reason);
        continue;
      }
      for (const char* what : {"no access", "size 0", "not aligned", "wraps around",
                               "memory of another kind", "reserved", "high address", "free",
                               "any address", "any address, no access", "any address, wrong size"})
        put(key("IOAS_MAP", what, o));
      if (o != "space") put(key("IOAS_MAP", "mapped", o));
      for (const char* what : {"size 0", "not aligned", "wraps around", "free", "all"})
        put(key("IOAS_UNMAP", what, o));
      if (o != "space")
        for (const char* what : {"a mapping", "more than a mapping", "part of a mapping"})
          put(key("IOAS_UNMAP", what, o));
    }
    for (const char* op : {"GET", "CLEAR", "no such operation"})
      for (const char* s : {"there is one", "there is none"}) put(key("VFIO_IOAS", op, s));
    put("VFIO_IOAS | unknown flag");
  }

  void kvm() {
    auto f = family::kvm;
    add(f, "CREATE_VM | good");
    for (const std::string s : {"new", "irqchip", "kvm-vfio", "irqchip and kvm-vfio"}) {
      const std::string reason = s.starts_with("irqchip") ? needs_books() : "";
      add(f, key("CREATE_DEVICE", s), reason);
      add(family::vms, key("CREATE_IRQCHIP", s), needs_books());
    }
    add(f, "kvm-vfio | no such attribute");
    for (const std::string name : {"FILE_ADD", "FILE_DEL"})
      for (const std::string t : {"tracked", "not tracked"}) {
        for (const std::string& s : group_states())
          add(f, key(name, "a group", s, t), needs_group_state(s));
        add(f, key(name, "a device | group", t),
            t == "tracked" ? "the kernel tracks no device that a group handed out" : "");
        add(f, key(name, "a device | group in an iommufd", t),
            t == "tracked" ? "the kernel tracks no device that a group handed out"
                           : needs_iommufd());
        for (const char* s : {"unbound", "bound", "attached"})
          add(f, key(name, "a character device", s, t), needs_cdevs());
        for (const kind k : {kind::container, kind::iommufd, kind::vm, kind::kvm_vfio, kind::event,
                             kind::path, kind::kvm, kind::closed})
          if (t != "tracked") add(f, key(name, name_of(k), "any state", t), needs_kind(k));
      }
    f = family::vms;
    for (const char* what : {"no such slot", "other flags", "removed", "not aligned", "too large",
                             "logged", "not logged"})
      add(f, key("SET_USER_MEMORY_REGION", what), needs_books());
    for (const char* file : {"an eventfd", "another file"}) {
      for (int flags = 0; flags < 4; ++flags)
        for (const char* s : {"irqchip", "no irqchip"})
          add(f, key("IRQFD", std::to_string(flags), file, s), needs_books());
      for (int flags = 0; flags < 16; ++flags)
        add(f, key("IOEVENTFD", std::to_string(flags), file), needs_books());
    }
    add(f, "IRQFD | other flags", needs_books());
    add(f, "IOEVENTFD | other flags", needs_books());
  }

  const machine& m_;
  std::vector<row> rows_;
};

}  // namespace

std::string lacks(const request_form& f, const machine& m) {
  const std::string name = f.name;
  if (f.on == bit(kind::cdev) && !m.iommufd) return no_cdevs;
  if (f.on == bit(kind::iommufd) && !m.iommufd) return no_iommufd;
  if (f.made_by == family::vms && !m.books) return "only x86 compares the requests of VMs";
  if (name == "SPAPR_TCE_GET_INFO" && !m.spapr) return no_tce;
  if (name == "IOMMU_GET_INFO" && m.spapr) return only_tce;
  return {};
}

std::vector<row> rows_of(const machine& m) { return list(m).make(); }

}  // namespace vfio_lockstep
