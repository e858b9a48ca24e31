// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The memory of a task that is the memory of the test program.

#include <cstdint>
#include <cstring>

namespace support {

/// Base of tasks whose addresses are those of the test program. Every address must be readable.
struct own_memory {
  template <class T>
  bool copy_from_user(std::uint64_t address, T& object) noexcept {
    std::memcpy(&object, reinterpret_cast<const void*>(address), sizeof object);
    return true;
  }
  template <class T>
  bool copy_to_user(std::uint64_t address, const T& object) noexcept {
    std::memcpy(reinterpret_cast<void*>(address), &object, sizeof object);
    return true;
  }
};

}  // namespace support
