// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptors that a call of io_uring_register(2) names. The preloaded object uses this file,
/// too, so nothing here allocates memory. The structs are those of linux/io_uring.h, which older
/// headers lack.

#include <cstddef>
#include <cstdint>

namespace kvm_vfio_sim {

/// The largest number of descriptors that are looked at.
inline constexpr std::uint32_t most_ring_files = 32768;

/// An array of descriptors, as 32-bit numbers.
struct ring_files {
  std::uint64_t at = 0;  ///< the address
  std::uint32_t count = 0;
};

/// Finds the descriptors that a call registers.
/// \param opcode   the second argument of the call
/// \param argument the third argument of the call
/// \param number   the fourth argument of the call
/// \param read     reads memory of the program: (from, to, size). Returns false if it cannot
/// \return none if the call registers no descriptors, or if the argument cannot be read
template <class Read>
ring_files ring_files_of(std::uint64_t opcode, std::uint64_t argument, std::uint64_t number,
                         Read read) noexcept {
  constexpr std::uint32_t with_registered_ring = std::uint32_t{1} << 31;
  ring_files found{argument, static_cast<std::uint32_t>(number)};
  const auto in_struct = [&](std::uint64_t address_at, std::uint64_t count_at) {
    if (!read(argument + address_at, &found.at, sizeof found.at) ||
        (count_at != ~std::uint64_t{0} &&
         !read(argument + count_at, &found.count, sizeof found.count)))
      found = {};
  };
  switch (static_cast<std::uint32_t>(opcode) & ~with_registered_ring) {
    case 2: break;                                   // IORING_REGISTER_FILES
    case 6: in_struct(8, ~std::uint64_t{0}); break;  // ..._FILES_UPDATE: io_uring_files_update
    case 13: in_struct(16, 0); break;                // ..._FILES2: io_uring_rsrc_register
    case 14: in_struct(8, 24); break;                // ..._FILES_UPDATE2: io_uring_rsrc_update2
    default: found = {};
  }
  if (found.count > most_ring_files) found.count = most_ring_files;
  return found;
}

}  // namespace kvm_vfio_sim
