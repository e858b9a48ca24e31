// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Memory of any size that costs what is written of it.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace kvm_vfio::sim {

/// Bytes by their offset, zero until they are written. A GPU's BAR of 256 GiB is as cheap as one
/// of 4 KiB: memory is taken in chunks, when a byte of a chunk is written for the first time.
class sparse_bytes {
 public:
  /// Bytes that are taken at once.
  static constexpr std::size_t chunk_size = 4096;

  /// Copies `size` bytes from `offset` on. Takes no memory.
  void read(std::uint64_t offset, void* to, std::size_t size) const noexcept;
  /// Writes `size` bytes from `offset` on. Takes the memory for all of them first: when there is
  /// none (std::bad_alloc), nothing was written.
  void write(std::uint64_t offset, const void* from, std::size_t size);
  /// One byte.
  [[nodiscard]] unsigned char operator[](std::uint64_t offset) const noexcept;
  /// How many bytes of memory it holds.
  [[nodiscard]] std::uint64_t resident() const noexcept { return chunks_.size() * chunk_size; }

 private:
  using chunk = std::array<unsigned char, chunk_size>;
  struct part {
    std::uint64_t chunk;
    std::size_t at;  // in the chunk
    std::size_t size;
  };
  // What of `size` bytes from `offset` on lies in the first chunk.
  static part part_of(std::uint64_t offset, std::size_t size) noexcept;

  std::map<std::uint64_t, std::unique_ptr<chunk>> chunks_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/sparse_bytes.hpp>
#endif
