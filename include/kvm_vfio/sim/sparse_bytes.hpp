// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Memory of any size that costs what is written of it.

#include <kvm_vfio/detail/convert.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
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
  void read(std::uint64_t offset, void* to, std::size_t size) const noexcept {
    auto* out = static_cast<unsigned char*>(to);
    for (std::size_t done = 0; done < size;) {
      const part p = part_of(offset + done, size - done);
      const auto found = chunks_.find(p.chunk);
      if (found == chunks_.end()) std::memset(out + done, 0, p.size);
      else std::memcpy(out + done, found->second->data() + p.at, p.size);
      done += p.size;
    }
  }
  /// Writes `size` bytes from `offset` on. Takes the memory for all of them first: when there is
  /// none (std::bad_alloc), nothing was written.
  void write(std::uint64_t offset, const void* from, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
      const part p = part_of(offset + done, size - done);
      if (!chunks_.contains(p.chunk)) chunks_.emplace(p.chunk, std::make_unique<chunk>());
      done += p.size;
    }
    const auto* in = static_cast<const unsigned char*>(from);
    for (std::size_t done = 0; done < size;) {
      const part p = part_of(offset + done, size - done);
      std::memcpy(chunks_.find(p.chunk)->second->data() + p.at, in + done, p.size);
      done += p.size;
    }
  }
  /// One byte.
  [[nodiscard]] unsigned char operator[](std::uint64_t offset) const noexcept {
    unsigned char byte = 0;
    read(offset, &byte, 1);
    return byte;
  }
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
  static part part_of(std::uint64_t offset, std::size_t size) noexcept {
    const auto at = kvm_vfio::detail::convert<std::size_t>(offset % chunk_size);
    return {offset / chunk_size, at, std::min(size, chunk_size - at)};
  }

  std::map<std::uint64_t, std::unique_ptr<chunk>> chunks_;
};

}  // namespace kvm_vfio::sim
