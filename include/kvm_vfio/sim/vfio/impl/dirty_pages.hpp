// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of dirty_pages.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/system/user_addresses.hpp>
#include <kvm_vfio/sim/vfio/dirty_pages.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void dirty_pages::start(const dma_map& mappings) {
  tracked_ = true;
  detail::undo made([&] { stop(); });
  for (const auto& [iova, m] : mappings.all()) add(m);
  made.keep();
}

KVM_VFIO_INLINE void dirty_pages::stop() noexcept {
  tracked_ = false;
  bits_.clear();
}

KVM_VFIO_INLINE void dirty_pages::add(const dma_mapping& m) {
  if (!tracked_) return;
  // No page is smaller, also not after groups with larger pages have left.
  constexpr std::uint64_t least = 4096;
  bits_[m.iova].assign(kvm_vfio::detail::convert<std::size_t>((m.size / least + 63) / 64 + 1), 0);
}

KVM_VFIO_INLINE void dirty_pages::mark_all(const dma_map& mappings, std::uint64_t page) noexcept {
  if (!tracked_) return;
  for (const auto& [iova, m] : mappings.all()) set(bits_.find(iova)->second, m.size / page);
}

KVM_VFIO_INLINE void dirty_pages::clean(const dma_mapping& m, std::uint64_t page) noexcept {
  words& bits = bits_.find(m.iova)->second;
  const auto count = kvm_vfio::detail::convert<std::size_t>(m.size / page);
  for (std::size_t i = 0; i < count; ++i) bits[i / 64] &= ~(std::uint64_t{1} << i % 64);
}

KVM_VFIO_INLINE errc dirty_pages::write(process& task, const vfio_bitmap& to, const dma_mapping& m,
                                        std::uint64_t base, bool all) {
  const std::uint64_t page = to.pgsize;
  words& bits = bits_.find(m.iova)->second;
  const std::uint64_t first = (m.iova - base) / page;
  const std::uint64_t address =
      reinterpret_cast<std::uintptr_t>(to.data) + first / 64 * sizeof bits[0];
  const auto shift = static_cast<unsigned>(first % 64);
  if (all) set(bits, m.size / page);
  if (shift != 0) {
    for (std::size_t i = bits.size() - 1; i > 0; --i)
      bits[i] = bits[i] << shift | bits[i - 1] >> (64 - shift);
    bits[0] <<= shift;
    // Bits of pages in front of the mapping, and what the word has behind them (bitmap_or).
    std::uint64_t before = 0;
    if (!task.copy_from_user(address, before)) return errc::fault;
    bits[0] |= before;
  }
  const auto size = kvm_vfio::detail::convert<std::size_t>((m.size / page + shift + 63) / 64);
  return task.mem().write(address, bits.data(), size * sizeof bits[0]) ? errc::ok : errc::fault;
}

KVM_VFIO_INLINE void dirty_pages::set(words& bits, std::uint64_t count) noexcept {
  const auto end = kvm_vfio::detail::convert<std::size_t>(count);
  for (std::size_t i = 0; i < end; ++i) bits[i / 64] |= std::uint64_t{1} << i % 64;
}

KVM_VFIO_INLINE bool has_room(const vfio_bitmap& bitmap, std::uint64_t size) noexcept {
  constexpr std::uint64_t most = std::uint64_t{1} << 28;
  // A page size of 0 is refused later.
  const std::uint64_t pages = bitmap.pgsize == 0 ? size : size >> std::countr_zero(bitmap.pgsize);
  const std::uint64_t end = reinterpret_cast<std::uintptr_t>(bitmap.data) + bitmap.size;
  if (end < bitmap.size || end > detail::end_of_user) return false;
  const std::uint64_t words = pages / 64 + (pages % 64 != 0 ? 1 : 0);
  return pages != 0 && bitmap.size <= most && words <= bitmap.size / 8;
}

}  // namespace kvm_vfio::sim
