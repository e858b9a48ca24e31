// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of type1.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/dirty_pages.hpp>
#include <kvm_vfio/sim/vfio/type1.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE type1_iommu::type1_iommu(const vfio_state& state, type1_version version)
    : state_(state), v2_(version == type1_version::v2), available_(state.options.dma_entry_limit) {}

KVM_VFIO_INLINE bool type1_iommu::has_unopened(const linux_release& release,
                                               std::uint64_t extension) noexcept {
  return extension == VFIO_TYPE1_IOMMU || extension == VFIO_TYPE1v2_IOMMU ||
         extension == uapi::unmap_all_extension ||
         (extension == uapi::nesting_extension && release.nesting);
}

KVM_VFIO_INLINE bool type1_iommu::has(std::uint64_t extension) const noexcept {
  if (extension == VFIO_DMA_CC_IOMMU) return coherent();
  if (extension == uapi::update_vaddr_extension) return mediated_ == 0;
  return has_unopened(state_.release, extension);
}

KVM_VFIO_INLINE errc type1_iommu::attach(iommu_group& group) {
  if (stale()) return errc::busy;
  if (group.mediated()) {
    ++mediated_;
    return errc::ok;
  }
  if (const errc e = check_interrupts(state_.options, group); e != errc::ok) return e;
  auto narrow = narrowed(ranges(), group.iommu());
  const iova_range& aperture = group.iommu().aperture;
  for (const auto& [iova, m] : maps_.all()) {
    if (allowed(narrow, m.iova, m.last())) continue;
    // For the first domain the kernel notices only while it maps that the aperture is too small.
    const bool inside = m.iova >= aperture.first && m.last() <= aperture.last;
    return inside || tells_ranges_ ? errc::inval : errc::range;
  }
  // The memory is pinned when the first domain translates the mappings.
  if (domains_.empty())
    if (const errc e = pin_all(); e != errc::ok) return e;
  join_domain(domains_, group);
  ranges_ = std::move(narrow);
  tells_ranges_ = true;
  pick_page_sizes();
  return errc::ok;
}

KVM_VFIO_INLINE void type1_iommu::detach(iommu_group& group) noexcept {
  if (group.mediated()) {
    --mediated_;
  } else {
    leave_domain(domains_, group);
    // What the group's devices have written stays dirty (vfio_iommu_populate_bitmap_full).
    dirty_.mark_all(maps_, page());
  }
  if (domains_.empty() && mediated_ == 0) {
    maps_.clear();
    dirty_.stop();
  }
  old_ranges_ = true;
  pick_page_sizes();
}

KVM_VFIO_INLINE const std::vector<iova_range>& type1_iommu::ranges() {
  if (!old_ranges_) return ranges_;
  auto all = every_address();
  for (const auto& d : domains_)
    for (const iommu_group* g : d->groups) all = narrowed(all, g->iommu());
  ranges_ = std::move(all);
  old_ranges_ = false;
  return ranges_;
}

KVM_VFIO_INLINE answer type1_iommu::ioctl(process& task, std::uint32_t request,
                                          std::uint64_t argument) {
  switch (request) {
    case VFIO_IOMMU_GET_INFO: return get_info(task, argument);
    case VFIO_IOMMU_MAP_DMA: return map(task, argument);
    case VFIO_IOMMU_UNMAP_DMA: return unmap(task, argument);
    case VFIO_IOMMU_DIRTY_PAGES: return track_dirty(task, argument);
    default: return errc::notty;
  }
}

KVM_VFIO_INLINE bool type1_iommu::coherent() const noexcept {
  for (const auto& d : domains_)
    if (!d->enforce_coherency) return false;
  return true;
}

KVM_VFIO_INLINE void type1_iommu::pick_page_sizes() noexcept {
  page_sizes_ = ~std::uint64_t{0} << 12;
  for (const auto& d : domains_)
    for (const iommu_group* g : d->groups) page_sizes_ &= g->iommu().page_sizes;
}

KVM_VFIO_INLINE answer type1_iommu::get_info(process& task, std::uint64_t argument) {
  vfio_iommu_type1_info info{};
  constexpr std::size_t least = offsetof(vfio_iommu_type1_info, cap_offset);
  if (const errc e = detail::read_argsz(task, argument, info, least); e != errc::ok) return e;
  const std::size_t size = state_.release.info_written(info.argsz);
  detail::capability_chain caps(state_.release.aligned_capabilities);
  caps.add(VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, 1,
           detail::bytes_of(std::uint32_t{0}, std::uint32_t{0}, page(), std::uint64_t{1} << 28));
  caps.add(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1,
           detail::bytes_of(available_ - static_cast<std::uint32_t>(maps_.size())));
  if (tells_ranges_) {
    auto body = detail::bytes_of(static_cast<std::uint32_t>(ranges().size()), std::uint32_t{0});
    for (const iova_range& r : ranges()) {
      const auto raw = detail::bytes_of(r.first, r.last);
      body.insert(body.end(), raw.begin(), raw.end());
    }
    caps.add(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, body);
  }
  info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
  info.iova_pgsizes = page_sizes_;
  info.cap_offset = 0;
  if (const errc e = caps.write_behind(task, argument, info); e != errc::ok) return e;
  return detail::write_back(task, argument, info, size);
}

KVM_VFIO_INLINE answer type1_iommu::map(process& task, std::uint64_t argument) {
  vfio_iommu_type1_dma_map m{};
  if (const errc e = detail::read_argsz(task, argument, m, sizeof m); e != errc::ok) return e;
  constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  const bool update = m.flags & uapi::dma_map_vaddr;
  if (m.flags & ~(access | uapi::dma_map_vaddr)) return errc::inval;
  const std::uint64_t last = m.iova + m.size - 1;
  const bool wraps = m.size != 0 && (last < m.iova || m.vaddr + m.size - 1 < m.vaddr);
  if (wraps && state_.release.wrapping_overflows) return errc::overflow;
  // A new mapping needs an access flag; a call that gives a new address must not have one.
  const bool has_access = (m.flags & access) != 0;
  if (has_access == update) return errc::inval;
  if (m.size == 0 || ((m.size | m.iova | m.vaddr) & (page() - 1)) || wraps) return errc::inval;
  if (update) return to_answer(set_address(task, m));
  if (maps_.find(m.iova, last)) return errc::exists;
  if (maps_.size() >= available_) return errc::nospc;
  if (!allowed(ranges(), m.iova, last)) return errc::inval;
  const bool bar = task.maps_file(m.vaddr, m.size);
  dma_mapping made{
      .iova = m.iova,
      .size = m.size,
      .address = m.vaddr,
      .flags = m.flags,
      .pinnable = task.mem().pinnable(m.vaddr, m.size, (m.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0),
      .counted = !bar,
      .account = task.account()};
  made.limited = !made.account->unlimited;
  if (!domains_.empty())
    if (const errc e = pin(task, made); e != errc::ok) return e;
  dirty_.add(made);
  maps_.add(made);
  return 0;
}

KVM_VFIO_INLINE answer type1_iommu::unmap(process& task, std::uint64_t argument) {
  vfio_iommu_type1_dma_unmap u{};
  constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
  if (const errc e = detail::read_argsz(task, argument, u, size); e != errc::ok) return e;
  const bool tell_dirty = u.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
  vfio_bitmap b{};
  if (tell_dirty) {
    if (const errc e = read_bitmap(task, argument, u, b); e != errc::ok) return e;
  } else if (u.flags & ~(uapi::dma_unmap_all | uapi::dma_unmap_vaddr)) {
    return errc::inval;
  }
  const bool all = u.flags & uapi::dma_unmap_all;
  const bool forget = u.flags & uapi::dma_unmap_vaddr;
  if (forget && mediated_ != 0) return errc::busy;
  if (u.iova & (page() - 1)) return errc::inval;
  const std::uint64_t last = all ? ~std::uint64_t{0} : u.iova + u.size - 1;
  if (all ? (u.iova || u.size) : (!u.size || (u.size & (page() - 1)))) return errc::inval;
  if (!all && last < u.iova)
    return state_.release.wrapping_overflows ? errc::overflow : errc::inval;
  if (tell_dirty && (!dirty_.tracked() || b.pgsize != page())) return errc::inval;
  if (v2_ && !all && !cuts_nothing(u.iova, last)) return errc::inval;
  if (forget) {
    std::uint64_t done = 0;
    if (const errc e = forget_addresses(u.iova, last, done); e != errc::ok) return e;
    u.size = done;
    return detail::write_back(task, argument, u, size);
  }
  u.size = 0;
  while (const dma_mapping* m = maps_.find(u.iova, last)) {
    if (!v2_ && m->iova < u.iova) break;  // version 1 unmaps a mapping only from its start
    if (tell_dirty)
      if (const errc e = dirty_.write(task, b, *m, u.iova, !domains_.empty()); e != errc::ok)
        return e;
    u.size += m->size;
    dirty_.remove(*m);
    maps_.remove(*m);
  }
  return detail::write_back(task, argument, u, size);
}

KVM_VFIO_INLINE answer type1_iommu::track_dirty(process& task, std::uint64_t argument) {
  if (!v2_) return errc::access;
  struct {
    std::uint32_t argsz;
    std::uint32_t flags;
  } h{};
  if (const errc e = detail::read_argsz(task, argument, h, sizeof h); e != errc::ok) return e;
  switch (h.flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
      if (!dirty_.tracked()) dirty_.start(maps_);
      return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP: dirty_.stop(); return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
      return to_answer(get_bitmap(task, argument + sizeof h, h.argsz - sizeof h));
    default: return errc::inval;
  }
}

KVM_VFIO_INLINE errc type1_iommu::get_bitmap(process& task, std::uint64_t argument,
                                             std::size_t size) {
  vfio_iommu_type1_dirty_bitmap_get range{};
  if (size < sizeof range) return errc::inval;
  if (!task.copy_from_user(argument, range)) return errc::fault;
  const std::uint64_t last = range.iova + range.size - 1;
  // The last range of all does not wrap around, but its end is 0.
  if (state_.release.wrapping_overflows && range.size != 0) {
    if (last < range.iova) return errc::overflow;
  } else if (range.iova + range.size < range.iova) {
    return errc::inval;
  }
  if (!has_room(range.bitmap, range.size) || range.bitmap.pgsize != page() ||
      ((range.iova | range.size) & (page() - 1)) || range.size == 0 || !dirty_.tracked() ||
      !cuts_nothing(range.iova, last))
    return errc::inval;
  for (const dma_mapping* m = maps_.at_or_after(range.iova); m && m->iova <= last;
       m = maps_.next(*m)) {
    const errc e = dirty_.write(task, range.bitmap, *m, range.iova, !domains_.empty());
    if (e != errc::ok) return e;
    dirty_.clean(*m, page());
  }
  return errc::ok;
}

KVM_VFIO_INLINE errc type1_iommu::read_bitmap(process& task, std::uint64_t argument,
                                              const vfio_iommu_type1_dma_unmap& u, vfio_bitmap& b) {
  constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
  if (u.flags != VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP || u.argsz < size + sizeof b)
    return errc::inval;
  if (!task.copy_from_user(argument + size, b)) return errc::fault;
  return has_room(b, u.size) ? errc::ok : errc::inval;
}

KVM_VFIO_INLINE bool type1_iommu::cuts_nothing(std::uint64_t first,
                                               std::uint64_t last) const noexcept {
  const dma_mapping* m = maps_.find(first, first);
  if (m && m->iova != first) return false;
  m = maps_.find(last, last);
  return !m || m->last() == last;
}

KVM_VFIO_INLINE std::uint64_t type1_iommu::locked(int address_space) const noexcept {
  std::uint64_t bytes = 0;
  if (!domains_.empty())
    for (const auto& [iova, m] : maps_.all())
      if (m.counted && m.account->address_space == address_space) bytes += m.size;
  return bytes;
}

KVM_VFIO_INLINE errc type1_iommu::pin(process& task, const dma_mapping& m) const {
  if (m.counted && m.limited && m.account->limit != ~std::uint64_t{0}) {
    const std::uint64_t room = m.account->room(locked_memory(state_, m.account->address_space));
    if (m.size > room) {
      const bool writes = (m.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0;
      const bool found = task.mem().pinnable(m.address, room + memory_account::page, writes);
      return found ? errc::nomem : errc::fault;
    }
  }
  return m.pinnable ? errc::ok : errc::fault;
}

KVM_VFIO_INLINE bool type1_iommu::is_there(const dma_mapping& m) noexcept {
  process& task = *current_process;
  return m.account->address_space == task.address_space()
             ? m.pinnable
             : task.mem().pinnable(m.address, m.size, (m.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0);
}

KVM_VFIO_INLINE errc type1_iommu::pin_all() const {
  std::map<int, std::uint64_t> locked;  // by address space
  for (const auto& [iova, m] : maps_.all()) {
    if (!is_there(m)) return errc::fault;
    if (!m.counted) continue;
    const int space = m.account->address_space;
    const auto [of_space, made] = locked.try_emplace(space, 0);
    if (made) of_space->second = locked_memory(state_, space);
    if (m.limited && m.size > m.account->room(of_space->second)) return errc::nomem;
    of_space->second += m.size;
  }
  return errc::ok;
}

KVM_VFIO_INLINE errc type1_iommu::set_address(process& task, const vfio_iommu_type1_dma_map& m) {
  if (!maps_.find(m.iova, m.iova + m.size - 1)) return errc::noent;
  dma_mapping* const it = maps_.at_or_after(m.iova);
  if (!it || !it->stale || it->iova != m.iova || it->size != m.size) return errc::inval;
  if (it->account->address_space != task.address_space()) {
    auto account = task.account();
    const bool counted = it->counted && !domains_.empty();
    if (counted && !account->unlimited &&
        it->size > account->room(locked_memory(state_, account->address_space)))
      return errc::nomem;
    it->limited = !account->unlimited;
    it->account = std::move(account);
  }
  it->address = m.vaddr;
  it->stale = false;
  return errc::ok;
}

KVM_VFIO_INLINE errc type1_iommu::forget_addresses(std::uint64_t first, std::uint64_t last,
                                                   std::uint64_t& done) noexcept {
  done = 0;
  if (!v2_ && maps_.find(first, first) && maps_.find(first, first)->iova < first) return errc::ok;
  // Checked before any mapping changes, so that an error leaves all of them as they were.
  for (const dma_mapping* m = maps_.at_or_after(first); m && m->iova <= last; m = maps_.next(*m))
    if (m->stale) return errc::inval;
  for (dma_mapping* m = maps_.at_or_after(first); m && m->iova <= last; m = maps_.next(*m)) {
    m->stale = true;
    done += m->size;
  }
  return errc::ok;
}

KVM_VFIO_INLINE bool type1_iommu::stale() const noexcept {
  for (const auto& [iova, m] : maps_.all())
    if (m.stale) return true;
  return false;
}

}  // namespace kvm_vfio::sim
