// SPDX-License-Identifier: BSL-1.0
// Lists the combinations, and why a kernel or a machine cannot reach some of them. The names are
// those of key.cpp.
#include "rows.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <string>
#include <vector>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

namespace {

class list : row_list {
 public:
  using row_list::row_list;

  void make() {
    files();
    forms();
    groups();
    containers();
    add_device_rows(m_, rows_);
    cdevs();
    iommufds();
    kvm();
  }

 private:
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
      for (const kind to :
           {kind::container, kind::group, kind::device, kind::cdev, kind::iommufd, kind::vm,
            kind::kvm_vfio, kind::event, kind::path, kind::kvm, kind::closed}) {
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
    copies(put);
    for (const char* op : {"GET", "CLEAR", "no such operation"})
      for (const char* s : {"there is one", "there is none"}) put(key("VFIO_IOAS", op, s));
    put("VFIO_IOAS | unknown flag");
  }

  // IOAS_COPY: what is wrong with the source, with the destination, and the copies that succeed or
  // fail only at the new address.
  template <class Put>
  void copies(Put put) {
    put("IOAS_COPY | last number");
    put("IOAS_COPY | no access");
    for (const std::string& o : object_states()) {
      if (!o.starts_with("space")) {
        put(key("IOAS_COPY", "from", o), needs_object(o));
        put(key("IOAS_COPY", "to", o), needs_object(o));
        continue;
      }
      for (const char* what : {"size 0", "wraps around", "not mapped"})
        put(key("IOAS_COPY", "from", what, o));
      if (o != "space") put(key("IOAS_COPY", "to the same space", o));
      put(key("IOAS_COPY", "to", "wraps around", o));
      for (const char* where : {"free", "any address"})
        put(key("IOAS_COPY", "read-only memory", where, o));
      for (const char* what : {"a mapping", "part of a mapping", "several mappings"})
        for (const std::string where :
             {"not aligned", "reserved", "high address", "mapped", "free", "any address"})
          if (where != "mapped" || o != "space") put(key("IOAS_COPY", what, where, o));
    }
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
        const std::string tracked = unless(t != "tracked" || m_.tracks_devices,
                                           "Linux 6.1 tracks no device that a group handed out");
        add(f, key(name, "a device | group", t), tracked);
        add(f, key(name, "a device | group in an iommufd", t), why({tracked, needs_iommufd()}));
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

std::vector<row> rows_of(const machine& m) {
  std::vector<row> rows;
  list(m, rows).make();
  return rows;
}

}  // namespace vfio_lockstep
