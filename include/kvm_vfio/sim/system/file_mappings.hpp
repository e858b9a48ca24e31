// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The mappings of files that a process has.

#include <kvm_vfio/sim/system/file.hpp>

#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// A mapping of a file, with a reference on the file.
struct file_mapping {
  /// The first address.
  std::uint64_t address;
  /// The size in bytes: whole pages.
  std::uint64_t size;
  /// The file.
  file_ref mapped;
};

/// Takes a range out of the last mapping of this range, or else of the last mapping that contains
/// the range. What is left in front of the range and behind it holds references of its own.
/// \return the reference of the mapping; empty: no mapping contains the range
[[nodiscard]] file_ref unmap(std::vector<file_mapping>& from, std::uint64_t address,
                             std::uint64_t size);
/// Copies mappings, with references of their own. Without memory it throws std::bad_alloc.
[[nodiscard]] std::vector<file_mapping> copy(const std::vector<file_mapping>& all);
/// Returns whether a mapping contains a byte of a range.
[[nodiscard]] bool maps(const std::vector<file_mapping>& all, std::uint64_t address,
                        std::uint64_t size) noexcept;

/// Gives the first mapping with an address another address.
/// \return whether there is such a mapping
[[nodiscard]] bool relocate(std::vector<file_mapping>& in, std::uint64_t from,
                            std::uint64_t to) noexcept;
/// Gives a range of a mapping another address, as mremap(2) does. The rest stays where it is.
/// Without memory it throws std::bad_alloc.
/// \return whether a mapping contains the range
[[nodiscard]] bool relocate_part(std::vector<file_mapping>& in, std::uint64_t from,
                                 std::uint64_t size, std::uint64_t to);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/file_mappings.hpp>
#endif
