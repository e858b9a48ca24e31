// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Requests of containers, and of iommufds that stand for containers.

#include "kvm.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Requests of containers, and of iommufds that stand for containers.
class container_steps : public kvm_steps {
 protected:
  using kvm_steps::kvm_steps;

  // The compatibility mode of iommufd: an iommufd as a container.

  kind some_container() { return m_.iommufd && r_.percent(25) ? kind::iommufd : kind::container; }
  void container_call() {
    const ref on = mostly(some_container());
    if (not_compared(on)) return;
    switch (r_.below(12)) {
      case 0: call(on, "GET_API_VERSION", VFIO_GET_API_VERSION, 0); return;
      case 1: {
        // Up to the highest that any release knows, and beyond.
        const std::uint64_t n = r_.percent(90) ? static_cast<unsigned>(r_.below(13)) : r_.next();
        if (m_.spapr && n == VFIO_SPAPR_TCE_v2_IOMMU) return;  // version 2 is not modelled
        call(on, "CHECK_EXTENSION", VFIO_CHECK_EXTENSION, n);
        return;
      }
      case 2:
      case 3: {
        const std::uint64_t type = r_.percent(80)
                                       ? r_.of<std::uint64_t>({1, 3, 3, m_.spapr ? 2U : 3U})
                                       : static_cast<unsigned>(r_.below(12));
        if (m_.spapr && type == VFIO_SPAPR_TCE_v2_IOMMU) return;
        call(on, "SET_IOMMU", VFIO_SET_IOMMU, type);
        return;
      }
      case 4:
      case 5: return m_.spapr ? spapr_info(on) : get_info(on);
      case 6:
      case 7:
      case 8: return map(on);
      default: return unmap(on);
    }
  }
  void get_info(ref on) {
    vfio_iommu_type1_info info{};
    info.argsz = argsz(24, {8, 12, 16, 20, 24, 32, 39, 40, 72, 88, 100, 104, 128, 256});
    info.flags = flags(0);
    if (r_.percent(25)) info.argsz = 256;
    if (r_.percent(10)) info.argsz = r_.of({16U, 20U});
    auto argument = bytes(info);
    if (info.argsz <= 256 && info.argsz > argument.size()) argument.resize(info.argsz, 0x11);
    call(on, "IOMMU_GET_INFO", VFIO_IOMMU_GET_INFO, std::move(argument));
  }
  void spapr_info(ref on) {
    // A device's request of DISABLE's number is IOEVENTFD, which is not modelled.
    if (on.what == kind::device || on.what == kind::cdev) return;
    vfio_iommu_spapr_tce_info info{};
    info.argsz = argsz(sizeof info);
    info.flags = flags(0);
    switch (r_.below(4)) {
      case 0: call(on, "ENABLE", VFIO_IOMMU_ENABLE, 0); return;
      case 1: call(on, "DISABLE", VFIO_IOMMU_DISABLE, 0); return;
      default:
        call(on, "SPAPR_TCE_GET_INFO", VFIO_IOMMU_SPAPR_TCE_GET_INFO, bytes(info, std::uint64_t{}));
    }
  }
  void map(ref on) {
    vfio_iommu_type1_dma_map m{};
    m.argsz = argsz(sizeof m);
    m.flags = r_.percent(85) ? r_.of({1U, 2U, 3U, 3U}) : r_.of({0U, 4U, 7U, 8U, 1U << 31});
    m.vaddr = r_.percent(94) ? m_.page * static_cast<unsigned>(r_.below(4)) : r_.of({1U, 512U});
    m.iova = iova();
    m.size = length();
    wrap(m.iova, m.size);
    call(on, "MAP_DMA", VFIO_IOMMU_MAP_DMA, bytes(m),
         {{offsetof(decltype(m), vaddr), {kind::dma_memory}}});
    if (r_.percent(6)) odd_memory(steps_.back(), offsetof(decltype(m), vaddr));
  }
  void unmap(ref on) {
    vfio_iommu_type1_dma_unmap un{};
    constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
    un.argsz = argsz(size);
    un.iova = iova();
    un.size = r_.percent(80) ? length() : m_.page * 64;
    wrap(un.iova, un.size);
    if (r_.percent(10)) {
      un.flags = r_.of({2U, 2U, 2U, 1U, 4U, 6U, 8U, 1U << 31});
      if (r_.percent(70)) un.iova = un.size = 0;
    }
    auto argument = bytes(un);
    argument.resize(size);
    call(on, "UNMAP_DMA", VFIO_IOMMU_UNMAP_DMA, std::move(argument));
  }
};

}  // namespace vfio_lockstep
