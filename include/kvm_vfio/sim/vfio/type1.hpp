// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's IOMMU driver type 1, versions 1 and 2.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/dirty_pages.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// The versions of the type 1 driver.
enum class type1_version : unsigned char {
  v1,  ///< VFIO_TYPE1_IOMMU
  v2   ///< VFIO_TYPE1v2_IOMMU, which refuses to unmap a part of a mapping
};

/// The type 1 driver (the kernel's drivers/vfio/vfio_iommu_type1.c). It has at most two domains:
/// one for IOMMUs with snoop control, and one for IOMMUs without it.
class type1_iommu final : public iommu_driver {
 public:
  /// \param state   the state of the world; must outlive the driver
  /// \param version the version of the driver
  type1_iommu(const vfio_state& state, type1_version version);

  /// Answers VFIO_CHECK_EXTENSION for a container that has no IOMMU driver yet.
  [[nodiscard]] static bool has_unopened(const linux_release& release,
                                         std::uint64_t extension) noexcept;
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override;
  [[nodiscard]] errc attach(iommu_group& group) override;
  void detach(iommu_group& group) noexcept override;
  /// Answers VFIO_IOMMU_GET_INFO, MAP_DMA, UNMAP_DMA and DIRTY_PAGES.
  /// \par Errors
  /// - `errc::notty`: the request is unknown
  /// - `errc::access`: DIRTY_PAGES: version 1 does not know dirty pages
  /// - `errc::fault`: the struct cannot be read or written. MAP_DMA: the memory cannot be pinned
  ///   (`memory::pinnable`), and a group that is no mediated device is attached
  /// - `errc::nomem`: MAP_DMA: the process may not lock that much memory
  ///   (`process::memory_lock_limit`), and a group that is no mediated device is attached
  /// - `errc::inval`: argsz, flags, size or alignment are wrong. MAP_DMA: a group does not allow
  ///   the addresses, or FLAG_VADDR names a mapping that has not lost its address. UNMAP_DMA:
  ///   version 2 would have to cut a mapping, or FLAG_VADDR names a mapping that has lost its
  ///   address already. DIRTY_PAGES, and UNMAP_DMA with a bitmap: the page size or the size of the
  ///   bitmap is wrong, dirty pages are not tracked now, or the range would cut a mapping
  /// - `errc::overflow`: an address and the size wrap around (`linux_release::wrapping_overflows`)
  /// - `errc::exists`: MAP_DMA: another mapping has one of the addresses
  /// - `errc::nospc`: MAP_DMA: the container has `world_options::dma_entry_limit` mappings
  /// - `errc::noent`: MAP_DMA: FLAG_VADDR names no mapping
  /// - `errc::busy`: UNMAP_DMA: FLAG_VADDR is set, and a group of mediated devices is attached
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  [[nodiscard]] std::uint64_t locked(int address_space) const noexcept override;
  [[nodiscard]] const char* name() const noexcept override { return v2_ ? "type1v2" : "type1"; }

 private:
  // Whether every domain enforces coherency. True if there is no domain.
  [[nodiscard]] bool coherent() const noexcept;
  void pick_page_sizes() noexcept;
  // The addresses that all attached groups allow.
  [[nodiscard]] const std::vector<iova_range>& ranges();
  [[nodiscard]] std::uint64_t page() const noexcept { return smallest_page(page_sizes_); }

  answer get_info(process& task, std::uint64_t argument);
  answer map(process& task, std::uint64_t argument);
  answer unmap(process& task, std::uint64_t argument);

  // VFIO_IOMMU_DIRTY_PAGES (vfio_iommu_type1_dirty_pages).
  answer track_dirty(process& task, std::uint64_t argument);
  // Answers its flag GET_BITMAP. `argument` and `size` are of the part behind the flags.
  errc get_bitmap(process& task, std::uint64_t argument, std::size_t size);
  // VFIO_IOMMU_UNMAP_DMA with a bitmap: reads and checks the struct behind the arguments, as the
  // kernel does before it looks at the mappings. Errors:
  // - inval: other flags are set, argsz is too small, or the size of the bitmap is wrong
  // - fault: the struct cannot be read
  static errc read_bitmap(process& task, std::uint64_t argument,
                          const vfio_iommu_type1_dma_unmap& u, vfio_bitmap& b);
  // Whether the range [first, last] contains each mapping that it meets at its ends.
  [[nodiscard]] bool cuts_nothing(std::uint64_t first, std::uint64_t last) const noexcept;
  // VFIO_DMA_MAP_FLAG_VADDR: gives a new address to a mapping that has lost its address. The
  // process is charged for the memory from then on.
  errc set_address(process& task, const vfio_iommu_type1_dma_map& m);
  // Pins the memory of a new mapping, page by page (vfio_pin_map_dma). Errors:
  // - nomem: a page is more than the process may lock
  // - fault: a page before that one cannot be pinned
  [[nodiscard]] errc pin(process& task, const dma_mapping& m) const;
  // Pins the memory of all mappings for the first domain (vfio_iommu_replay). Errors as of `pin`.
  [[nodiscard]] errc pin_all() const;
  // Whether the process of the call has the memory of a mapping. Whoever mapped it, the kernel pins
  // the memory that this process has at the address.
  [[nodiscard]] static bool is_there(const dma_mapping& m) noexcept;
  // VFIO_DMA_UNMAP_FLAG_VADDR: takes the addresses of all mappings in the range away. If one of
  // them has lost its address before, no mapping changes.
  errc forget_addresses(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept;
  // Whether a mapping has lost its address.
  [[nodiscard]] bool stale() const noexcept;

  const vfio_state& state_;
  bool v2_;
  std::uint32_t available_;
  int mediated_ = 0;
  std::uint64_t page_sizes_ = ~std::uint64_t{0} << 12;
  dirty_pages dirty_;
  bool tells_ranges_ = false;  // GET_INFO has the IOVA ranges; true from the first domain on
  // A group has left, so `ranges_` must be computed again. Computing needs memory, and a group must
  // be able to leave without memory.
  bool old_ranges_ = false;
  std::vector<iova_range> ranges_ = every_address();
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/type1.hpp>
#endif
