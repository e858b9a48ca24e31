// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The ranges of I/O virtual addresses that TCE tables translate (POWER).

#include <cstdint>

namespace kvm_vfio::sim {

/// A range of I/O virtual addresses that a TCE table translates (POWER).
struct tce_window {
  /// The size of a page as a power of two: a page has 2^page_shift bytes.
  std::uint32_t page_shift = 12;
  /// The first address of the window, in pages.
  std::uint64_t offset = 0;
  /// The size of the window, in pages.
  std::uint64_t size = 0;
  /// Compares all members.
  friend bool operator==(const tce_window&, const tce_window&) = default;
};

/// The window that the firmware of the host gives to a group: 1 GiB of 4 KiB pages from address 0.
inline constexpr tce_window default_window{.page_shift = 12, .offset = 0, .size = 1 << 18};

}  // namespace kvm_vfio::sim
