// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the type 1 IOMMU driver says about the DMA of a container. `vfio::container_ref` has these
/// functions.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/capability_chain.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/iova_range.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// The facts of VFIO_IOMMU_GET_INFO.
struct type1_info {
  std::uint64_t page_sizes = 0;  ///< bit n: pages of 2^n bytes can be mapped; 0 if not known
  bool ranges_known = false;     ///< whether the kernel says which IOVAs may be used
  std::size_t ranges = 0;        ///< the number of ranges of these IOVAs
  bool available_known = false;  ///< whether the kernel limits mappings and says how many are left
  std::uint32_t available = 0;   ///< the number of mappings that can still be made
};

/// The part of `basic_container_ref` that asks for the limits of DMA.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_type1_info_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Asks which IOVAs and page sizes mappings may have, and how many more mappings there can be
  /// (VFIO_IOMMU_GET_INFO). Makes one ioctl and allocates nothing.
  /// \param ranges   an array that receives the ranges of IOVAs that may be used; null for no
  ///                 ranges
  /// \param capacity the number of ranges that the array can hold. If there are more ranges, the
  ///                 array holds the first ones.
  /// \return the facts, with the number of all ranges
  /// \par Errors
  /// - `errc::inval`: the container has no IOMMU driver
  /// - `errc::msgsize`: the kernel's answer is longer than 4096 bytes
  /// - `errc::proto`: the kernel's answer contradicts itself
  /// - each other error of ioctl(2)
  [[nodiscard]] result<type1_info> iommu_info(iova_range* ranges = nullptr,
                                              std::size_t capacity = 0) const noexcept {
    constexpr std::uint32_t caps = 1U << 1;   // VFIO_IOMMU_INFO_CAPS
    constexpr std::uint16_t iova_ranges = 1;  // VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE
    constexpr std::uint16_t dma_avail = 3;    // VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL
    constexpr std::size_t cap_offset = 16;    // of vfio_iommu_type1_info, since Linux 5.4

    detail::capability_chain chain;
    chain.put(offsetof(vfio_iommu_type1_info, argsz), detail::capability_chain::capacity);
    if (const auto done = this->request(VFIO_IOMMU_GET_INFO, chain.data()); !done)
      return done.error();
    type1_info found;
    const std::uint32_t flags = chain.u32(offsetof(vfio_iommu_type1_info, flags));
    if (flags & VFIO_IOMMU_INFO_PGSIZES)
      found.page_sizes = chain.u64(offsetof(vfio_iommu_type1_info, iova_pgsizes));
    if (!(flags & caps)) return found;

    const std::size_t first = chain.u32(cap_offset);
    const auto at = chain.find(iova_ranges, first);
    if (at) {
      const auto list = chain.list(*at);
      if (!list) return list.error();
      found.ranges_known = true;
      found.ranges = list->count;
      for (std::size_t i = 0; ranges != nullptr && i < list->count && i < capacity; ++i)
        ranges[i] = {.first = chain.first(*list, i), .last = chain.second(*list, i)};
    } else if (at.error() != errc::noent) {
      return at.error();
    }
    const auto avail = chain.find(dma_avail, first);
    if (avail) {
      const auto number = chain.number(*avail);
      if (!number) return number.error();
      found.available_known = true;
      found.available = *number;
    } else if (avail.error() != errc::noent) {
      return avail.error();
    }
    return found;
  }
};

}  // namespace kvm_vfio::native::vfio
