// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// DMA mappings, sorted by their I/O virtual address.

#include <kvm_vfio/sim/iommu/mapped_file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace kvm_vfio::sim {

/// A DMA mapping.
struct dma_mapping {
  /// The first I/O virtual address.
  std::uint64_t iova = 0;
  /// The size in bytes.
  std::uint64_t size = 0;
  /// The address of the memory in the process, or its offset in `file`.
  std::uint64_t address = 0;
  /// The flags of the call that made the mapping.
  std::uint32_t flags = 0;
  /// Whether the mapping has lost its address in the process (VFIO_DMA_UNMAP_FLAG_VADDR).
  bool stale = false;
  /// Whether the memory could be pinned when the mapping was made (`memory::pinnable`). False in an
  /// iommufd also if a part of the memory is a mapped BAR.
  bool pinnable = true;
  /// Whether the memory counts as locked while a domain or a page table translates the mapping.
  /// False: the memory is a mapped BAR; or, in an iommufd, its process has CAP_IPC_LOCK.
  bool counted = true;
  /// Whether the limit on locked memory counts. False: the process has CAP_IPC_LOCK.
  bool limited = true;
  /// iommufd: whether the process is charged for the memory, and not its user
  /// (IOMMU_OPTION_RLIMIT_MODE).
  bool charges_process = false;
  /// iommufd: the user of the process when it made the mapping.
  int user = 0;
  /// iommufd: whether a copy of the mapping may let devices write. The flags of the IOAS_MAP that
  /// took the memory decide this, also if a copy in between lets devices only read.
  bool writeable_memory = true;
  /// iommufd: a number that all mappings of this memory have, if IOAS_COPY made some of them. The
  /// memory of these mappings counts once. 0: no mapping was copied.
  std::uint64_t memory = 0;
  /// The account that is charged for the memory. Null: the driver of the container counts nothing.
  std::shared_ptr<const memory_account> account{};
  /// iommufd: the file whose memory is mapped. Null: the memory of the process is.
  std::shared_ptr<mapped_file> file{};
  /// The last I/O virtual address.
  [[nodiscard]] std::uint64_t last() const noexcept { return iova + size - 1; }
  /// The part of the mapping from `first` to `end - 1`. \pre the mapping contains this range
  [[nodiscard]] dma_mapping part(std::uint64_t first, std::uint64_t end) const noexcept {
    dma_mapping p = *this;
    p.iova = first;
    p.size = end - first;
    p.address += first - iova;
    return p;
  }
};

/// A set of mappings that do not overlap. Look-ups take logarithmic time.
class dma_map {
 public:
  /// The first mapping that has an address in [first, last]. Null: there is none.
  [[nodiscard]] const dma_mapping* find(std::uint64_t first, std::uint64_t last) const noexcept;
  // Without memory the next functions throw std::bad_alloc, and change nothing.

  /// Allocates the memory for a number of further mappings. Later calls use this memory first:
  /// `add` and `split_behind` need memory for one mapping, and `cut` for two.
  void prepare(std::size_t further);
  /// Adds a mapping. \pre no mapping has an address in common with it
  void add(const dma_mapping& m);
  /// The first mapping that starts at an address or above it. Null: there is none.
  [[nodiscard]] dma_mapping* at_or_after(std::uint64_t iova) noexcept;
  /// The first mapping behind `m`. Null: there is none.
  [[nodiscard]] dma_mapping* next(const dma_mapping& m) noexcept;
  /// Removes a mapping. \pre the mapping is in the set
  void remove(const dma_mapping& m) noexcept { by_iova_.erase(m.iova); }
  /// Removes the addresses in [first, last] from all mappings. A mapping that reaches over an end
  /// of the range is made smaller. If it reaches over both ends, a further mapping is made.
  void cut(std::uint64_t first, std::uint64_t last);
  /// Makes two mappings of a mapping that reaches over the end of an address: the first one ends
  /// with the address. Does nothing if no mapping does so.
  void split_behind(std::uint64_t last);
  /// Removes all mappings.
  void clear() noexcept { by_iova_.clear(); }
  /// The number of mappings.
  [[nodiscard]] std::size_t size() const noexcept { return by_iova_.size(); }
  /// All mappings, by their first address.
  [[nodiscard]] const std::map<std::uint64_t, dma_mapping>& all() const noexcept;

 private:
  using mappings = std::map<std::uint64_t, dma_mapping>;
  mappings by_iova_;
  mappings spare_;  // memory for further mappings; what is in it has no meaning
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommu/impl/dma_map.hpp>
#endif
