// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// DMA mappings by I/O virtual address, and which addresses are allowed. Calls nobody.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace kvm_vfio::sim {

/// One mapping.
struct dma_mapping {
  /// Where the device sees it, and how many bytes.
  std::uint64_t iova = 0;
  std::uint64_t size = 0;
  std::uint64_t address = 0;  ///< in the process
  std::uint32_t flags = 0;    ///< as mapped
  bool stale = false;         ///< UNMAP_DMA took its address away (VFIO_DMA_UNMAP_FLAG_VADDR)
  /// The last address of it.
  [[nodiscard]] std::uint64_t last() const noexcept { return iova + size - 1; }
};

/// Mappings that do not overlap.
class dma_map {
 public:
  /// The first mapping that touches [first, last], or null.
  [[nodiscard]] const dma_mapping* find(std::uint64_t first, std::uint64_t last) const noexcept;
  /// \pre nothing touches it
  void add(const dma_mapping& m) { by_iova_.emplace(m.iova, m); }
  /// The first mapping at or above an address, or null.
  [[nodiscard]] dma_mapping* at_or_after(std::uint64_t iova) noexcept;
  /// The first mapping behind another one, or null.
  [[nodiscard]] dma_mapping* next(const dma_mapping& m) noexcept;
  /// Takes a mapping out that is there.
  void remove(const dma_mapping& m) noexcept { by_iova_.erase(m.iova); }
  /// Whatever of [first, last] is mapped is so no more; what is left keeps its addresses.
  void cut(std::uint64_t first, std::uint64_t last);
  /// Takes all out.
  void clear() noexcept { by_iova_.clear(); }
  /// How many mappings there are.
  [[nodiscard]] std::size_t size() const noexcept { return by_iova_.size(); }
  /// All, by their first address.
  [[nodiscard]] const std::map<std::uint64_t, dma_mapping>& all() const noexcept;

 private:
  std::map<std::uint64_t, dma_mapping> by_iova_;
};

/// `ranges` without the reserved regions that nobody may map: all but the relaxable ones. The
/// result is sorted if `ranges` is.
[[nodiscard]] std::vector<iova_range> without(std::vector<iova_range> ranges,
                                              const std::vector<reserved_region>& reserved);

/// What both allow.
[[nodiscard]] std::vector<iova_range> intersection(const std::vector<iova_range>& a,
                                                   const iova_range& b);

/// Whether one range holds all of [first, last].
[[nodiscard]] bool allowed(const std::vector<iova_range>& ranges, std::uint64_t first,
                           std::uint64_t last) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/dma_map.hpp>
#endif
