// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// DMA mappings by I/O virtual address, and which addresses are allowed. Calls nobody.

#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
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
  [[nodiscard]] const dma_mapping* find(std::uint64_t first, std::uint64_t last) const noexcept {
    auto next = by_iova_.upper_bound(first);
    if (next != by_iova_.begin()) {
      const dma_mapping& before = std::prev(next)->second;
      if (before.last() >= first) return &before;
    }
    return next != by_iova_.end() && next->second.iova <= last ? &next->second : nullptr;
  }
  /// \pre nothing touches it
  void add(const dma_mapping& m) { by_iova_.emplace(m.iova, m); }
  /// The first mapping at or above an address, or null.
  [[nodiscard]] dma_mapping* at_or_after(std::uint64_t iova) noexcept {
    const auto next = by_iova_.lower_bound(iova);
    return next == by_iova_.end() ? nullptr : &next->second;
  }
  /// Takes a mapping out that is there.
  void remove(const dma_mapping& m) noexcept { by_iova_.erase(m.iova); }
  /// Whatever of [first, last] is mapped is so no more; what is left keeps its addresses.
  void cut(std::uint64_t first, std::uint64_t last) {
    while (const dma_mapping* const found = find(first, last)) {
      const dma_mapping m = *found;
      remove(m);
      if (m.iova < first) add({m.iova, first - m.iova, m.address, m.flags, m.stale});
      if (m.last() > last)
        add({last + 1, m.last() - last, m.address + (last + 1 - m.iova), m.flags, m.stale});
    }
  }
  /// Takes all out.
  void clear() noexcept { by_iova_.clear(); }
  /// How many mappings there are.
  [[nodiscard]] std::size_t size() const noexcept { return by_iova_.size(); }
  /// All, by their first address.
  [[nodiscard]] const std::map<std::uint64_t, dma_mapping>& all() const noexcept {
    return by_iova_;
  }

 private:
  std::map<std::uint64_t, dma_mapping> by_iova_;
};

/// `ranges` without the reserved regions that nobody may map: all but the relaxable ones. The
/// result is sorted if `ranges` is.
[[nodiscard]] inline std::vector<iova_range> without(std::vector<iova_range> ranges,
                                                     const std::vector<reserved_region>& reserved) {
  for (const reserved_region& hole : reserved) {
    if (hole.type == region_type::direct_relaxable) continue;
    std::vector<iova_range> left;
    for (const iova_range& r : ranges) {
      if (hole.last < r.first || hole.first > r.last) {
        left.push_back(r);
        continue;
      }
      if (r.first < hole.first) left.push_back({r.first, hole.first - 1});
      if (r.last > hole.last) left.push_back({hole.last + 1, r.last});
    }
    ranges = std::move(left);
  }
  return ranges;
}

/// What both allow.
[[nodiscard]] inline std::vector<iova_range> intersection(const std::vector<iova_range>& a,
                                                          const iova_range& b) {
  std::vector<iova_range> out;
  for (const iova_range& r : a) {
    const iova_range both{r.first > b.first ? r.first : b.first, r.last < b.last ? r.last : b.last};
    if (both.first <= both.last) out.push_back(both);
  }
  return out;
}

/// Whether one range holds all of [first, last].
[[nodiscard]] inline bool allowed(const std::vector<iova_range>& ranges, std::uint64_t first,
                                  std::uint64_t last) noexcept {
  for (const iova_range& r : ranges)
    if (r.first <= first && last <= r.last) return true;
  return false;
}

}  // namespace kvm_vfio::sim
