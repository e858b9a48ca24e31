// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Registers as pread(2) and pwrite(2) carry them: VFIO gives them in the device's order.

#include <bit>
#include <concepts>
#include <cstddef>

namespace registers {

/// PCI's registers are little-endian: this machine's number as it lies there, or back.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T little_endian(T v) noexcept {
  if constexpr (std::endian::native == std::endian::little || sizeof(T) == 1) {
    return v;
  } else {
    T turned = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      turned = static_cast<T>(turned << 8 | (v & 0xff));
      v = static_cast<T>(v >> 8);
    }
    return turned;
  }
}

}  // namespace registers
