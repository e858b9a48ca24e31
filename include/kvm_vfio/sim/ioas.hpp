// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// iommufd's I/O address spaces: mappings, and the addresses that attached devices leave.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/dma_map.hpp>
#include <kvm_vfio/sim/file.hpp>

#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// drivers/iommu/iommufd/io_pagetable.c, as far as user space sees it.
class ioas {
 public:
  /// The granularity of mappings, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// What the attached devices leave.
  /// \param alignment of addresses and lengths: an IOMMU's page; 1 without one
  void set_ranges(std::vector<iova_range> ranges, std::uint64_t alignment);
  /// What addresses and lengths are multiples of.
  [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
  /// The addresses that no device restricts.
  static std::vector<iova_range> everything() { return {{0, ~std::uint64_t{0}}}; }
  /// The addresses that the attached devices leave.
  [[nodiscard]] const std::vector<iova_range>& ranges() const noexcept { return ranges_; }
  /// What is mapped.
  [[nodiscard]] const dma_map& mappings() const noexcept { return maps_; }

  /// \return inval: unaligned, empty or not allowed · EOVERFLOW · exists
  [[nodiscard]] errc map(const dma_mapping& m);
  /// The lowest free address for so many bytes, not in the first page.
  /// \param address the memory's: its alignment is kept, up to the size and to `most`
  /// \return inval: empty, or aligned less than the space asks · EOVERFLOW · nospc
  [[nodiscard]] errc find_free(std::uint64_t size, std::uint64_t address, std::uint64_t most,
                               std::uint64_t& iova) const noexcept;
  /// Unmaps whole mappings. \param done the bytes that went
  /// \return noent: nothing is there, or a mapping would be cut; those before it are gone
  [[nodiscard]] errc unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept;

  /// Whether every mapping is aligned so.
  [[nodiscard]] bool fits(std::uint64_t alignment) const noexcept;

 private:
  static bool aligned(const dma_mapping& m, std::uint64_t to) noexcept;

  std::vector<iova_range> ranges_ = everything();
  std::uint64_t alignment_ = 1;
  dma_map maps_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/ioas.hpp>
#endif
