// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iommufd_file.hpp that answer the ioctls for page tables, dirty pages, faults
/// and virtual IOMMUs. The simulated IOMMUs can neither nest nor track dirty pages.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommufd/fault_queue.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE result<void*> iommufd_file::mmap(std::uint64_t /*size*/, int /*protection*/,
                                                 std::uint64_t /*offset*/) {
  return state_.release.maps_files ? errc::nxio : errc::nodev;
}

KVM_VFIO_INLINE answer iommufd_file::table_request(process& task, std::uint32_t request,
                                                   std::uint64_t argument) {
  switch (request) {
    case uapi::request_hwpt_set_dirty_tracking: return set_dirty_tracking(task, argument);
    case uapi::request_hwpt_get_dirty_bitmap: return get_dirty_bitmap(task, argument);
    case uapi::request_hwpt_invalidate: return invalidate(task, argument);
    default: break;
  }
  if (state_.release.maps_files) switch (request) {
      case uapi::request_ioas_map_file: return map_file(task, argument);
      case uapi::request_ioas_change_process: return change_process(task, argument);
      case uapi::request_viommu_alloc: return alloc_viommu(task, argument);
      case uapi::request_vdevice_alloc:
      case uapi::request_veventq_alloc:
      case uapi::request_hw_queue_alloc: return alloc_of_viommu(task, request, argument);
      case uapi::request_ioas_noiommu_get_pa: return get_physical(task, argument);
      default: break;
    }
  return vfio_request(task, request, argument, space_for_vfio(task));
}

KVM_VFIO_INLINE bool iommufd_file::can_have(const iommu_group& group, std::uint32_t flags,
                                            std::uint32_t data) const noexcept {
  if (!state_.release.maps_files || data != 0) return flags == 0 && data == 0;
  if (group.no_iommu()) return (flags & ~uapi::hwpt_fault_id_valid) == 0;
  if (!group.vtd_ecap()) return flags == 0;
  return (flags & ~(uapi::hwpt_fault_id_valid | uapi::hwpt_pasid)) == 0;
}

KVM_VFIO_INLINE errc iommufd_file::refuse_nested(const iommu_group& group, std::uint32_t flags,
                                                 std::uint32_t data) const noexcept {
  std::uint32_t known = uapi::hwpt_fault_id_valid;
  if (state_.release.maps_files) known |= uapi::hwpt_pasid;
  if ((flags & ~known) || data == 0 || !group.vtd_ecap()) return errc::opnotsupp;
  return errc::inval;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_hwpt(process& task, std::uint64_t argument) {
  uapi::iommu_hwpt_alloc c{};
  constexpr std::size_t least = offsetof(uapi::iommu_hwpt_alloc, data_type);
  if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
  if (c.reserved) return errc::opnotsupp;
  if ((c.data_type == 0) != (c.data_len == 0)) return errc::inval;
  const iommufd_object* const d = find(c.dev_id, type::device);
  iommufd_object* const space = find(c.pt_id);
  if (!d || d->device->mediated) return errc::noent;
  if (!space || (space->kind != type::ioas && space->kind != type::hwpt)) return errc::inval;
  if (space->kind == type::hwpt) return refuse_nested(*d->group, c.flags, c.data_len);
  if (!can_have(*d->group, c.flags, c.data_len)) return errc::opnotsupp;
  if (const errc e = check_table(space->space, d->group->iommu()); e != errc::ok) return e;
  iommufd_object* faults = nullptr;
  if (c.flags & uapi::hwpt_fault_id_valid) {
    faults = find(c.fault_id, type::fault);
    if (!faults) return errc::noent;
  }
  c.out_hwpt_id = make_table(*space, *d->group);
  const answer a = respond(task, argument, c);
  if (a) {
    objects_[c.out_hwpt_id].faults = faults;
    if (faults) ++faults->users;
  } else {
    --space->users;
    objects_.erase(c.out_hwpt_id);
  }
  changed();
  return a;
}

KVM_VFIO_INLINE answer iommufd_file::set_dirty_tracking(process& task, std::uint64_t argument) {
  uapi::iommu_hwpt_set_dirty_tracking c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  constexpr std::uint32_t enable = 1;
  if (c.flags & ~enable) return errc::opnotsupp;
  return find(c.hwpt_id, type::hwpt) ? errc::opnotsupp : errc::noent;
}

KVM_VFIO_INLINE answer iommufd_file::get_dirty_bitmap(process& task, std::uint64_t argument) {
  uapi::iommu_hwpt_get_dirty_bitmap c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  constexpr std::uint32_t no_clear = 1;
  if ((c.flags & ~no_clear) || c.reserved) return errc::opnotsupp;
  const iommufd_object* const table = find(c.hwpt_id, type::hwpt);
  if (!table) return errc::noent;
  if (c.length == 0) return errc::inval;
  const std::uint64_t last = c.iova + (c.length - 1);
  if (last < c.iova) return errc::overflow;
  for (const std::uint64_t unit : {table->address_space->space.alignment(), c.page_size})
    if (unit == 0 || ((c.iova | (last + 1)) & (unit - 1)) != 0) return errc::inval;
  return errc::opnotsupp;
}

KVM_VFIO_INLINE answer iommufd_file::invalidate(process& task, std::uint64_t argument) {
  uapi::iommu_hwpt_invalidate c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  constexpr std::uint32_t most = 1U << 19;
  const bool wrong = c.entry_num != 0 && (c.data_uptr == 0 || c.entry_len == 0 ||
                                          c.entry_len > ioas::page || c.entry_num > most);
  errc refused = errc::noent;
  if (c.reserved) refused = errc::opnotsupp;
  else if (wrong || (state_.release.maps_files && find(c.hwpt_id))) refused = errc::inval;
  c.entry_num = 0;  // the number of entries that were used, which is written in any case
  const answer a = respond(task, argument, c);
  return a ? answer(refused) : a;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_fault_queue(process& task, std::uint64_t argument) {
  uapi::iommu_fault_alloc c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.flags) return errc::opnotsupp;
  auto* const queue = new fault_queue(*this);
  file_ref made(queue);
  queue->get();  // the descriptor's reference, because another thread may close the descriptor
  const answer fd = task.insert(file_ref(queue));
  if (!fd) return fd;
  c.out_fault_fd = static_cast<std::uint32_t>(*fd);
  detail::undo opened([&] { task.lend(static_cast<int>(*fd), nullptr); });
  // No other thread sees an object that is then not made: a page table might already use it.
  const guard held(state_.lock);
  c.out_fault_id = make(type::fault);
  const answer a = respond(task, argument, c);
  if (!a) {
    objects_.erase(c.out_fault_id);
    return a;
  }
  objects_[c.out_fault_id].users = 1;  // the file uses the object
  queue->belongs_to(c.out_fault_id);
  opened.keep();
  return a;
}

KVM_VFIO_INLINE void iommufd_file::fault_queue_closed(std::uint32_t id) noexcept {
  const guard held(state_.lock);
  if (iommufd_object* const o = find(id, type::fault)) --o->users;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_viommu(process& task, std::uint64_t argument) {
  uapi::iommu_viommu_alloc c{};
  constexpr std::size_t least = offsetof(uapi::iommu_viommu_alloc, data_len);
  if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
  if (c.flags || c.type == 0) return errc::opnotsupp;
  const iommufd_object* const d = find(c.dev_id, type::device);
  return !d || d->device->mediated ? errc::noent : errc::opnotsupp;
}

KVM_VFIO_INLINE answer iommufd_file::alloc_of_viommu(process& task, std::uint32_t request,
                                                     std::uint64_t argument) {
  // No virtual IOMMU exists.
  if (request == uapi::request_vdevice_alloc) {
    uapi::iommu_vdevice_alloc c{};
    const errc e = read_struct(task, argument, c, sizeof c);
    return e == errc::ok ? errc::noent : e;
  }
  if (request == uapi::request_veventq_alloc) {
    uapi::iommu_veventq_alloc c{};
    constexpr std::size_t least = offsetof(uapi::iommu_veventq_alloc, reserved);
    if (const errc e = read_struct(task, argument, c, least); e != errc::ok) return e;
    constexpr std::uint32_t deepest = 1U << 19;
    if (c.flags || c.reserved || c.type == 0) return errc::opnotsupp;
    return c.veventq_depth == 0 || c.veventq_depth > deepest ? errc::inval : errc::noent;
  }
  uapi::iommu_hw_queue_alloc c{};
  if (const errc e = read_struct(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.flags || c.type == 0) return errc::opnotsupp;
  if (c.length == 0) return errc::inval;
  return c.nesting_parent_iova + (c.length - 1) < c.nesting_parent_iova ? errc::overflow
                                                                        : errc::noent;
}

KVM_VFIO_INLINE answer iommufd_file::get_physical(process& task, std::uint64_t argument) {
  std::uint32_t c[10] = {};
  const errc e = read_struct(task, argument, c, sizeof c);
  return e == errc::ok ? errc::opnotsupp : e;
}

}  // namespace kvm_vfio::sim
