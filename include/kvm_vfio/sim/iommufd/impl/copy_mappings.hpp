// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of copy_mappings.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommufd/copy_mappings.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>
#include <map>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE errc copy_mappings(process& task, iommufd_shared& state,
                                   std::map<std::uint32_t, iommufd_object>& objects,
                                   uapi::iommu_ioas_copy& c) {
  constexpr std::uint32_t access = uapi::map_readable | uapi::map_writeable;
  constexpr std::uint64_t end = ~std::uint64_t{0};
  if (c.flags & ~(access | uapi::map_fixed_iova)) return errc::opnotsupp;
  if (c.length == end || c.src_iova == end || c.dst_iova == end) return errc::overflow;
  if (!(c.flags & access)) return errc::inval;
  const auto space = [&objects](std::uint32_t id) -> ioas* {
    const auto found = objects.find(id);
    return found != objects.end() && found->second.kind == iommufd_object::type::ioas
               ? &found->second.space
               : nullptr;
  };
  ioas* const from = space(c.src_ioas_id);
  if (!from) return errc::noent;
  if (c.length == 0) return errc::inval;
  const std::uint64_t last = c.src_iova + c.length - 1;
  if (last < c.src_iova) return errc::overflow;
  std::vector<dma_mapping> copies;
  if (const errc e = from->parts(c.src_iova, last, copies, state.copied); e != errc::ok) return e;
  ioas* const to = space(c.dst_ioas_id);
  if (!to) return errc::noent;
  std::uint64_t iova = c.dst_iova;
  const errc placed =
      c.flags & uapi::map_fixed_iova
          ? to->check_place(iova, c.length)
          : to->find_free(c.length, copies.front().address, state.options.huge_page, iova);
  if (placed != errc::ok) return placed;
  const std::uint64_t chosen = iova;
  for (dma_mapping& m : copies) {
    m.iova = iova;
    m.flags = c.flags;
    iova += m.size;
    // The whole mapping may have lacked memory that this part has.
    if (!m.pinnable && m.account == task.account())
      m.pinnable = can_pin(task, m.address, m.size, m.writeable_memory);
  }
  const errc e = to->add_copies(copies, locked_memory(state));
  if (e == errc::ok) c.dst_iova = chosen;
  return e;
}

}  // namespace kvm_vfio::sim
