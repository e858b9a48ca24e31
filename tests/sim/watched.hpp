// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A small simulated machine whose VMM a checker watches, and arguments for its calls.

#include "fixture.hpp"

#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

template <class Profile = kvm_vfio::linux_7_3>
struct watched : machine_under_test<Profile> {
  watched() { this->task.observe(check); }
  trace::checker check;
  /// The rules that were broken, in order.
  [[nodiscard]] std::vector<trace::rule> broken() const {
    std::vector<trace::rule> out;
    for (const trace::report& r : check.reports()) out.push_back(r.broken);
    return out;
  }
};
using rules = std::vector<trace::rule>;
inline constexpr const char* device_name = "0000:00:04.0";

struct irq_argument {
  std::uint32_t words[6];
};
[[nodiscard]] inline irq_argument arm(std::uint32_t index, int event) {
  return {{24, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 1,
           static_cast<std::uint32_t>(event)}};
}
[[nodiscard]] inline irq_argument disarm(std::uint32_t index) {
  return {{20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, 0, 0}};
}

/// Maps memory in a container. The address of the memory is its IOVA.
template <class Vmm>
errc map_dma(Vmm& m, int container, std::uint64_t iova, std::uint64_t size) {
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = iova,
                               .iova = iova,
                               .size = size};
  return m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map);
}
/// Unmaps a range in a container.
template <class Vmm>
errc unmap_dma(Vmm& m, int container, std::uint64_t iova, std::uint64_t size,
               std::uint32_t flags = 0) {
  std::uint64_t words[3] = {};
  const std::uint32_t head[2] = {24, flags};
  std::memcpy(words, head, sizeof head);
  words[1] = iova;
  words[2] = size;
  return m.ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, words);
}
