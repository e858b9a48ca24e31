// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A BAR stays mapped while its device is closed, and its memory is mapped for DMA. The random
/// sequences remove each mapping at once.

#include "recorder.hpp"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace vfio_lockstep::fixed {

inline constexpr std::uint64_t bar_iova = 0x100000;

/// Maps the first page of the first BAR that allows it. Null: there is no such BAR.
template <class System>
void* map_bar(recorder<System>& on, const target& t, const machine& m, int device) {
  for (std::size_t i = 0; i < t.pci.bars.size() && i < 6; ++i) {
    if (t.pci.bars[i].size < m.page || t.pci.bars[i].io) continue;
    const auto at = on.sys().mmap(static_cast<std::size_t>(m.page), PROT_READ | PROT_WRITE, device,
                                  std::uint64_t{i} << 40);
    on.say("mmap", at.error());
    return at ? *at : nullptr;
  }
  return nullptr;
}

/// The device of a group.
template <class System>
void mapped_bar_of_group(recorder<System>& on, const target& t, const machine& m) {
  const opened_device o = on.open_device(t);
  void* const at = o.device < 0 ? nullptr : map_bar(on, t, m, o.device);
  if (!at) return on.close_all();
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  map.vaddr = reinterpret_cast<std::uintptr_t>(at);
  map.iova = bar_iova;
  map.size = m.page;
  on.ioctl_at("MAP_DMA of a BAR", o.container, VFIO_IOMMU_MAP_DMA, map);
  on.close("device", o.device);
  // The mapping holds the device, and the device holds its group.
  on.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
  on.open("opened group", t.group);
  on.close("group", o.group);
  on.close("container", o.container);
  on.open("closed group", t.group);
  on.say("munmap", on.sys().munmap(at, static_cast<std::size_t>(m.page)));
  on.open("free group", t.group);
  on.close_all();
}

/// The device with a file of its own.
template <class System>
void mapped_bar_of_file(recorder<System>& on, const target& t, const machine& m) {
  namespace u = kvm_vfio::uapi;
  const int iommufd = on.open("iommufd", "/dev/iommu");
  const int device = on.open("device file", t.cdev);
  on.bind(device, iommufd);
  const std::uint32_t space = on.alloc_ioas(iommufd);
  on.attach(device, space);
  void* const at = map_bar(on, t, m, device);
  if (!at) return on.close_all();
  u::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = u::map_fixed_iova | u::map_readable | u::map_writeable;
  map.ioas_id = space;
  map.user_va = reinterpret_cast<std::uintptr_t>(at);
  map.length = m.page;
  map.iova = bar_iova;
  on.ioctl_at("IOAS_MAP of a BAR", iommufd, u::request_ioas_map, map);
  on.close("device", device);
  // The mapping holds the device, so nobody else can bind the device.
  on.bind(on.open("device file", t.cdev), iommufd);
  on.open("group of the device", t.group);
  on.say("munmap", on.sys().munmap(at, static_cast<std::size_t>(m.page)));
  on.bind(on.open("free device file", t.cdev), iommufd);
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
