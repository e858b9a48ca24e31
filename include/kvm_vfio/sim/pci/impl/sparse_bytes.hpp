// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of sparse_bytes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/pci/sparse_bytes.hpp>

#include <sys/mman.h>
#include <sys/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void sparse_bytes::read(std::uint64_t offset, void* to,
                                        std::size_t size) const noexcept {
  auto* out = static_cast<unsigned char*>(to);
  for (std::size_t done = 0; done < size;) {
    const part p = part_of(offset + done, size - done);
    const unsigned char* const bytes = bytes_of(p.chunk);
    if (!bytes) std::memset(out + done, 0, p.size);
    else std::memcpy(out + done, bytes + p.at, p.size);
    done += p.size;
  }
}

KVM_VFIO_INLINE void sparse_bytes::prepare(std::uint64_t offset, std::size_t size) {
  for (std::size_t done = 0; done < size;) {
    const part p = part_of(offset + done, size - done);
    if (!bytes_of(p.chunk)) chunks_.emplace(p.chunk, std::make_unique<chunk>());
    done += p.size;
  }
}

KVM_VFIO_INLINE void sparse_bytes::write(std::uint64_t offset, const void* from, std::size_t size) {
  prepare(offset, size);
  const auto* in = static_cast<const unsigned char*>(from);
  for (std::size_t done = 0; done < size;) {
    const part p = part_of(offset + done, size - done);
    std::memcpy(bytes_of(p.chunk) + p.at, in + done, p.size);
    done += p.size;
  }
}

KVM_VFIO_INLINE unsigned char sparse_bytes::operator[](std::uint64_t offset) const noexcept {
  unsigned char byte = 0;
  read(offset, &byte, 1);
  return byte;
}

KVM_VFIO_INLINE unsigned char* sparse_bytes::map(std::uint64_t size) noexcept {
  return block_ ? block_.get() : map_from(-1, 0, size);
}

KVM_VFIO_INLINE bool sparse_bytes::map_file(std::uint64_t size, int file,
                                            std::uint64_t offset) noexcept {
  if (block_) return block_.get_deleter().is_file;
  return map_from(file, offset, size) != nullptr;
}

KVM_VFIO_INLINE unsigned char* sparse_bytes::map_from(int file, std::uint64_t offset,
                                                      std::uint64_t size) noexcept {
  const auto bytes = kvm_vfio::detail::convert<std::size_t>(size);
  if (bytes != size) return nullptr;
  // MAP_SHARED, because a process that is a copy of this one (fork) then sees the same device.
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              (file < 0 ? MAP_ANONYMOUS : 0) | MAP_SHARED | MAP_NORESERVE, file,
                              static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return nullptr;
  auto* const block = static_cast<unsigned char*>(mapped);
  const auto end = chunks_.lower_bound(size / chunk_size);
  for (auto at = chunks_.begin(); at != end; at = chunks_.erase(at))
    std::memcpy(block + static_cast<std::size_t>(at->first) * chunk_size, at->second->data(),
                chunk_size);
  block_ = std::unique_ptr<unsigned char, unmap>(block, unmap{bytes, file >= 0});
  return block;
}

KVM_VFIO_INLINE unsigned char* sparse_bytes::bytes_of(std::uint64_t number) const noexcept {
  if (block_ && number < block_.get_deleter().size / chunk_size)
    return block_.get() + kvm_vfio::detail::convert<std::size_t>(number) * chunk_size;
  const auto found = chunks_.find(number);
  return found == chunks_.end() ? nullptr : found->second->data();
}

KVM_VFIO_INLINE void sparse_bytes::unmap::operator()(unsigned char* block) const noexcept {
  (void)::munmap(block, size);
}

KVM_VFIO_INLINE sparse_bytes::part sparse_bytes::part_of(std::uint64_t offset,
                                                         std::size_t size) noexcept {
  const auto at = kvm_vfio::detail::convert<std::size_t>(offset % chunk_size);
  return {offset / chunk_size, at, std::min(size, chunk_size - at)};
}

}  // namespace kvm_vfio::sim
