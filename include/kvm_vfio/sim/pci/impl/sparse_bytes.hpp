// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of sparse_bytes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/pci/sparse_bytes.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void sparse_bytes::read(std::uint64_t offset, void* to,
                                        std::size_t size) const noexcept {
  auto* out = static_cast<unsigned char*>(to);
  for (std::size_t done = 0; done < size;) {
    const part p = part_of(offset + done, size - done);
    const auto found = chunks_.find(p.chunk);
    if (found == chunks_.end()) std::memset(out + done, 0, p.size);
    else std::memcpy(out + done, found->second->data() + p.at, p.size);
    done += p.size;
  }
}

KVM_VFIO_INLINE void sparse_bytes::write(std::uint64_t offset, const void* from, std::size_t size) {
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

KVM_VFIO_INLINE unsigned char sparse_bytes::operator[](std::uint64_t offset) const noexcept {
  unsigned char byte = 0;
  read(offset, &byte, 1);
  return byte;
}

KVM_VFIO_INLINE sparse_bytes::part sparse_bytes::part_of(std::uint64_t offset,
                                                         std::size_t size) noexcept {
  const auto at = kvm_vfio::detail::convert<std::size_t>(offset % chunk_size);
  return {offset / chunk_size, at, std::min(size, chunk_size - at)};
}

}  // namespace kvm_vfio::sim
