// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences that bring a file into a state, for combinations that random steps seldom meet.

#include "../combinations.hpp"
#include "device.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// Brings containers, groups, iommufds, character devices and VMs into a state. Each function sets
/// `prefer_` to the file that is in the state.
class state_steps : public device_steps {
 protected:
  using device_steps::device_steps;

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
    // A third one beside the second, whose memory devices only read.
    u::iommu_ioas_map d{};
    d.size = sizeof d;
    d.flags = u::map_fixed_iova | u::map_readable;
    d.ioas_id = ioas;
    d.user_va = 8 * m_.page;
    d.length = m_.page;
    d.iova = 0x100000 + 6 * m_.page;
    call(on, "IOAS_MAP", u::request_ioas_map, bytes(d), {{16, {kind::dma_memory}}});
    // A fourth one beside the first.
    d.flags = u::map_fixed_iova | u::map_readable | u::map_writeable;
    d.iova = 0x100000 + 2 * m_.page;
    call(on, "IOAS_MAP", u::request_ioas_map, bytes(d), {{16, {kind::dma_memory}}});
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
    // A space with a page table is in use. A mapping or a copy soon fills an empty one.
    for (int i = 0; i < 3; ++i) ioas_alloc(fd);
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
};

}  // namespace vfio_lockstep
