// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences that bring a state about, for combinations that random steps seldom meet.

#include "../combinations.hpp"
#include "device.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/kvm.h>
#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vfio_lockstep {

/// Brings the state of a combination about.
class scene_steps : public device_steps {
 protected:
  using device_steps::device_steps;

  // Makes the state of a combination, with `prefer_` as the object in this state.
  void bring(const row& r) {
    const std::vector<std::string> parts = split(r.key);
    careful_ = true;
    prefer_.reset();
    prefer_too_.reset();
    switch (r.made_by) {
      case family::containers: container_in(parts.back()); break;
      case family::groups: group_for(parts); break;
      case family::closes: close_for(r, parts); break;
      case family::dups: file_of(parts.back()); break;
      case family::cdevs: cdev_for(parts); break;
      case family::iommufds: iommufd_with_all(); break;
      case family::kvm: kvm_for(parts); break;
      case family::vms: vm_in(parts.back()); break;
      case family::devices:
      case family::regions:
      case family::events:
      case family::irqs: device_for(r, parts); break;
      case family::opens: open_for(parts); break;
      case family::unknown: file_of(parts.back()); break;
    }
    careful_ = false;
  }

 private:
  static std::vector<std::string> split(const std::string& key) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= key.size();) {
      const std::size_t end = std::min(key.find(" | ", at), key.size());
      parts.push_back(key.substr(at, end - at));
      at = end + 3;
    }
    return parts;
  }
  // Closes what is open, but for eventfds.
  void fresh() {
    for (const kind k : {kind::device, kind::cdev, kind::group, kind::container, kind::kvm_vfio,
                         kind::vm, kind::iommufd})
      for (int i = 0; i < slots; ++i)
        if (now_.file({k, i})) close({k, i});
  }
  const target* find(const std::function<bool(const target&)>& wanted) {
    std::vector<const target*> found;
    for (const target& t : m_.targets)
      if (wanted(t)) found.push_back(&t);
    if (found.empty()) return nullptr;
    return found[static_cast<std::size_t>(r_.below(static_cast<int>(found.size())))];
  }
  const target* find_group(const std::string& group_kind) {
    return find([&](const target& t) {
      const kvm_vfio::sim::vfio_device* const d = now_.world().find_device(t.device);
      return d && now_.group_kind(d->group()) == group_kind;
    });
  }
  void set_iommu(ref on, std::uint64_t type) {
    call(on, "SET_IOMMU", VFIO_SET_IOMMU, type);
    if (m_.spapr) call(on, "ENABLE", VFIO_IOMMU_ENABLE, 0);
  }
  std::uint64_t any_type() const { return m_.spapr ? VFIO_SPAPR_TCE_IOMMU : VFIO_TYPE1v2_IOMMU; }
  // Two mappings with a hole between them.
  void map_two(ref on) {
    for (const std::uint64_t at : {std::uint64_t{0}, 4 * m_.page}) {
      const vfio_iommu_type1_dma_map d{
          .argsz = sizeof d, .flags = 3, .vaddr = 0, .iova = 0x100000 + at, .size = 2 * m_.page};
      call(on, "MAP_DMA", VFIO_IOMMU_MAP_DMA, bytes(d),
           {{offsetof(vfio_iommu_type1_dma_map, vaddr), {kind::dma_memory}}});
    }
  }
  void map_two(ref on, std::uint32_t ioas) {
    for (const std::uint64_t at : {std::uint64_t{0}, 4 * m_.page}) {
      u::iommu_ioas_map d{};
      d.size = sizeof d;
      d.flags = u::map_fixed_iova | u::map_readable | u::map_writeable;
      d.ioas_id = ioas;
      d.length = 2 * m_.page;
      d.iova = 0x100000 + at;
      call(on, "IOAS_MAP", u::request_ioas_map, bytes(d), {{16, {kind::dma_memory}}});
    }
  }
  void container_with(int i, const std::string& state, const target& t) {
    open(kind::container, i, "/dev/vfio/vfio");
    if (state == "no group") return;
    open_group(i, t);
    set_container({kind::group, i}, {kind::container, i});
    if (state == "group") return;
    const bool first = state.starts_with("type1") && !state.starts_with("type1v2");
    set_iommu({kind::container, i}, first ? std::uint64_t{VFIO_TYPE1_IOMMU} : any_type());
    if (state.ends_with("mapped")) map_two({kind::container, i});
  }
  void container_in(const std::string& state) {
    fresh();
    if (state.starts_with("iommufd")) {
      const ref fd{kind::iommufd, 0};
      open(kind::iommufd, 0, "/dev/iommu");
      if (state != "iommufd") {
        ioas_alloc(fd);
        const u::iommu_vfio_ioas v{
            .size = sizeof v, .ioas_id = 1, .op = u::vfio_ioas_set, .reserved = 0};
        call(fd, "VFIO_IOAS", u::request_vfio_ioas, bytes(v));
      }
      if (state.ends_with("mapped")) map_two(fd);
      prefer_ = fd;
      return;
    }
    const target* const t = find([](const target& x) { return x.comparable; });
    container_with(0, state, t ? *t : some_target());
    prefer_ = ref{kind::container, 0};
  }
  // A group in slot 0; slots from 1 on are free for other groups.
  void group_in(const std::string& state, const target& t) {
    fresh();
    open_group(0, t);
    prefer_ = ref{kind::group, 0};
    if (state.starts_with("in a container") || state.starts_with("with an IOMMU")) {
      open(kind::container, 0, "/dev/vfio/vfio");
      set_container({kind::group, 0}, {kind::container, 0});
      if (state.starts_with("with")) set_iommu({kind::container, 0}, any_type());
      if (state.ends_with("device open")) get_device({kind::group, 0}, t, 0);
    } else if (state != "alone" && m_.iommufd) {
      open(kind::iommufd, 0, "/dev/iommu");
      set_container({kind::group, 0}, {kind::iommufd, 0});
      if (state.ends_with("device open")) get_device({kind::group, 0}, t, 0);
      if (state.starts_with("alone"))
        call({kind::group, 0}, "UNSET_CONTAINER", VFIO_GROUP_UNSET_CONTAINER, 0);
    }
  }
  void group_for(const std::vector<std::string>& parts) {
    std::string state = "alone";
    const target* t = nullptr;
    for (const std::string& p : parts) {
      if (p.starts_with("alone") || p.starts_with("in a") || p.starts_with("with an IOMMU"))
        if (p != "alone in the name" && (parts[0] != "SET_CONTAINER" || &p == &parts[1])) state = p;
      if (p == "one device" || p == "several devices" || p == "mediated") t = find_group(p);
    }
    if (!t) t = &some_target();
    group_in(state, *t);
    if (parts[0] != "SET_CONTAINER") return;
    const std::string& to = parts.back();
    if (to == "no group" || to == "group" || to == "with an IOMMU") {
      const target* const other =
          find([&](const target& x) { return x.comparable && x.group != t->group; });
      if (other) container_with(1, to == "with an IOMMU" ? "type1v2" : to, *other);
      prefer_too_ = ref{kind::container, 1};
      return;
    }
    file_of(to);
  }
  // Opens a file of a kind, if that is simple.
  void file_of(const std::string& name) {
    if (name == name_of(kind::path))
      add({.what = verb::open_path,
           .made = {kind::path, 0},
           .makes = true,
           .name = some_target().group});
    if (name == name_of(kind::event))
      add({.what = verb::eventfd, .made = {kind::event, 0}, .makes = true});
    if (name == name_of(kind::container)) open(kind::container, 1, "/dev/vfio/vfio");
    if (name == name_of(kind::iommufd) && m_.iommufd) open(kind::iommufd, 0, "/dev/iommu");
    if (name == name_of(kind::vm) || name == name_of(kind::kvm_vfio)) vm_in("kvm-vfio");
    if (name == name_of(kind::group)) open_group(1, some_target());
    if (name == name_of(kind::cdev) && m_.iommufd) open_cdev(1, some_target());
    if (name == name_of(kind::device))
      if (const target* const t = find([](const target& x) { return x.comparable; })) {
        container_with(2, "type1v2", *t);
        get_device({kind::group, 2}, *t, 2);
      }
  }
  void vm_in(const std::string& state) {
    const int i = slots - 1;
    if (now_.file({kind::kvm_vfio, i})) close({kind::kvm_vfio, i});
    if (now_.file({kind::vm, i})) close({kind::vm, i});
    step& s = call({kind::kvm}, "CREATE_VM", KVM_CREATE_VM, 0);
    s.made = {kind::vm, i};
    s.makes = true;
    if (state.starts_with("irqchip") && m_.books)
      call({kind::vm, i}, "CREATE_IRQCHIP", KVM_CREATE_IRQCHIP, 0);
    if (state.ends_with("kvm-vfio")) create_kvm_vfio({kind::vm, i}, i);
    prefer_ = ref{kind::vm, i};
  }
  void kvm_for(const std::vector<std::string>& parts) {
    if (!parts[0].starts_with("FILE_")) return vm_in(parts.back());
    ref file{kind::group, 0};
    if (parts[1] == name_of(kind::group)) {
      const target* const t = find([](const target& x) { return x.comparable; });
      group_in(parts[2], t ? *t : some_target());
    } else if (parts[1] == name_of(kind::cdev)) {
      cdev_in("PCI", parts[2]);
      file = {kind::cdev, 0};
    } else if (parts[1] == name_of(kind::device)) {
      const std::string state = parts[2] == "group" ? "with an IOMMU" : "in an iommufd";
      group_in(state + ", device open", some_target());
      file = {kind::device, 0};
    } else {
      fresh();
      file_of(parts[1]);
    }
    vm_in("kvm-vfio");
    const ref kvm_vfio{kind::kvm_vfio, slots - 1};
    if (parts.back() == "tracked") file_call(kvm_vfio, u::dev_vfio_file_add, file);
    prefer_ = file;
    prefer_too_ = kvm_vfio;
  }
  // A character device in slot 0, or in the last slot if it is mediated.
  ref cdev_in(const std::string& what, const std::string& state) {
    fresh();
    const target* const t =
        find([&](const target& x) { return x.comparable == (what == "PCI") && !x.cdev.empty(); });
    if (!t) return {kind::cdev, 0};
    const ref on{kind::cdev, device_slot(*t, 0)};
    if (state == "its group is open") open_group(0, *t);
    open(kind::iommufd, 0, "/dev/iommu");
    open_cdev(0, *t);
    if (state == "bound by another file") {
      open_cdev(1, *t);
      bind({kind::cdev, 1}, {kind::iommufd, 0});
    }
    if (state == "bound" || state == "attached") bind(on, {kind::iommufd, 0});
    if (state == "attached") {
      ioas_alloc({kind::iommufd, 0});
      attach(on, 2);
    }
    prefer_ = on;
    return on;
  }
  void cdev_for(const std::vector<std::string>& parts) {
    if (parts.size() < 3) {
      cdev_in("PCI", "bound");
      return;
    }
    if (parts[0] == "ATTACH" && parts.size() == 4) {
      iommufd_with_all();
      const bool mediated = parts[1] == "mediated";
      const ref on{kind::cdev, mediated ? slots - 1 : 0};
      if (parts[2] == "attached") attach(on, mediated ? 1 : 3);
      prefer_ = on;
      return;
    }
    cdev_in(parts[1], parts[2]);
  }
  // Objects: 1 a space, 2 a mapped space, 3 a space in use, 4 and 5 devices, 6 a page table, 7 a
  // device that is attached to 3.
  void iommufd_with_all() {
    fresh();
    const ref fd{kind::iommufd, 0};
    open(kind::iommufd, 0, "/dev/iommu");
    for (int i = 0; i < 3; ++i) ioas_alloc(fd);
    const target* const first =
        find([](const target& x) { return x.comparable && !x.cdev.empty(); });
    const target* const mediated =
        find([](const target& x) { return !x.comparable && !x.cdev.empty(); });
    if (!first) return;
    const target* const second = find([&](const target& x) {
      return x.comparable && !x.cdev.empty() && x.group != first->group;
    });
    open_cdev(0, *first);
    bind({kind::cdev, 0}, fd);
    if (mediated) {
      open_cdev(0, *mediated);
      bind({kind::cdev, slots - 1}, fd);
    }
    u::iommu_hwpt_alloc h{};
    h.size = sizeof h;
    h.dev_id = 4;
    h.pt_id = 1;
    call(fd, "HWPT_ALLOC", u::request_hwpt_alloc, bytes(h));
    // A space with a page table is in use.
    ioas_alloc(fd);
    map_two(fd, 2);
    map_two(fd, 3);
    if (second) {
      open_cdev(1, *second);
      bind({kind::cdev, 1}, fd);
      attach({kind::cdev, 1}, 3);
    }
    prefer_ = fd;
  }
  void open_for(const std::vector<std::string>& parts) {
    fresh();
    if (parts.size() < 3) return;
    const target* const t = parts.size() > 3 ? find_group(parts[2]) : &some_target();
    if (!t) return;
    if (parts.back() == "open" || parts.back() == "its group is open") open_group(0, *t);
    if (parts.back() == "device bound" || parts.back() == "bound") {
      open(kind::iommufd, 0, "/dev/iommu");
      open_cdev(0, *t);
      bind({kind::cdev, device_slot(*t, 0)}, {kind::iommufd, 0});
    }
  }
  void close_for(const row& r, const std::vector<std::string>& parts) {
    if (parts.size() < 3) return file_of(parts.back());
    if (parts[2] == "another descriptor is open") {
      int n = 0;
      while (n < kinds_with_slots - 1 && parts[1] != name_of(static_cast<kind>(n))) ++n;
      const kind k = static_cast<kind>(n);
      for (int i = 0; i < 3; ++i)
        if (now_.file({k, i})) {
          add({.what = verb::dup, .on = {k, i}, .made = {k, i == 0 ? 1 : 0}, .makes = true});
          prefer_ = ref{k, i};
          return;
        }
      return file_of(parts[1]);
    }
    if (parts[1] == name_of(kind::container)) return container_in(parts[2]);
    if (parts[1] == name_of(kind::group)) return group_in(parts[2], some_target());
    if (parts[1] == name_of(kind::cdev)) return void(cdev_in("PCI", parts[2]));
    if (parts[1] == name_of(kind::vm)) return vm_in(parts[2]);
    if (parts[1] == name_of(kind::kvm_vfio)) {
      if (parts[2] == "tracks files") return kvm_for({"FILE_ADD", "a group", "alone", "tracked"});
      vm_in("kvm-vfio");
      prefer_ = ref{kind::kvm_vfio, slots - 1};
      return;
    }
    if (parts[1] == name_of(kind::iommufd)) {
      fresh();
      open(kind::iommufd, 0, "/dev/iommu");
      prefer_ = ref{kind::iommufd, 0};
      if (parts[2] == "objects") ioas_alloc(*prefer_);
      if (parts[2] == "device bound") iommufd_with_all();
      return;
    }
    if (parts[1] == name_of(kind::event)) {
      if (parts[2].ends_with("unmasks")) {
        row armed = r;
        armed.brought = "INTx, unmask eventfd";
        device_for(armed, parts);
        prefer_ = ref{kind::event, 1};
      }
      return file_of(parts[1]);
    }
    device_for(r, parts);
  }
  // A device with the bus, the regions and the interrupts that the parts of a key name.
  bool fits(const target& t, const row& r, const std::vector<std::string>& parts) const {
    if (!t.comparable || !can_be_armed(t.pci, r.brought)) return false;
    for (const std::string& p : parts) {
      if (p.ends_with(" bus reset") || p.ends_with(" on its bus"))
        if (p != t.bus) return false;
      if (p == "can be reset" && !t.pci.resets) return false;
      if (p == "cannot be reset" && t.pci.resets) return false;
      if (r.made_by == family::regions || parts[0] == "GET_REGION_INFO")
        if (is_region(p) && !has_region(t.pci, p)) return false;
    }
    if (r.made_by != family::irqs || parts.size() < 2) return true;
    const std::string& vectors = parts[1];
    for (std::uint32_t i = 0; i < 5; ++i) {
      constexpr const char* of_index[] = {"INTx,", "MSI,", "MSI-X,", "error,", "request,"};
      if (!vectors.starts_with(of_index[i])) continue;
      const kvm_vfio::sim::vfio_device* const d = now_.world().find_device(t.device);
      const std::uint32_t n = d ? d->pci.irqs.count(i) : 0;
      return vectors.ends_with(n == 0 ? "absent" : n == 1 ? "one" : "several");
    }
    return true;
  }
  static bool is_region(const std::string& p) {
    return p.starts_with("memory") && p != "memory disabled"
               ? true
               : p == "ports" || p == "MSI-X table" || p == "ROM" || p == "no ROM" || p == "no BAR";
  }
  static bool has_region(const kvm_vfio::sim::pci_spec& pci, const std::string& wanted) {
    for (std::uint64_t i = 0; i < 7; ++i)
      if (region_in_words(pci, i) == wanted) return true;
    return false;
  }
  void device_for(const row& r, const std::vector<std::string>& parts) {
    const auto has = [&](const std::string& p) {
      return std::find(parts.begin(), parts.end(), p) != parts.end();
    };
    if (has("unbound")) return void(cdev_in("PCI", "unbound"));
    // Stays with a device that is open, if the device fits.
    const bool from_cdev = has("character device") || has("bound") || has("attached");
    const bool hot = r.key.find("HOT_RESET") != std::string::npos;
    std::optional<ref> on;
    for (const kind k : {kind::device, kind::cdev})
      for (int i = 0; i < slots - 1 && !hot; ++i)
        if (const target* const t = device_in({k, i});
            t && fits(*t, r, parts) && now_.device_state({k, i}) != "unbound")
          on = ref{k, i};
    if (!on) {
      const target* const t = find([&](const target& x) { return fits(x, r, parts); });
      if (!t) return;
      if (from_cdev && m_.iommufd) {
        fresh();
        open(kind::iommufd, 0, "/dev/iommu");
        open_cdev(0, *t);
        bind({kind::cdev, 0}, {kind::iommufd, 0});
        on = ref{kind::cdev, 0};
      } else {
        group_in(has("group in an iommufd") ? "in an iommufd, device open"
                                            : "with an IOMMU, device open",
                 *t);
        on = ref{kind::device, 0};
      }
      if (hot)
        if (const target* const other = find([&](const target& x) { return x.group != t->group; }))
          open_group(1, *other);
    }
    prefer_ = on;
    if (!r.brought.empty()) arm(*on, r.brought);
    careful_ = true;
    if (has("connected"))
      connect(*on, parts[1].starts_with("error") ? std::uint32_t{VFIO_PCI_ERR_IRQ_INDEX}
                                                 : std::uint32_t{VFIO_PCI_REQ_IRQ_INDEX});
    if (has("memory disabled") || has("enabled")) {
      step& s = add({.what = verb::pwrite, .on = *on, .name = "config"});
      s.number = config + PCI_COMMAND;
      s.argument = bytes(std::uint16_t{has("enabled") ? std::uint16_t{3} : std::uint16_t{0}});
    }
    if (r.made_by == family::events) {
      prefer_ = ref{kind::event, 1};
      // A count that is there when the eventfd is connected stays.
      if (r.key.find("signalled, unmasks") != std::string::npos) signalled_unmask(*on);
    }
  }
  void connect(ref on, std::uint32_t index) {
    add({.what = verb::eventfd, .made = {kind::event, 0}, .makes = true});
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS,
         bytes(std::uint32_t{24},
               std::uint32_t{VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER}, index, 0U,
               1U, -1),
         {{20, {kind::event, 0}}});
  }
  void signalled_unmask(ref on) {
    const ref unmask{kind::event, 1};
    close(unmask);
    arm(on, "INTx");
    careful_ = true;
    add({.what = verb::write_event, .on = unmask, .number = 1});
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS,
         bytes(std::uint32_t{24},
               std::uint32_t{VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK}, 0U, 0U, 1U,
               -1),
         {{20, unmask}});
  }
};

}  // namespace vfio_lockstep
