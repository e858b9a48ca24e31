// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The I/O address spaces of iommufd, and the memory that they lock. An address space holds
/// mappings. It knows the ranges of IOVAs that its attached devices allow.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/iova_ranges.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// The memory that page tables translate, as iommufd counts it for a user. Memory that several
/// mappings have in common counts once (the kernel's struct iopt_pages and its pinned pages).
class locked_pages {
 public:
  /// Adds the memory of a mapping.
  /// \return the number of bytes that no mapping before had
  std::uint64_t add(const dma_mapping& m);
  /// Sets the memory that containers have locked for the same process, in bytes.
  void with_containers(std::uint64_t bytes) noexcept {
    in_containers_ = bytes;
    knows_containers_ = true;
  }
  /// Whether `with_containers` was called.
  [[nodiscard]] bool knows_containers() const noexcept { return knows_containers_; }
  /// The memory of all mappings and of the containers, in bytes.
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_ + in_containers_; }

 private:
  std::uint64_t bytes_ = 0;
  std::uint64_t in_containers_ = 0;
  bool knows_containers_ = false;
  // For each memory that was copied: the pages, as first and last page of separate ranges.
  std::map<std::uint64_t, std::map<std::uint64_t, std::uint64_t>> copied_;
};

/// The memory that iommufds have locked, for each number of `charged_for`.
using locked_by_user = std::map<int, locked_pages>;

/// Who is charged for the memory that a process maps now: the number of the user, or a negative
/// number for the address space of the process.
[[nodiscard]] int charged_for(const memory_account& account, bool charges_process) noexcept;
/// Who is charged for the memory of a mapping. \pre the mapping has an account
[[nodiscard]] int charged_for(const dma_mapping& m) noexcept;

/// An I/O address space (the kernel's struct io_pagetable, as far as user space sees it).
class ioas {
 public:
  /// The size of a page of the processor, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// Sets the addresses that the attached devices allow.
  /// \param ranges    the addresses, sorted
  /// \param alignment what addresses and sizes must be multiples of, in bytes: the smallest page of
  ///                  the IOMMU; 1 if no device is attached
  void set_ranges(std::vector<iova_range> ranges, std::uint64_t alignment) noexcept;
  /// Uses no pages that are larger than `page` from now on, so that `cut` can cut mappings
  /// (iopt_disable_large_pages). Then addresses and sizes must be multiples of `page`.
  /// \par Errors
  /// - `errc::inval`: a page table translates mappings already, maybe with large pages
  /// - `errc::addrinuse`: a mapping is not aligned to pages
  [[nodiscard]] errc use_small_pages();
  /// Lets page tables have large pages again (iopt_enable_large_pages). \pre `set_ranges` follows
  void use_large_pages() noexcept { small_pages_ = false; }
  /// Lets `find_free` choose only addresses of some ranges (iopt_set_allow_iova). Without ranges it
  /// chooses any address. Devices whose reserved regions overlap the ranges cannot be attached.
  /// \param ranges the ranges, sorted; they do not overlap
  /// \par Errors
  /// - `errc::addrinuse`: a range has an address that the attached devices do not allow
  [[nodiscard]] errc choose_from(const std::vector<iova_range>& ranges);
  /// Whether mappings and the ranges of `choose_from` have only addresses of some ranges.
  /// \param ranges the ranges, sorted
  [[nodiscard]] bool is_within(const std::vector<iova_range>& ranges) const noexcept;
  /// Whether `use_small_pages` has succeeded.
  [[nodiscard]] bool small_pages() const noexcept { return small_pages_; }
  /// Allocates the memory for a number of calls of `cut` and `map`. Without memory it throws
  /// std::bad_alloc, and changes nothing.
  void prepare(std::size_t mappings) { maps_.prepare(mappings); }
  /// Cuts the mapping that contains an address into two. The first of them ends with this address.
  /// Does nothing if no mapping contains the address, or a mapping ends with it.
  /// \param last the address
  /// \par Errors
  /// - `errc::inval`: `last + 1` is not a multiple of `page`
  [[nodiscard]] errc cut(std::uint64_t last);
  /// Adds the memory that the address space has locked. It has locked nothing before a page table
  /// translates the mappings.
  /// \param to gets the memory
  void add_locked(locked_by_user& to) const;
  /// Sets whether a page table translates the mappings.
  void set_translated(bool yes) noexcept { translated_ = yes; }
  /// Whether a page table translates the mappings.
  [[nodiscard]] bool translated() const noexcept { return translated_; }
  /// Charges another account for the memory of all mappings.
  void charge(const std::shared_ptr<const memory_account>& account) noexcept;
  /// What addresses and sizes must be multiples of, in bytes.
  [[nodiscard]] std::uint64_t alignment() const noexcept { return alignment_; }
  /// The addresses that the attached devices allow.
  [[nodiscard]] const std::vector<iova_range>& ranges() const noexcept { return ranges_; }
  /// The mappings.
  [[nodiscard]] const dma_map& mappings() const noexcept { return maps_; }

  /// Adds a mapping at the address that it contains.
  /// \par Errors
  /// - `errc::inval`: the size is 0, the mapping is not aligned, a device does not allow its
  ///   addresses, or the mapping allows no access and a page table would have to translate it
  /// - `errc::overflow`: the address and the size wrap around
  /// - `errc::exists`: another mapping has one of the addresses
  /// - `errc::fault`: the memory cannot be pinned, and a page table would have to translate it; for
  ///   memory of a file `errc::inval`
  /// - `errc::nomem`: the process may not lock that much memory, and a page table would have to
  ///   translate it
  /// \param m    the mapping
  /// \param room how many bytes the process can still lock
  [[nodiscard]] errc map(const dma_mapping& m, std::uint64_t room = ~std::uint64_t{0});
  /// Returns the parts of the mappings that cover a range, in their order (iopt_get_pages). Marks
  /// their memory as copied.
  /// \param first   the first address
  /// \param last    the last address
  /// \param parts   the result
  /// \param numbers counts the memories that were copied
  /// \par Errors
  /// - `errc::noent`: an address of the range is not mapped
  [[nodiscard]] errc parts(std::uint64_t first, std::uint64_t last, std::vector<dma_mapping>& parts,
                           std::uint64_t& numbers);
  /// Checks that a mapping can be made at an address.
  /// \par Errors
  /// - the errors of `map` that concern the address and the size
  [[nodiscard]] errc check_place(std::uint64_t iova, std::uint64_t size) const noexcept;
  /// Adds copies of mappings, one behind the other (iopt_map_pages). \pre `check_place` or
  /// `find_free` has found their place
  /// \param copies the mappings, with their new addresses and flags
  /// \param locked the memory that all address spaces have locked
  /// \par Errors
  /// - `errc::perm`: a copy lets devices write to memory that was mapped only for reading
  /// - `errc::inval`: the memory of a copy is not aligned
  /// - `errc::fault`: the memory cannot be pinned, and a page table would have to translate it
  /// - `errc::nomem`: a page table would have to translate a copy, and the process of its memory
  ///   may not lock the memory that no page table translates yet
  [[nodiscard]] errc add_copies(const std::vector<dma_mapping>& copies, locked_by_user locked);
  /// Finds the lowest free address for a mapping. The first page is never used.
  /// \param size    the size in bytes
  /// \param address the address of the memory in the process; the result has the same offset in
  ///                its page, and the same alignment, but not more than the size rounded up to a
  ///                power of two, and not more than `most`
  /// \param most    the largest alignment, in bytes
  /// \param iova    the result
  /// \par Errors
  /// - `errc::inval`: the size is 0, or the alignment is less than `alignment()`
  /// - `errc::overflow`: the size is at least half of all addresses
  /// - `errc::nospc`: there is no free address
  [[nodiscard]] errc find_free(std::uint64_t size, std::uint64_t address, std::uint64_t most,
                               std::uint64_t& iova) const noexcept;
  /// Removes all mappings in [first, last]. A mapping is removed only as a whole.
  /// \param first the first address
  /// \param last  the last address
  /// \param done  the number of bytes that were unmapped
  /// \par Errors
  /// - `errc::noent`: there is no mapping in the range, or a mapping reaches over an end of the
  ///   range. The mappings before that one are removed.
  [[nodiscard]] errc unmap(std::uint64_t first, std::uint64_t last, std::uint64_t& done) noexcept;

  /// Checks that a page table can translate all mappings, except for their addresses.
  /// \param locked the memory that all address spaces have locked
  /// \par Errors
  /// - `errc::fault`: the memory of a mapping cannot be pinned; for memory of a file `errc::inval`
  /// - `errc::inval`: a mapping allows no access
  /// - `errc::nomem`: the page table is the first one, and the process of a mapping may not lock
  ///   that much memory
  [[nodiscard]] errc check_translation(locked_by_user locked) const;
  /// Whether every mapping has an alignment, in bytes.
  [[nodiscard]] bool fits(std::uint64_t alignment) const noexcept;

 private:
  // Stands for the user of memory that is not counted.
  static constexpr int nobody = -0x7fffffff - 1;

  // Adds the memory of a mapping to the locked memory, if the memory is still there and the process
  // may lock it.
  static errc lock_pages(const dma_mapping& m, locked_by_user& locked);
  static errc check_translation(const dma_mapping& m) noexcept;
  [[nodiscard]] errc check_copy(const dma_mapping& m) const noexcept;
  static bool aligned(const dma_mapping& m, std::uint64_t to) noexcept;

  std::vector<iova_range> ranges_ = every_address();
  std::vector<iova_range> chosen_from_;  // sorted; empty: every address
  std::uint64_t alignment_ = 1;
  bool small_pages_ = false;
  bool translated_ = false;
  dma_map maps_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/ioas.hpp>
#endif
