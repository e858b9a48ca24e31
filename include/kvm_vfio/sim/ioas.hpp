// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// iommufd's I/O address spaces: mappings, and the addresses that attached devices leave.

#include <kvm_vfio/sim/dma_map.hpp>
#include <kvm_vfio/sim/file.hpp>

#include <bit>

namespace kvm_vfio::sim {

/// drivers/iommu/iommufd/io_pagetable.c, as far as user space sees it.
class ioas {
 public:
  /// The granularity of mappings, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// What the attached devices leave; `groups` iterates over their IOMMUs.
  void set_ranges(std::vector<iova_range> ranges) { ranges_ = std::move(ranges); }
  static std::vector<iova_range> everything() { return {{0, ~std::uint64_t{0}}}; }
  [[nodiscard]] const std::vector<iova_range>& ranges() const noexcept { return ranges_; }
  [[nodiscard]] const dma_map& mappings() const noexcept { return maps_; }

  /// \return inval: unaligned, empty or not allowed · EOVERFLOW · exists
  [[nodiscard]] errc map(const dma_mapping& m) {
    if (m.size == 0 || ((m.iova | m.size | m.address) & (page - 1))) return errc::inval;
    if (m.last() < m.iova) return error(EOVERFLOW);
    if (!allowed(ranges_, m.iova, m.last())) return errc::inval;
    if (maps_.find(m.iova, m.last())) return errc::exists;
    maps_.add(m);
    return errc::ok;
  }
  /// The lowest free address for so many bytes; nospc: none. Aligned as its size, to 1 GiB at most.
  [[nodiscard]] errc find_free(std::uint64_t size, std::uint64_t& iova) const noexcept {
    if (size == 0 || size > std::uint64_t{1} << 62) return size ? error(EOVERFLOW) : errc::inval;
    const std::uint64_t wanted = std::bit_ceil(size);
    const std::uint64_t most = std::uint64_t{1} << 30;
    const std::uint64_t align = wanted < page ? page : wanted < most ? wanted : most;
    for (const iova_range& r : ranges_) {
      std::uint64_t at = (r.first + align - 1) & ~(align - 1);
      while (at >= r.first && at <= r.last && size - 1 <= r.last - at) {
        const dma_mapping* const m = maps_.find(at, at + size - 1);
        if (!m) {
          iova = at;
          return errc::ok;
        }
        at = (m->last() + align) & ~(align - 1);
      }
    }
    return errc::nospc;
  }
  /// Unmaps whole mappings. \param done the bytes that went
  /// \return inval: a mapping would be cut; those before it are gone · noent: nothing is there
  [[nodiscard]] errc unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept {
    done = 0;
    while (const dma_mapping* m = maps_.find(first, last)) {
      if (m->iova < first || m->last() > last) return errc::inval;
      done += m->size;
      maps_.remove(*m);
    }
    return done ? errc::ok : errc::noent;
  }

 private:
  std::vector<iova_range> ranges_ = everything();
  dma_map maps_;
};

}  // namespace kvm_vfio::sim
