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
#include <kvm_vfio/sim/iommu/mapped_file.hpp>
#include <kvm_vfio/sim/iommufd/copy_mappings.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE iommufd_guard::iommufd_guard(iommufd_shared& state) noexcept
    : state_(state), held_(state.lock) {
  ++state.guards;
}

KVM_VFIO_INLINE iommufd_guard::~iommufd_guard() {
  if (--state_.guards == 0) unmapped_.take_from(state_.unmapped);
}

KVM_VFIO_INLINE iommufd_file::iommufd_file(iommufd_shared& state)
    : file(file_kind::iommufd), state_(state) {
  state_.files.push_back(this);
}

KVM_VFIO_INLINE answer iommufd_file::ioctl(process& task, std::uint32_t request,
                                           std::uint64_t argument) {
  if (request == uapi::request_fault_queue_alloc) return alloc_fault_queue(task, argument);
  const iommufd_guard held(state_);
  update_ranges();
  switch (request) {
    case uapi::request_destroy: return destroy(task, argument);
    case uapi::request_ioas_alloc: return alloc_ioas(task, argument);
    case uapi::request_ioas_iova_ranges: return get_ranges(task, argument);
    case uapi::request_ioas_map: return map(task, argument);
    case uapi::request_ioas_unmap: return unmap(task, argument);
    case uapi::request_ioas_allow_iovas: return allow_iovas(task, argument);
    case uapi::request_ioas_copy: return copy(task, argument);
    case uapi::request_option: return option(task, argument);
    case uapi::request_hwpt_alloc: return alloc_hwpt(task, argument);
    case uapi::request_get_hw_info: return get_hw_info(task, argument);
    case uapi::request_vfio_ioas: return set_vfio_ioas(task, argument);
    default: return table_request(task, request, argument);
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
  if (to->kind != type::ioas && to->kind != type::hwpt) return errc::inval;
  iommu_group& group = *d.group;
  // A page table in software, of a device without an IOMMU, is for such devices only.
  if (to->kind == type::hwpt && to->iommu->name.empty() != group.no_iommu()) return errc::inval;
  // All devices of a group use one page table. A device that is attached takes them all to the new
  // one. For an address space Linux tries only page tables that an attach has made.
  const bool alone = d.device->mediated || d.attached_to;
  iommufd_object* const shared = alone ? nullptr : table_of(group, &d);
  if (shared && to->kind == type::ioas && (!shared->automatic || shared->address_space != to))
    return errc::inval;
  if (shared && to->kind == type::hwpt && shared != to) return errc::inval;
  ioas& space = to->kind == type::ioas ? to->space : to->address_space->space;
  if (!space.fits(d.device->mediated ? ioas::page : smallest_page(group.iommu().page_sizes)))
    return errc::addrinuse;
  if (!d.device->mediated) {
    if (!space.is_within(narrowed(space.ranges(), group.iommu()))) return errc::addrinuse;
    // No simulated device can report faults.
    if (to->faults && !group.no_iommu()) return errc::nodev;
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
  const iommufd_guard held(state_);
  objects_.clear();
  std::erase(state_.files, this);
}

KVM_VFIO_INLINE void iommufd_file::unmap_all(bool of_kvm) noexcept {
  std::uint64_t done = 0;
  const auto is_of_kvm = [](const file_ref& f) {
    return f->kind() == file_kind::kvm || f->kind() == file_kind::tce_table;
  };
  for (auto& [id, o] : objects_)
    for (auto next = o.space.mappings().all().begin(); next != o.space.mappings().all().end();) {
      const dma_mapping& m = (next++)->second;
      const std::uint64_t first = m.iova, last = m.last();
      if (!of_kvm || (m.file && is_of_kvm(m.file->open))) (void)o.space.unmap(first, last, done);
    }
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

KVM_VFIO_INLINE iommufd_object* iommufd_file::find(std::uint32_t id) noexcept {
  const auto found = objects_.find(id);
  return found == objects_.end() ? nullptr : &found->second;
}

KVM_VFIO_INLINE iommufd_object* iommufd_file::find(std::uint32_t id, type kind) noexcept {
  iommufd_object* const o = find(id);
  return o && o->kind == kind ? o : nullptr;
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

KVM_VFIO_INLINE locked_by_user locked_memory(const iommufd_shared& state) {
  locked_by_user all = locked_by_iommufds(state);
  for (const iommufd_file* f : state.files)
    for (const auto& [id, o] : f->objects())
      for (const auto& [iova, m] : o.space.mappings().all()) {
        if (!m.account || !m.charges_process) continue;
        locked_pages& of_process = all[charged_for(*m.account, true)];
        if (!of_process.knows_containers())
          of_process.with_containers(
              state.locked_by_containers(state.containers, m.account->address_space));
      }
  return all;
}

KVM_VFIO_INLINE locked_by_user locked_by_iommufds(const iommufd_shared& state) {
  locked_by_user all;
  for (const iommufd_file* f : state.files)
    for (const auto& [id, o] : f->objects())
      if (o.kind == iommufd_object::type::ioas) o.space.add_locked(all);
  return all;
}

KVM_VFIO_INLINE errc iommufd_file::check_table(const ioas& space, const iommu_spec& iommu) const {
  if (!space.fits(smallest_page(iommu.page_sizes))) return errc::addrinuse;
  if (!space.is_within({iommu.aperture})) return errc::addrinuse;
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

}  // namespace kvm_vfio::sim
