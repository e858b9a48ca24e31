// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file_mappings.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_mappings.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE file_ref unmap(std::vector<file_mapping>& from, std::uint64_t address,
                               std::uint64_t size) {
  // All mappings of a region have one address here. So a mapping of this size is meant, if there is
  // one, and otherwise a part of a larger one.
  std::size_t found = from.size();
  for (std::size_t i = from.size(); i-- != 0;) {
    const bool whole = from[i].address == address && from[i].size == size;
    const std::uint64_t before = address - from[i].address;
    const bool contains = before < from[i].size && size <= from[i].size - before;
    if (whole || (contains && found == from.size())) found = i;
    if (whole) break;
  }
  if (found == from.size()) return {};
  const std::uint64_t before = address - from[found].address;
  const std::uint64_t all = from[found].size;
  // What is left is in at most two parts. Without room for them nothing may change.
  from.reserve(from.size() + 1);
  file_ref mapped = std::move(from[found].mapped);
  const auto at = static_cast<std::ptrdiff_t>(found);
  from.erase(from.begin() + at);
  const auto keep = [&](std::uint64_t first, std::uint64_t bytes) {
    if (bytes == 0) return;
    mapped->get();
    from.insert(from.begin() + at, file_mapping{first, bytes, file_ref(mapped.get())});
  };
  keep(address + size, all - before - size);
  keep(address - before, before);
  return mapped;
}

KVM_VFIO_INLINE std::vector<file_mapping> copy(const std::vector<file_mapping>& all) {
  std::vector<file_mapping> made;
  made.reserve(all.size());
  for (const file_mapping& m : all) {
    m.mapped->get();
    made.push_back({m.address, m.size, file_ref(m.mapped.get())});
  }
  return made;
}

KVM_VFIO_INLINE bool maps(const std::vector<file_mapping>& all, std::uint64_t address,
                          std::uint64_t size) noexcept {
  for (const file_mapping& m : all)
    if (address < m.address + m.size && m.address < address + size) return true;
  return false;
}

KVM_VFIO_INLINE bool relocate(std::vector<file_mapping>& in, std::uint64_t from,
                              std::uint64_t to) noexcept {
  for (file_mapping& m : in)
    if (m.address == from) {
      m.address = to;
      return true;
    }
  return false;
}

KVM_VFIO_INLINE bool relocate_part(std::vector<file_mapping>& in, std::uint64_t from,
                                   std::uint64_t size, std::uint64_t to) {
  // Two parts that stay, and the one that moves.
  in.reserve(in.size() + 2);
  file_ref mapped = unmap(in, from, size);
  if (!mapped) return false;
  in.push_back({to, size, std::move(mapped)});
  return true;
}

}  // namespace kvm_vfio::sim
