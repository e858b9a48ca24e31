// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of vfio_requests.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/vfio_requests.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {

KVM_VFIO_INLINE answer vfio_extension(std::uint64_t extension, const vfio_space& on) {
  switch (extension) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case uapi::unmap_all_extension: return on.no_iommu ? 0 : 1;
    case VFIO_NOIOMMU_IOMMU: return on.knows_no_iommu ? 1 : 0;
    case VFIO_DMA_CC_IOMMU:
      if (!on.space) return errc::nodev;
      return on.coherent ? 1 : 0;
    default: return 0;
  }
}

KVM_VFIO_INLINE answer vfio_set_iommu(const process& task, std::uint64_t type,
                                      const vfio_space& on) {
  if (on.no_iommu && type == VFIO_NOIOMMU_IOMMU)
    return task.cap_sys_rawio() ? answer(0) : answer(errc::perm);
  if (on.no_iommu) return errc::inval;
  if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU) return errc::inval;
  if (!on.space) return errc::nodev;
  return to_answer(type == VFIO_TYPE1_IOMMU ? on.space->use_small_pages() : errc::ok);
}

// VFIO_IOMMU_GET_INFO. Each capability is written as soon as it fits, but only if all of them fit,
// the info struct tells the offset of the first one.
KVM_VFIO_INLINE answer vfio_get_info(process& task, std::uint64_t argument, const vfio_space& on) {
  vfio_iommu_type1_info info{};
  constexpr std::size_t least = offsetof(vfio_iommu_type1_info, iova_pgsizes) + 8;
  static_assert(least == 16);
  if (const errc e = read_argsz(task, argument, info, least); e != errc::ok) return e;
  if (!on.space) return errc::nodev;
  const std::uint32_t room = info.argsz;
  const std::size_t size = room < sizeof info ? room : sizeof info;
  // A capability for the number of free mappings has twelve bytes, and four behind it are unused.
  constexpr std::size_t first = sizeof info;
  constexpr std::size_t second = first + 16;
  const std::vector<iova_range>& ranges = on.space->ranges();
  const std::size_t whole = second + 16 + 16 * ranges.size();
  const auto header = [](std::uint16_t id, std::size_t next) {
    return vfio_info_cap_header{.id = id, .version = 1, .next = static_cast<std::uint32_t>(next)};
  };
  if (room >= first + 12) {
    const auto next = header(VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, room >= second ? second : 0);
    if (!task.copy_to_user(argument + first, next) ||
        !task.copy_to_user(argument + first + sizeof next, ~std::uint32_t{0}))
      return errc::fault;
  }
  // Each range is written as soon as it fits, but the header in front of them only if all fit.
  constexpr std::size_t ranges_at = second + 16;
  for (std::size_t i = 0; i < ranges.size() && room >= ranges_at + 16 * (i + 1); ++i) {
    const auto raw = bytes_of(ranges[i].first, ranges[i].last);
    if (!task.mem().write(argument + ranges_at + 16 * i, raw.data(), raw.size()))
      return errc::fault;
  }
  if (room >= whole) {
    const auto last = header(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 0);
    const auto count = bytes_of(static_cast<std::uint32_t>(ranges.size()), std::uint32_t{0});
    if (!task.copy_to_user(argument + second, last) ||
        !task.mem().write(argument + second + sizeof last, count.data(), count.size()))
      return errc::fault;
  }
  info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
  info.iova_pgsizes = on.page_sizes;
  info.cap_offset = room >= whole ? first : 0;
  info.argsz = static_cast<std::uint32_t>(whole);
  return write_back(task, argument, info, size);
}

KVM_VFIO_INLINE answer vfio_map(process& task, std::uint64_t argument, const vfio_space& on) {
  vfio_iommu_type1_dma_map m{};
  if (const errc e = read_argsz(task, argument, m, sizeof m); e != errc::ok) return e;
  constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  if (m.flags & ~access) return errc::inval;
  if (!on.space) return errc::nodev;
  std::uint32_t flags = uapi::map_fixed_iova;
  if (m.flags & VFIO_DMA_MAP_FLAG_READ) flags |= uapi::map_readable;
  if (m.flags & VFIO_DMA_MAP_FLAG_WRITE) flags |= uapi::map_writeable;
  if (m.vaddr + m.size < m.vaddr) return errc::overflow;
  return to_answer(map_for(task, on.room, *on.space,
                           {.iova = m.iova,
                            .size = m.size,
                            .address = m.vaddr,
                            .flags = flags,
                            .charges_process = on.charges_process}));
}

KVM_VFIO_INLINE answer vfio_unmap(process& task, std::uint64_t argument, const vfio_space& on) {
  vfio_iommu_type1_dma_unmap u{};
  constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
  if (const errc e = read_argsz(task, argument, u, size); e != errc::ok) return e;
  if (u.flags & ~uapi::dma_unmap_all) return errc::inval;
  if (!on.space) return errc::nodev;
  std::uint64_t done = 0;
  errc e = errc::ok;
  if (u.flags & uapi::dma_unmap_all) {
    if (u.iova || u.size) return errc::inval;
    e = on.space->unmap(0, ~std::uint64_t{0}, done);
  } else {
    const std::uint64_t last = u.iova + u.size - 1;
    if (on.space->small_pages()) {
      // Version 1 unmaps a part of a mapping: the mapping is cut at both ends of the range.
      on.space->prepare(2);
      if (const errc cut = on.space->cut(last); cut != errc::ok) return cut;
      if (u.iova != 0)
        if (const errc cut = on.space->cut(u.iova - 1); cut != errc::ok) return cut;
    }
    if (u.size == 0) e = errc::inval;
    else if (last < u.iova) e = errc::overflow;
    else e = on.space->unmap(u.iova, last, done);
    // A range without a mapping is no error here.
    if (e == errc::noent && !on.space->mappings().find(u.iova, last)) e = errc::ok;
  }
  if (e == errc::noent && (u.flags & uapi::dma_unmap_all)) e = errc::ok;
  u.size = done;
  if (const answer a = write_back(task, argument, u, size); !a) return a;
  return to_answer(e);
}

}  // namespace detail

KVM_VFIO_INLINE bool can_pin(process& task, std::uint64_t address, std::uint64_t size,
                             bool write) noexcept {
  return !task.maps_file(address, size) && task.mem().pinnable(address, size, write);
}

KVM_VFIO_INLINE errc map_for(process& task, std::uint64_t room, ioas& to, dma_mapping m) {
  m.account = task.account();
  m.user = m.account->user;
  m.pinnable = m.file || can_pin(task, m.address, m.size, (m.flags & uapi::map_writeable) != 0);
  m.writeable_memory = (m.flags & uapi::map_writeable) != 0;
  m.counted = m.limited = !m.account->unlimited;
  return to.map(m, room);
}

KVM_VFIO_INLINE answer vfio_request(process& task, std::uint32_t request, std::uint64_t argument,
                                    const vfio_space& on) {
  switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return detail::vfio_extension(argument, on);
    case VFIO_SET_IOMMU: return detail::vfio_set_iommu(task, argument, on);
    case VFIO_IOMMU_GET_INFO: return detail::vfio_get_info(task, argument, on);
    case VFIO_IOMMU_MAP_DMA: return detail::vfio_map(task, argument, on);
    case VFIO_IOMMU_UNMAP_DMA: return detail::vfio_unmap(task, argument, on);
    default: return errc::notty;
  }
}

}  // namespace kvm_vfio::sim
