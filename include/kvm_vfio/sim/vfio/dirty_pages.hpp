// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The bitmaps of dirty pages of a container with the IOMMU driver type 1.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <map>
#include <vector>

namespace kvm_vfio::sim {

/// The dirty pages of the mappings of a container (VFIO_IOMMU_DIRTY_PAGES). Each mapping has a
/// bitmap while dirty pages are tracked. Devices write nothing in a simulated host. But Linux takes
/// all pages that a device behind an IOMMU can write for dirty, because the IOMMU does not tell it.
class dirty_pages {
 public:
  /// Whether dirty pages are tracked.
  [[nodiscard]] bool tracked() const noexcept { return tracked_; }
  /// Begins to track (vfio_dma_bitmap_alloc_all). No page is dirty. Takes time for each mapping.
  /// Throws std::bad_alloc without memory.
  void start(const dma_map& mappings);
  /// Ends tracking, and forgets the dirty pages.
  void stop() noexcept;
  /// Makes the bitmap of a new mapping, if dirty pages are tracked. No page of it is dirty.
  /// Throws std::bad_alloc without memory.
  void add(const dma_mapping& m);
  /// Forgets the bitmap of a mapping.
  void remove(const dma_mapping& m) noexcept { bits_.erase(m.iova); }
  /// Makes all pages dirty (vfio_iommu_populate_bitmap_full).
  /// \param mappings all mappings
  /// \param page     the size of a page, in bytes
  void mark_all(const dma_map& mappings, std::uint64_t page) noexcept;
  /// Makes all pages of a mapping clean. As in Linux, bits behind the last page stay.
  void clean(const dma_mapping& m, std::uint64_t page) noexcept;
  /// Writes the bits of a mapping into a bitmap of the process (update_user_bitmap).
  /// \param task the process
  /// \param to   the bitmap, whose first bit is for the page at `base`
  /// \param m    the mapping
  /// \param base an I/O virtual address, at most that of the mapping
  /// \param all  whether all pages are dirty, because a group behind an IOMMU is attached
  /// \pre dirty pages are tracked
  /// \par Errors
  /// - `errc::fault`: the bitmap cannot be read or written
  [[nodiscard]] errc write(process& task, const vfio_bitmap& to, const dma_mapping& m,
                           std::uint64_t base, bool all);

 private:
  using words = std::vector<std::uint64_t>;
  static void set(words& bits, std::uint64_t count) noexcept;

  bool tracked_ = false;
  // By the first address of the mapping. A bitmap has one word more than its pages need, for the
  // bits of a mapping that does not start with a word of the process's bitmap.
  std::map<std::uint64_t, words> bits_;
};

/// Whether the bitmap of a process has room for the pages of a range, and its address can be one of
/// a process (verify_bitmap_size and access_ok).
/// \param bitmap the bitmap
/// \param size   the size of the range, in bytes
[[nodiscard]] bool has_room(const vfio_bitmap& bitmap, std::uint64_t size) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/dirty_pages.hpp>
#endif
