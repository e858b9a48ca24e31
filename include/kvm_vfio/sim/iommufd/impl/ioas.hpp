// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of ioas.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void ioas::set_ranges(std::vector<iova_range> ranges,
                                      std::uint64_t alignment) noexcept {
  ranges_ = std::move(ranges);
  alignment_ = small_pages_ ? std::max(alignment, page) : alignment;
}

KVM_VFIO_INLINE errc ioas::use_small_pages() {
  if (small_pages_) return errc::ok;
  if (translated_ && maps_.size() != 0) return errc::inval;
  if (!fits(page)) return errc::addrinuse;
  small_pages_ = true;
  alignment_ = std::max(alignment_, page);
  return errc::ok;
}

KVM_VFIO_INLINE int charged_for(const memory_account& account, bool charges_process) noexcept {
  return charges_process ? -1 - account.address_space : account.user;
}

KVM_VFIO_INLINE int charged_for(const dma_mapping& m) noexcept {
  return m.charges_process ? charged_for(*m.account, true) : m.user;
}

KVM_VFIO_INLINE errc ioas::choose_from(const std::vector<iova_range>& ranges) {
  for (const iova_range& r : ranges)
    if (!allowed(ranges_, r.first, r.last)) return errc::addrinuse;
  // Ranges that touch are one range.
  std::vector<iova_range> joined;
  for (const iova_range& r : ranges)
    if (!joined.empty() && joined.back().last + 1 == r.first) joined.back().last = r.last;
    else joined.push_back(r);
  chosen_from_ = std::move(joined);
  return errc::ok;
}

KVM_VFIO_INLINE bool ioas::is_within(const std::vector<iova_range>& ranges) const noexcept {
  for (const auto& [iova, m] : maps_.all())
    if (!allowed(ranges, m.iova, m.last())) return false;
  for (const iova_range& r : chosen_from_)
    if (!allowed(ranges, r.first, r.last)) return false;
  return true;
}

KVM_VFIO_INLINE errc ioas::cut(std::uint64_t last) {
  const dma_mapping* const m = maps_.find(last, last);
  if (!m || m->last() == last) return errc::ok;
  if ((last + 1) % page != 0) return errc::inval;
  maps_.split_behind(last);
  return errc::ok;
}

KVM_VFIO_INLINE std::uint64_t locked_pages::add(const dma_mapping& m) {
  // The pages, counted from the one with the first address of the memory.
  const std::uint64_t page = ioas::page;
  std::uint64_t first = m.address / page;
  std::uint64_t last = first + (m.address % page + m.size - 1) / page;
  std::uint64_t pages = last - first + 1;
  if (m.memory != 0) {
    auto& ranges = copied_[m.memory];
    auto r = ranges.upper_bound(first);
    if (r != ranges.begin() && std::prev(r)->second >= first) --r;
    for (; r != ranges.end() && r->first <= last; r = ranges.erase(r)) {
      pages -= std::min(last, r->second) - std::max(first, r->first) + 1;
      const std::uint64_t end = std::max(last, r->second);
      first = std::min(first, r->first);
      // What the larger range adds was counted before.
      if (end > last) last = end;
    }
    ranges.emplace(first, last);
  }
  bytes_ += pages * page;
  return pages * page;
}

KVM_VFIO_INLINE void ioas::add_locked(locked_by_user& to) const {
  if (translated_)
    for (const auto& [iova, m] : maps_.all())
      if (m.account) to[m.counted ? charged_for(m) : nobody].add(m);
}

KVM_VFIO_INLINE void ioas::charge(const std::shared_ptr<const memory_account>& account) noexcept {
  for (dma_mapping* m = maps_.at_or_after(0); m; m = maps_.next(*m)) {
    m->account = account;
    m->user = account->user;
  }
}

KVM_VFIO_INLINE errc ioas::parts(std::uint64_t first, std::uint64_t last,
                                 std::vector<dma_mapping>& parts, std::uint64_t& numbers) {
  for (std::uint64_t at = first;;) {
    const dma_mapping* const m = maps_.find(at, at);
    if (!m) return errc::noent;
    const std::uint64_t end = std::min(last, m->last());
    parts.push_back(m->part(at, end + 1));
    if (dma_mapping* const own = m->memory == 0 ? maps_.at_or_after(m->iova) : nullptr)
      parts.back().memory = own->memory = ++numbers;
    if (end == last) return errc::ok;
    at = end + 1;
  }
}

KVM_VFIO_INLINE errc ioas::check_place(std::uint64_t iova, std::uint64_t size) const noexcept {
  if (size == 0 || ((iova | size) & (alignment_ - 1)) != 0) return errc::inval;
  const std::uint64_t last = iova + size - 1;
  if (last < iova) return errc::overflow;
  if (!allowed(ranges_, iova, last)) return errc::inval;
  return maps_.find(iova, last) ? errc::exists : errc::ok;
}

KVM_VFIO_INLINE errc ioas::check_copy(const dma_mapping& m) const noexcept {
  if ((m.flags & uapi::map_writeable) != 0 && !m.writeable_memory) return errc::perm;
  // The kernel looks at the other addresses of a copy only when a page table gets them.
  const std::uint64_t offset = translated_ ? m.iova | m.size | m.address % page : m.address % page;
  return (offset & (alignment_ - 1)) != 0 ? errc::inval : errc::ok;
}

KVM_VFIO_INLINE errc ioas::map(const dma_mapping& m, std::uint64_t room) {
  if (const errc e = check_place(m.iova, m.size); e != errc::ok) return e;
  // The kernel looks at the memory's offset in its page only when the addresses are free.
  if (!aligned(m, alignment_)) return errc::inval;
  if (translated_) {
    if (const errc e = check_translation(m); e != errc::ok) return e;
    if (m.counted && locked_pages().add(m) > room) return errc::nomem;
  }
  maps_.add(m);
  return errc::ok;
}

KVM_VFIO_INLINE errc ioas::find_free(std::uint64_t size, std::uint64_t address, std::uint64_t most,
                                     std::uint64_t& iova) const noexcept {
  if (size == 0) return errc::inval;
  if (size >= ~std::uint64_t{0} / 2) return errc::overflow;
  std::uint64_t align = std::bit_ceil(size);
  if (address != 0) align = std::min(align, address & (~address + 1));
  align = std::min(align, most);
  if (align < alignment_) return errc::inval;
  // The address has the offset of the memory in its page.
  const std::uint64_t offset = address % page;
  const auto is_in = [&](std::uint64_t first, std::uint64_t last) {
    // The kernel chooses neither the first page nor the last one (iopt_alloc_iova).
    const std::uint64_t lowest = std::max(first, page);
    last = std::min(last, ~std::uint64_t{0} - page);
    std::uint64_t at = ((lowest + align - 1) & ~(align - 1)) | offset;
    while (at >= lowest && at <= last && size - 1 <= last - at) {
      const dma_mapping* const m = maps_.find(at, at + size - 1);
      if (!m) {
        iova = at;
        return true;
      }
      const std::uint64_t behind = ((m->last() + align) & ~(align - 1)) | offset;
      if (behind <= at) break;  // wrapped around: there is no address behind the mapping
      at = behind;
    }
    return false;
  };
  for (const iova_range& r : ranges_)
    if (chosen_from_.empty() && is_in(r.first, r.last)) return errc::ok;
  for (const iova_range& c : chosen_from_)
    for (const iova_range& r : ranges_)
      if (is_in(std::max(r.first, c.first), std::min(r.last, c.last))) return errc::ok;
  return errc::nospc;
}

KVM_VFIO_INLINE errc ioas::unmap(std::uint64_t first, std::uint64_t last,
                                 std::uint64_t& done) noexcept {
  done = 0;
  while (const dma_mapping* m = maps_.find(first, last)) {
    if (m->iova < first || m->last() > last) return errc::noent;
    done += m->size;
    maps_.remove(*m);
  }
  return done ? errc::ok : errc::noent;
}

KVM_VFIO_INLINE errc ioas::add_copies(const std::vector<dma_mapping>& copies,
                                      locked_by_user locked) {
  for (const dma_mapping& m : copies)
    if (const errc e = check_copy(m); e != errc::ok) return e;
  if (translated_)
    for (const dma_mapping& m : copies) {
      if (const errc e = check_translation(m); e != errc::ok) return e;
      if (const errc e = lock_pages(m, locked); e != errc::ok) return e;
    }
  maps_.prepare(copies.size());
  for (const dma_mapping& m : copies) maps_.add(m);
  return errc::ok;
}

KVM_VFIO_INLINE errc ioas::check_translation(locked_by_user locked) const {
  for (const auto& [iova, m] : maps_.all()) {
    if (translated_ && m.file) continue;  // The file may be shorter now, but the memory is pinned.
    if (const errc e = check_translation(m); e != errc::ok) return e;
    if (translated_) continue;  // A further page table translates memory that is locked already.
    if (const errc e = lock_pages(m, locked); e != errc::ok) return e;
  }
  return errc::ok;
}

KVM_VFIO_INLINE errc ioas::lock_pages(const dma_mapping& m, locked_by_user& locked) {
  if (!m.account) return errc::ok;
  locked_pages& of_user = locked[m.counted ? charged_for(m) : nobody];
  const std::uint64_t room = m.counted ? m.account->room(of_user.bytes()) : ~std::uint64_t{0};
  const std::uint64_t added = of_user.add(m);
  if (added != 0 && !m.file && m.account->has_ended()) return errc::fault;
  return added > room ? errc::nomem : errc::ok;
}

KVM_VFIO_INLINE errc ioas::check_translation(const dma_mapping& m) noexcept {
  if (!m.pinnable) return errc::fault;
  // The file must have each page as a whole (memfd_pin_folios).
  const std::uint64_t last = (m.address + m.size - 1) | (page - 1);
  if (m.file && last >= m.file->open->pinnable_bytes()) return errc::inval;
  return m.flags & (uapi::map_readable | uapi::map_writeable) ? errc::ok : errc::inval;
}

KVM_VFIO_INLINE bool ioas::fits(std::uint64_t alignment) const noexcept {
  for (const auto& [iova, m] : maps_.all())
    if (!aligned(m, alignment)) return false;
  return true;
}

KVM_VFIO_INLINE bool ioas::aligned(const dma_mapping& m, std::uint64_t to) noexcept {
  return ((m.iova | m.size | (m.address % page)) & (to - 1)) == 0;
}

}  // namespace kvm_vfio::sim
