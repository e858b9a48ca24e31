// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of dma_map.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE const dma_mapping* dma_map::find(std::uint64_t first,
                                                 std::uint64_t last) const noexcept {
  auto next = by_iova_.upper_bound(first);
  if (next != by_iova_.begin()) {
    const dma_mapping& before = std::prev(next)->second;
    if (before.last() >= first) return &before;
  }
  return next != by_iova_.end() && next->second.iova <= last ? &next->second : nullptr;
}

KVM_VFIO_INLINE dma_mapping* dma_map::at_or_after(std::uint64_t iova) noexcept {
  const auto next = by_iova_.lower_bound(iova);
  return next == by_iova_.end() ? nullptr : &next->second;
}

KVM_VFIO_INLINE dma_mapping* dma_map::next(const dma_mapping& m) noexcept {
  if (m.last() == ~std::uint64_t{0}) return nullptr;
  return at_or_after(m.last() + 1);
}

KVM_VFIO_INLINE void dma_map::prepare(std::size_t further) {
  while (spare_.size() < further) spare_.try_emplace(spare_.size());
}

KVM_VFIO_INLINE void dma_map::add(const dma_mapping& m) {
  auto node =
      spare_.empty() ? decltype(spare_)::node_type() : spare_.extract(std::prev(spare_.end()));
  if (node.empty()) {
    by_iova_.emplace(m.iova, m);
    return;
  }
  node.key() = m.iova;
  node.mapped() = m;
  by_iova_.insert(std::move(node));
}

KVM_VFIO_INLINE void dma_map::cut(std::uint64_t first, std::uint64_t last) {
  prepare(2);
  if (first != 0) split_behind(first - 1);
  split_behind(last);
  while (const dma_mapping* const found = find(first, last)) remove(*found);
}

KVM_VFIO_INLINE void dma_map::split_behind(std::uint64_t last) {
  const dma_mapping* const found = find(last, last);
  if (!found || found->last() == last) return;
  add(found->part(last + 1, found->iova + found->size));
  dma_mapping& before = by_iova_.find(found->iova)->second;
  before.size = last + 1 - before.iova;
}

KVM_VFIO_INLINE const std::map<std::uint64_t, dma_mapping>& dma_map::all() const noexcept {
  return by_iova_;
}

}  // namespace kvm_vfio::sim
