// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// iommufd's I/O address spaces: mappings, and the addresses that attached devices leave.

#include <kvm_vfio/sim/dma_map.hpp>
#include <kvm_vfio/sim/file.hpp>

#include <algorithm>
#include <bit>

namespace kvm_vfio::sim {

/// drivers/iommu/iommufd/io_pagetable.c, as far as user space sees it.
class ioas {
 public:
  /// The granularity of mappings, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// What the attached devices leave.
  /// \param alignment of addresses and lengths: an IOMMU's page; 1 without one
  void set_ranges(std::vector<iova_range> ranges, std::uint64_t alignment) {
    ranges_ = std::move(ranges);
    alignment_ = alignment;
  }
  /// What addresses and lengths are multiples of.
  [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
  /// The addresses that no device restricts.
  static std::vector<iova_range> everything() { return {{0, ~std::uint64_t{0}}}; }
  /// The addresses that the attached devices leave.
  [[nodiscard]] const std::vector<iova_range>& ranges() const noexcept { return ranges_; }
  /// What is mapped.
  [[nodiscard]] const dma_map& mappings() const noexcept { return maps_; }

  /// \return inval: unaligned, empty or not allowed · EOVERFLOW · exists
  [[nodiscard]] errc map(const dma_mapping& m) {
    // The address's place in its page decides, not the page.
    if (m.size == 0 || !aligned(m, alignment_)) return errc::inval;
    if (m.last() < m.iova) return error(EOVERFLOW);
    if (!allowed(ranges_, m.iova, m.last())) return errc::inval;
    if (maps_.find(m.iova, m.last())) return errc::exists;
    maps_.add(m);
    return errc::ok;
  }
  /// The lowest free address for so many bytes, not in the first page.
  /// \param address the memory's: its alignment is kept, up to the size and to `most`
  /// \return inval: empty, or aligned less than the space asks · EOVERFLOW · nospc
  [[nodiscard]] errc find_free(std::uint64_t size, std::uint64_t address, std::uint64_t most,
                               std::uint64_t& iova) const noexcept {
    if (size == 0) return errc::inval;
    if (size >= ~std::uint64_t{0} / 2) return error(EOVERFLOW);
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
        if (behind <= at) break;  // behind the mapping the addresses end
        at = behind;
      }
    }
    return errc::nospc;
  }
  /// Unmaps whole mappings. \param done the bytes that went
  /// \return noent: nothing is there, or a mapping would be cut; those before it are gone
  [[nodiscard]] errc unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept {
    done = 0;
    while (const dma_mapping* m = maps_.find(first, last)) {
      if (m->iova < first || m->last() > last) return errc::noent;
      done += m->size;
      maps_.remove(*m);
    }
    return done ? errc::ok : errc::noent;
  }

  /// Whether every mapping is aligned so.
  [[nodiscard]] bool fits(std::uint64_t alignment) const noexcept {
    for (const auto& [iova, m] : maps_.all())
      if (!aligned(m, alignment)) return false;
    return true;
  }

 private:
  static bool aligned(const dma_mapping& m, std::uint64_t to) noexcept {
    return ((m.iova | m.size | (m.address % page)) & (to - 1)) == 0;
  }

  std::vector<iova_range> ranges_ = everything();
  std::uint64_t alignment_ = 1;
  dma_map maps_;
};

}  // namespace kvm_vfio::sim
