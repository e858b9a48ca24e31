// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of ioas.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
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

KVM_VFIO_INLINE errc ioas::cut(std::uint64_t last) {
  const dma_mapping* const m = maps_.find(last, last);
  if (!m || m->last() == last) return errc::ok;
  if ((last + 1) % page != 0) return errc::inval;
  maps_.split_behind(last);
  return errc::ok;
}

KVM_VFIO_INLINE std::uint64_t ioas::locked(int user) const noexcept {
  std::uint64_t bytes = 0;
  if (translated_)
    for (const auto& [iova, m] : maps_.all())
      if (m.counted && m.account && m.account->user == user) bytes += locked_by(m);
  return bytes;
}

KVM_VFIO_INLINE std::uint64_t ioas::locked_by(const dma_mapping& m) noexcept {
  return (m.address % page + m.size + page - 1) & ~(page - 1);
}

KVM_VFIO_INLINE errc ioas::map(const dma_mapping& m, std::uint64_t room) {
  if (m.size == 0 || ((m.iova | m.size) & (alignment_ - 1)) != 0) return errc::inval;
  if (m.last() < m.iova) return errc::overflow;
  if (!allowed(ranges_, m.iova, m.last())) return errc::inval;
  if (maps_.find(m.iova, m.last())) return errc::exists;
  // The kernel looks at the memory's offset in its page only when the addresses are free.
  if (!aligned(m, alignment_)) return errc::inval;
  if (translated_) {
    if (const errc e = check_translation(m); e != errc::ok) return e;
    if (m.counted && locked_by(m) > room) return errc::nomem;
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
  for (const iova_range& r : ranges_) {
    const std::uint64_t lowest = std::max(r.first, page);
    std::uint64_t at = (lowest + align - 1) & ~(align - 1);
    while (at >= lowest && at <= r.last && size - 1 <= r.last - at) {
      const dma_mapping* const m = maps_.find(at, at + size - 1);
      if (!m) {
        iova = at;
        return errc::ok;
      }
      const std::uint64_t behind = (m->last() + align) & ~(align - 1);
      if (behind <= at) break;  // wrapped around: there is no address behind the mapping
      at = behind;
    }
  }
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

KVM_VFIO_INLINE errc ioas::check_translation(const dma_mapping& m) noexcept {
  if (!m.pinnable) return errc::fault;
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
