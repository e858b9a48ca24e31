// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iommufd_file.hpp that answer the ioctls of an iommufd.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommufd/copy_mappings.hpp>
#include <kvm_vfio/sim/iommufd/hw_info.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE answer iommufd_file::destroy(process& task, std::uint64_t argument) {
  uapi::iommu_destroy c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  iommufd_object* const o = find(c.id);
  if (!o) return errc::noent;
  if (o->users != 0 || o->automatic) return errc::busy;
  if (o->kind == type::hwpt) --o->address_space->users;
  if (o->faults) --o->faults->users;
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

KVM_VFIO_INLINE answer iommufd_file::allow_iovas(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_allow_iovas c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  iommufd_object* const o = find(c.ioas_id, type::ioas);
  if (!o) return errc::noent;
  std::map<std::uint64_t, std::uint64_t> starts;  // the first addresses, by the last ones
  for (std::uint32_t i = 0; i < c.num_iovas; ++i) {
    uapi::iommu_iova_range r{};
    if (!task.copy_from_user(c.allowed_iovas + i * sizeof r, r)) return errc::fault;
    const auto other = starts.lower_bound(r.start);
    if (r.start >= r.last || (other != starts.end() && other->second <= r.last)) return errc::inval;
    starts.emplace(r.last, r.start);
  }
  std::vector<iova_range> ranges;
  ranges.reserve(starts.size());
  for (const auto& [last, first] : starts) ranges.push_back({first, last});
  return to_answer(o->space.choose_from(ranges));
}

KVM_VFIO_INLINE answer iommufd_file::option(process& task, std::uint64_t argument) {
  uapi::iommu_option c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  const bool set = c.op == uapi::option_set, get = c.op == uapi::option_get;
  if (c.option_id == uapi::option_rlimit_mode) {
    if (c.object_id != 0 || (!set && !get)) return errc::opnotsupp;
    if (set && !objects_.empty()) return errc::busy;
    if (set && c.val64 > 1) return errc::inval;
    if (set) charges_process_ = c.val64 == 1;
    c.val64 = charges_process_ ? 1 : 0;
  } else if (c.option_id == uapi::option_huge_pages) {
    iommufd_object* const o = find(c.object_id, type::ioas);
    if (!o) return errc::noent;
    if (!set && !get) return errc::opnotsupp;
    if (set && c.val64 > 1) return errc::inval;
    if (set && c.val64 == 0)
      if (const errc e = o->space.use_small_pages(); e != errc::ok) return e;
    if (set && c.val64 == 1) o->space.use_large_pages();
    if (set) changed();
    c.val64 = o->space.small_pages() ? 0 : 1;
  } else {
    return errc::opnotsupp;
  }
  return respond(task, argument, c);
}

KVM_VFIO_INLINE errc iommufd_file::map_at(process& task, ioas& to, dma_mapping m,
                                          std::uint64_t& iova) {
  if (!(m.flags & uapi::map_fixed_iova))
    if (const errc e = to.find_free(m.size, m.address, state_.options.huge_page, iova);
        e != errc::ok)
      return e;
  m.iova = iova;
  m.charges_process = charges_process_;
  return map_for(task, room(task), to, std::move(m));
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
  const errc e =
      map_at(task, o->space, {.size = c.length, .address = c.user_va, .flags = c.flags}, c.iova);
  return e == errc::ok ? respond(task, argument, c) : e;
}

KVM_VFIO_INLINE answer iommufd_file::map_file(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_map_file c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  constexpr std::uint32_t access = uapi::map_readable | uapi::map_writeable;
  constexpr std::uint64_t end = ~std::uint64_t{0};
  if (c.flags & ~(access | uapi::map_fixed_iova)) return errc::opnotsupp;
  if (c.iova == end || c.length == end) return errc::overflow;
  if (!(c.flags & access)) return errc::inval;
  iommufd_object* const o = find(c.ioas_id, type::ioas);
  if (!o) return errc::noent;
  if (c.length == 0) return errc::inval;
  if (c.start + (c.length - 1) < c.start) return errc::overflow;
  auto from = state_.unmapped.make();
  const result<file*> opened = task.fget(c.fd);
  if (!opened) return opened.error();
  from->open.reset(*opened);
  if (c.length > end - ioas::page) return errc::inval;
  const errc e = map_at(
      task, o->space,
      {.size = c.length, .address = c.start, .flags = c.flags, .file = std::move(from)}, c.iova);
  return e == errc::ok ? respond(task, argument, c) : e;
}

KVM_VFIO_INLINE answer iommufd_file::change_process(process& task, std::uint64_t argument) {
  uapi::iommu_ioas_change_process c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  const auto account = task.account();
  // Memory that another process is charged for. The kernel charges the caller before it discharges
  // the other process, so the memory of one user counts twice for a moment.
  std::map<bool, locked_pages> changes;  // by whether the process is charged, and not its user
  errc changed = errc::ok;
  for (const auto& [id, o] : objects_) {
    if (o.kind != type::ioas) continue;
    for (const auto& [iova, m] : o.space.mappings().all()) {
      if (!m.file) return errc::inval;
      const bool same = m.account->address_space == account->address_space &&
                        (m.charges_process || m.user == account->user);
      if (!m.counted || same) continue;
      if (o.space.translated()) changes[m.charges_process].add(m);
      // The kernel changes this mapping, too, but cannot discharge a process that has ended.
      if (m.charges_process && m.account->has_ended()) changed = errc::inval;
    }
  }
  for (const auto& [charges_process, pages] : changes)
    if (pages.bytes() > room(*account, charges_process)) return errc::nomem;
  for (auto& [id, o] : objects_) o.space.charge(account);
  return to_answer(changed);
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

KVM_VFIO_INLINE answer iommufd_file::get_hw_info(process& task, std::uint64_t argument) {
  uapi::iommu_hw_info c{};
  constexpr std::size_t least = offsetof(uapi::iommu_hw_info, out_capabilities);
  if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
  // The caller may choose the type of the data. The lowest byte of the reserved ones is an answer.
  const std::uint32_t with_type = state_.release.maps_files ? 1 : 0;
  if ((c.flags & ~with_type) || c.reserved >> 8) return errc::opnotsupp;
  c.reserved = 0;
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

KVM_VFIO_INLINE std::uint64_t iommufd_file::room(const memory_account& account,
                                                 bool charges_process) const {
  // Without a limit nothing need be counted.
  if (account.limit == ~std::uint64_t{0}) return account.limit;
  std::uint64_t bytes = locked_by_iommufds(state_)[charged_for(account, charges_process)].bytes();
  if (charges_process)
    bytes += state_.locked_by_containers(state_.containers, account.address_space);
  return account.room(bytes);
}

KVM_VFIO_INLINE std::uint64_t iommufd_file::room(process& task) const {
  return room(*task.account(), charges_process_);
}

KVM_VFIO_INLINE vfio_space iommufd_file::space_for_vfio(process& task) {
  if (vfio_ioas_ == 0) return {.no_iommu = no_iommu_, .knows_no_iommu = state_.noiommu_mode};
  iommufd_object& o = objects_[vfio_ioas_];
  vfio_space s{.space = &o.space,
               .page_sizes = ~std::uint64_t{0} << 12,
               .room = room(task),
               .charges_process = charges_process_,
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
