// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where the argument of a compared call lies.

namespace conformance {

enum class place : unsigned char {
  good,        ///< in memory, and memory follows it
  null,        ///< at address 0
  unmapped,    ///< in a page that is not there
  read_only,   ///< in a page that can be read only
  straddling,  ///< its second half is in a page that is not there
  high,        ///< in the kernel's half of the addresses
  tight,       ///< in memory, and the memory ends with it
  value,       ///< nowhere: the argument is a number
};

/// Returns the name of a place, for reports.
[[nodiscard]] constexpr const char* name(place p) noexcept {
  constexpr const char* names[] = {"good",       "null", "unmapped", "read-only",
                                   "straddling", "high", "tight",    "value"};
  return names[static_cast<int>(p)];
}

}  // namespace conformance
