// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iommufd_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/iommufd/copy_mappings.hpp>
#include <kvm_vfio/sim/iommufd/hw_info.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE iommufd_file::iommufd_file(iommufd_shared& state)
    : file(file_kind::iommufd), state_(state) {
  state_.files.push_back(this);
}

KVM_VFIO_INLINE answer iommufd_file::ioctl(process& task, std::uint32_t request,
                                           std::uint64_t argument) {
  const guard held(state_.lock);
  update_ranges();
  switch (request) {
    case uapi::request_destroy: return destroy(task, argument);
    case uapi::request_ioas_alloc: return alloc_ioas(task, argument);
    case uapi::request_ioas_iova_ranges: return get_ranges(task, argument);
    case uapi::request_ioas_map: return map(task, argument);
    case uapi::request_ioas_unmap: return unmap(task, argument);
    case uapi::request_ioas_copy: return copy(task, argument);
    case uapi::request_hwpt_alloc: return alloc_hwpt(task, argument);
    case uapi::request_get_hw_info: return get_hw_info(task, argument);
    case uapi::request_vfio_ioas: return set_vfio_ioas(task, argument);
    default: return vfio_request(task, request, argument, space_for_vfio(task));
  }
}

KVM_VFIO_INLINE result<std::uint32_t> iommufd_file::bind(iommu_group& group,
                                                         const device_spec& device) {
  if (const errc e = group.claim_dma(this); e != errc::ok) return e;
  detail::undo claimed([&] { group.release_dma(); });
  if (const errc e = check_interrupts(state_.options, group); e != errc::ok) return e;
  const std::uint32_t id = make(type::device);
  claimed.keep();
  iommufd_object& o = objects_[id];
  o.group = &group;
  o.device = &device;
  o.users = 1;  // VFIO uses the object while the device is open
  return id;
}

KVM_VFIO_INLINE void iommufd_file::unbind(std::uint32_t id) noexcept {
  detach(id);
  objects_[id].group->release_dma();
  objects_.erase(id);
}

KVM_VFIO_INLINE errc iommufd_file::attach(std::uint32_t id, std::uint32_t& pt) {
  update_ranges();
  iommufd_object& d = objects_[id];
  iommufd_object* to = find(pt);
  if (!to) return errc::noent;
  if (d.device->mediated && to->kind != type::ioas) return errc::noent;
  if (to->kind == type::device) return errc::inval;
  iommu_group& group = *d.group;
  // A page table in software, of a device without an IOMMU, is for such devices only.
  if (to->kind == type::hwpt && to->iommu->name.empty() != group.no_iommu()) return errc::inval;
  ioas& space = to->kind == type::ioas ? to->space : to->address_space->space;
  if (!space.fits(d.device->mediated ? ioas::page : smallest_page(group.iommu().page_sizes)))
    return errc::addrinuse;
  if (!d.device->mediated) {
    const auto ranges = narrowed(space.ranges(), group.iommu());
    for (const auto& [iova, m] : space.mappings().all())
      if (!allowed(ranges, m.iova, m.last())) return errc::addrinuse;
    // A device that is attached takes all devices of its group to the new page table.
    iommufd_object* const shared = d.attached_to ? nullptr : table_of(group, &d);
    if (shared) {  // all devices of a group use one page table
      const iommufd_object* const wanted = to->kind == type::ioas ? shared->address_space : shared;
      if (to != wanted) return errc::inval;
    }
    if (to->kind == type::ioas) {
      iommufd_object* const table = shared ? shared : automatic_table(*to, group);
      if (!table)
        if (const errc e = check_table(space, group.iommu()); e != errc::ok) return e;
      to = table ? table : &objects_[make_table(*to, group)];
      if (!table) to->automatic = true;
    }
  }
  // A page table that was made now has no users yet.
  detail::undo table([&] { drop_if_unused(*to); });
  std::vector<std::uint32_t> moved{id};
  if (d.attached_to)
    for (const auto& [other, o] : objects_)
      if (other != id && o.group == &group && o.attached_to) moved.push_back(other);
  if (to->kind == type::hwpt) to->pages.groups.reserve(to->pages.groups.size() + moved.size());
  table.keep();
  for (const std::uint32_t each : moved) {
    if (to->kind == type::hwpt) to->pages.groups.push_back(&group);
    ++to->users;
    detach(each);
    objects_[each].attached_to = to;
  }
  changed();
  pt = id_of(*to);
  return errc::ok;
}

KVM_VFIO_INLINE void iommufd_file::detach(std::uint32_t id) noexcept {
  iommufd_object& d = objects_[id];
  iommufd_object* const from = d.attached_to;
  if (!from) return;
  d.attached_to = nullptr;
  --from->users;
  auto& groups = from->pages.groups;  // with two entries of the group while `attach` replaces this
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (groups[i] != d.group) continue;
    groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  drop_if_unused(*from);
  changed();
}

KVM_VFIO_INLINE iommufd_file::~iommufd_file() {
  const guard held(state_.lock);
  std::erase(state_.files, this);
}

KVM_VFIO_INLINE std::uint32_t iommufd_file::make(type kind) {
  std::uint32_t id = 1;
  for (const auto& [used, o] : objects_) {
    if (used != id) break;
    ++id;
  }
  objects_[id].kind = kind;
  return id;
}

KVM_VFIO_INLINE std::uint32_t iommufd_file::id_of(const iommufd_object& wanted) const noexcept {
  for (const auto& [id, o] : objects_)
    if (&o == &wanted) return id;
  return 0;
}

KVM_VFIO_INLINE iommufd_object* iommufd_file::table_of(const iommu_group& group,
                                                       const iommufd_object* but) noexcept {
  for (auto& [id, o] : objects_)
    if (o.kind == type::device && &o != but && o.attached_to && o.group == &group)
      return o.attached_to;
  return nullptr;
}

KVM_VFIO_INLINE iommufd_object* iommufd_file::automatic_table(const iommufd_object& space,
                                                              const iommu_group& group) noexcept {
  const bool enforce = group.iommu().snoop_control;
  for (auto& [id, o] : objects_)
    if (o.kind == type::hwpt && o.automatic && o.address_space == &space &&
        o.iommu->name.empty() == group.no_iommu() && o.pages.enforce_coherency == enforce)
      return &o;
  return nullptr;
}

KVM_VFIO_INLINE errc iommufd_file::check_table(const ioas& space, const iommu_spec& iommu) const {
  if (!space.fits(smallest_page(iommu.page_sizes))) return errc::addrinuse;
  for (const auto& [iova, m] : space.mappings().all())
    if (m.iova < iommu.aperture.first || m.last() > iommu.aperture.last) return errc::addrinuse;
  return space.check_translation(locked_memory(state_));
}

KVM_VFIO_INLINE std::uint32_t iommufd_file::make_table(iommufd_object& space,
                                                       const iommu_group& group) {
  const std::uint32_t id = make(type::hwpt);
  iommufd_object& o = objects_[id];
  o.address_space = &space;
  o.iommu = &group.iommu();
  o.pages.enforce_coherency = group.iommu().snoop_control;
  ++space.users;
  return id;
}

KVM_VFIO_INLINE void iommufd_file::drop_if_unused(iommufd_object& o) noexcept {
  if (o.kind != type::hwpt || !o.automatic || o.users != 0) return;
  --o.address_space->users;
  objects_.erase(id_of(o));
}

KVM_VFIO_INLINE void iommufd_file::changed() noexcept {
  old_ranges_ = true;
  for (auto& [id, o] : objects_)
    if (o.kind == type::ioas) o.space.set_translated(false);
  for (auto& [id, o] : objects_)
    if (o.kind == type::hwpt) o.address_space->space.set_translated(true);
}

KVM_VFIO_INLINE void iommufd_file::update_ranges() {
  if (!old_ranges_) return;
  for (auto& [id, o] : objects_) {
    if (o.kind != type::ioas) continue;
    auto ranges = every_address();
    std::uint64_t align = 1;
    for (const auto& [other, user] : objects_) {
      if (user.kind == type::device && user.attached_to == &o) align = std::max(align, ioas::page);
      if (user.kind != type::hwpt || user.address_space != &o) continue;
      // A page table has the addresses of its IOMMU; each attached device has reserved regions.
      ranges = intersection(ranges, user.iommu->aperture);
      align = std::max(align, smallest_page(user.iommu->page_sizes));
      for (const iommu_group* g : user.pages.groups) ranges = narrowed(ranges, g->iommu());
    }
    o.space.set_ranges(std::move(ranges), align);
  }
  old_ranges_ = false;
}

KVM_VFIO_INLINE answer iommufd_file::destroy(process& task, std::uint64_t argument) {
  uapi::iommu_destroy c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  iommufd_object* const o = find(c.id);
  if (!o) return errc::noent;
  if (o->users != 0 || o->automatic) return errc::busy;
  if (o->kind == type::hwpt) --o->address_space->users;
  if (c.id == vfio_ioas_) vfio_ioas_ = 0;
  objects_.erase(c.id);
  changed();
  return 0;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_ioas(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_alloc c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.flags) return errc::opnotsupp;
  c.out_ioas_id = make(type::ioas);
  const answer a = respond(task, argument, c);
  if (!a) objects_.erase(c.out_ioas_id);
  return a;
}

KVM_VFIO_INLINE answer iommufd_file::get_ranges(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_iova_ranges c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  const iommufd_object* const o = find(c.ioas_id, type::ioas);
  if (!o) return errc::noent;
  const std::uint32_t room = c.num_iovas;
  c.num_iovas = 0;
  c.out_iova_alignment = o->space.alignment();
  for (const iova_range& r : o->space.ranges()) {
    const uapi::iommu_iova_range out{.start = r.first, .last = r.last};
    if (c.num_iovas < room && !task.copy_to_user(c.allowed_iovas + c.num_iovas * sizeof out, out))
      return errc::fault;
    ++c.num_iovas;
  }
  const answer a = respond(task, argument, c);
  return a && c.num_iovas > room ? answer(errc::msgsize) : a;
}

KVM_VFIO_INLINE answer iommufd_file::map(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_map c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  constexpr std::uint32_t access = uapi::map_readable | uapi::map_writeable;
  if ((c.flags & ~(access | uapi::map_fixed_iova)) || c.reserved) return errc::opnotsupp;
  if (c.iova == ~std::uint64_t{0} || c.length == ~std::uint64_t{0}) return errc::overflow;
  if (!(c.flags & access)) return errc::inval;
  iommufd_object* const o = find(c.ioas_id, type::ioas);
  if (!o) return errc::noent;
  // The kernel also refuses memory that ends with the last address.
  if (c.user_va + c.length < c.user_va) return errc::overflow;
  if (!(c.flags & uapi::map_fixed_iova))
    if (const errc e = o->space.find_free(c.length, c.user_va, state_.options.huge_page, c.iova);
        e != errc::ok)
      return e;
  const errc e =
      map_for(task, room(task), o->space,
              {.iova = c.iova, .size = c.length, .address = c.user_va, .flags = c.flags});
  if (e != errc::ok) return e;
  return respond(task, argument, c);
}

KVM_VFIO_INLINE answer iommufd_file::unmap(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_unmap c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  iommufd_object* const o = find(c.ioas_id, type::ioas);
  if (!o) return errc::noent;
  std::uint64_t done = 0;
  if (c.iova == 0 && c.length == ~std::uint64_t{0}) {
    (void)o->space.unmap(0, ~std::uint64_t{0}, done);
  } else {
    if (c.iova == ~std::uint64_t{0} || c.length == ~std::uint64_t{0}) return errc::overflow;
    if (c.length == 0) return errc::inval;
    if (c.iova + c.length - 1 < c.iova) return errc::overflow;
    if (const errc e = o->space.unmap(c.iova, c.iova + c.length - 1, done); e != errc::ok) return e;
  }
  c.length = done;
  return respond(task, argument, c);
}

KVM_VFIO_INLINE answer iommufd_file::copy(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_copy c{};
  if (const errc r = read_struct(task, argument, c, sizeof c); r != errc::ok) return r;
  const errc e = copy_mappings(task, state_, objects_, c);
  return e == errc::ok ? respond(task, argument, c) : e;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_hwpt(process& task, std::uint64_t argument) {
  uapi::iommu_hwpt_alloc c{};
  constexpr std::size_t least = offsetof(uapi::iommu_hwpt_alloc, data_type);
  if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  const iommufd_object* const d = find(c.dev_id, type::device);
  iommufd_object* const space = find(c.pt_id);
  if (!d || d->device->mediated) return errc::noent;
  if (!space || space->kind == type::device) return errc::inval;
  if (space->kind == type::hwpt || c.flags || c.data_type || c.data_len) return errc::opnotsupp;
  if (const errc e = check_table(space->space, d->group->iommu()); e != errc::ok) return e;
  c.out_hwpt_id = make_table(*space, *d->group);
  const answer a = respond(task, argument, c);
  if (!a) {
    --space->users;
    objects_.erase(c.out_hwpt_id);
  }
  changed();
  return a;
}

KVM_VFIO_INLINE answer iommufd_file::get_hw_info(process& task, std::uint64_t argument) {
  uapi::iommu_hw_info c{};
  constexpr std::size_t least = offsetof(uapi::iommu_hw_info, out_capabilities);
  if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
  constexpr std::uint32_t with_type = 1;  // the caller chooses the type of the data; 0: any type
  if ((c.flags & ~with_type) || c.reserved) return errc::opnotsupp;
  const iommufd_object* const d = find(c.dev_id, type::device);
  if (!d || d->device->mediated) return errc::noent;
  return answer_hw_info(task, argument, c, *d->group, *d->device);
}

KVM_VFIO_INLINE answer iommufd_file::set_vfio_ioas(process& task, std::uint64_t argument) {
  uapi::iommu_vfio_ioas c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  switch (c.op) {
    case uapi::vfio_ioas_get:
      if (vfio_ioas_ == 0) return errc::nodev;
      c.ioas_id = vfio_ioas_;
      return respond(task, argument, c);
    case uapi::vfio_ioas_set:
      if (!find(c.ioas_id, type::ioas)) return errc::noent;
      vfio_ioas_ = c.ioas_id;
      return 0;
    case uapi::vfio_ioas_clear: vfio_ioas_ = 0; return 0;
    default: return errc::opnotsupp;
  }
}

KVM_VFIO_INLINE std::uint64_t iommufd_file::room(process& task) const {
  const auto account = task.account();
  // Without a limit nothing need be counted.
  if (account->limit == ~std::uint64_t{0}) return account->limit;
  return account->room(locked_memory(state_)[account->user].bytes());
}

KVM_VFIO_INLINE vfio_space iommufd_file::space_for_vfio(process& task) {
  if (vfio_ioas_ == 0) return {.no_iommu = no_iommu_, .knows_no_iommu = state_.noiommu_mode};
  iommufd_object& o = objects_[vfio_ioas_];
  vfio_space s{.space = &o.space,
               .page_sizes = ~std::uint64_t{0} << 12,
               .room = room(task),
               .no_iommu = no_iommu_,
               .knows_no_iommu = state_.noiommu_mode};
  for (const auto& [id, table] : objects_) {
    if (table.kind != type::hwpt || table.address_space != &o) continue;
    s.coherent = s.coherent && table.pages.enforce_coherency;
    s.page_sizes &= table.iommu->page_sizes;
  }
  return s;
}

}  // namespace kvm_vfio::sim
