// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Simulated memory of any size. Only the parts that were written take real memory.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

namespace kvm_vfio::sim {

/// An array of bytes. Each byte is zero until it is written. The array allocates memory in chunks,
/// when a byte of a chunk is written for the first time. So a BAR of 256 GiB costs no more than a
/// BAR of 4 KiB. Each access takes logarithmic time in the number of chunks.
///
/// The first bytes of the array can be moved to a block of memory that has an address (`map`).
class sparse_bytes {
 public:
  /// The size of a chunk, in bytes.
  static constexpr std::size_t chunk_size = 4096;

  /// Copies `size` bytes from `offset` on to `to`. Allocates nothing.
  void read(std::uint64_t offset, void* to, std::size_t size) const noexcept;
  /// Copies `size` bytes from `from` to the array, from `offset` on. Allocates all chunks first: if
  /// this fails with std::bad_alloc, no byte was written.
  void write(std::uint64_t offset, const void* from, std::size_t size);
  /// Allocates the chunks for `size` bytes from `offset` on, so that a later `write` of these bytes
  /// allocates nothing. Without memory it throws std::bad_alloc.
  void prepare(std::uint64_t offset, std::size_t size);
  /// The byte at an offset.
  [[nodiscard]] unsigned char operator[](std::uint64_t offset) const noexcept;
  /// Gives the first `size` bytes of the array one block of memory, and returns its address, a
  /// multiple of the page size. The block holds these bytes from then on: `read` and `write` use
  /// the block, and so may the caller. The block has the same address in every later call. It
  /// exists as long as the array. A page of the block takes no real memory until it is written.
  /// \param size the number of bytes, a multiple of `chunk_size`; each call gives the same number
  /// \return null: there is no memory or no range of addresses for the block; then nothing changed
  [[nodiscard]] unsigned char* map(std::uint64_t size) noexcept;
  /// Does what `map` does, with a block that is a part of a file, so that another process can map
  /// the block, too. Call this function before `map`.
  /// \param size   the number of bytes, a multiple of `chunk_size`; each call gives the same number
  /// \param file   the descriptor of the file, which must have zeros there; each call gives the
  ///               same file
  /// \param offset the offset of the part in the file, a multiple of the page size
  /// \return false: the block exists already and is no file, or there is no memory or no range of
  ///         addresses for the block; then nothing changed
  [[nodiscard]] bool map_file(std::uint64_t size, int file, std::uint64_t offset) noexcept;
  /// The number of bytes of all allocated chunks. The block of `map` does not count.
  [[nodiscard]] std::uint64_t resident() const noexcept { return chunks_.size() * chunk_size; }

 private:
  using chunk = std::array<unsigned char, chunk_size>;
  struct part {
    std::uint64_t chunk;
    std::size_t at;  // the offset in the chunk
    std::size_t size;
  };
  // The part of `size` bytes from `offset` on that is in the first chunk.
  static part part_of(std::uint64_t offset, std::size_t size) noexcept;

  // The bytes of a chunk. Null: they are all zero, and no memory is allocated.
  [[nodiscard]] unsigned char* bytes_of(std::uint64_t number) const noexcept;

  // Makes the block of a part of a file, or of memory if the file is -1.
  unsigned char* map_from(int file, std::uint64_t offset, std::uint64_t size) noexcept;

  struct unmap {
    std::size_t size;
    bool is_file;
    void operator()(unsigned char* block) const noexcept;
  };

  std::map<std::uint64_t, std::unique_ptr<chunk>> chunks_;
  // The memory of the first chunks, which have no other memory.
  std::unique_ptr<unsigned char, unmap> block_{nullptr, unmap{0, false}};
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/pci/impl/sparse_bytes.hpp>
#endif
