// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Odd arguments of containers, and of an iommufd that is used as one.

#include "odd_calls.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device, with a second group and with a mediated device.
template <class System>
class odd_mappings : odd_calls<System> {
  using base = odd_calls<System>;
  using base::ask;
  using base::cut;
  using base::m_;
  using base::memory_;
  using base::on_;
  using base::page_;
  using base::pair;
  using base::read_only;

 public:
  odd_mappings(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& t) {
    other_drivers(t);
    dirty_pages(t);
    new_addresses(t, VFIO_TYPE1v2_IOMMU);
    new_addresses(t, VFIO_TYPE1_IOMMU);
    for (const target& other : m_.targets)
      if (!other.comparable) {
        translated_later(other, t);
        break;
      }
    if (m_.iommufd) iommufd_as_container(t);
    on_.close_all();
  }

 private:
  using typename base::numbers;
  static constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

  // Numbers of extensions that are no IOMMU drivers.
  void other_drivers(const target& t) {
    const int fd = on_.open("container", "/dev/vfio/vfio");
    on_.set_container(on_.open("group", t.group), fd);
    for (const std::uintptr_t type :
         {std::uintptr_t{VFIO_DMA_CC_IOMMU}, std::uintptr_t{u::unmap_all_extension},
          std::uintptr_t{10}, std::uintptr_t{99}})
      on_.ioctl("SET_IOMMU " + std::to_string(type), fd, VFIO_SET_IOMMU, type);
    on_.close_all();
  }
  void map(int fd, std::uint64_t iova, std::uint64_t address, std::uint64_t size,
           std::uint32_t flags = access) {
    ask("MAP_DMA", fd, VFIO_IOMMU_MAP_DMA, {pair(32, flags), address - memory_.there, iova, size},
        address);
  }
  void unmap(int fd, std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) {
    ask("UNMAP_DMA " + std::to_string(flags), fd, VFIO_IOMMU_UNMAP_DMA,
        {pair(24, flags), iova, size});
  }
  // A bitmap has its members behind those of the range.
  [[nodiscard]] numbers bitmap(std::uint32_t flags, std::uint64_t iova, std::uint64_t pages,
                               std::uint64_t unit, std::uint64_t size, std::uint64_t to) const {
    return {pair(48, flags), iova, pages * page_, unit, size, to};
  }
  void dirty_pages(const target& t) {
    const opened_device o = on_.open_device(t);
    const int fd = o.container;
    constexpr std::uint32_t get = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    constexpr std::uint32_t with = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
    unsigned char bits[64] = {};
    const std::uint64_t to = reinterpret_cast<std::uintptr_t>(bits);
    const auto call = [&](std::uint64_t request, const numbers& c) {
      on_.ioctl_of(request == VFIO_IOMMU_DIRTY_PAGES ? "DIRTY_PAGES" : "UNMAP_DMA", fd, request, c);
    };
    map(fd, first_iova, memory_.there, 2 * page_);
    map(fd, first_iova + 70 * page_, memory_.there, page_);
    on_.ioctl("DIRTY_PAGES of nothing", fd, VFIO_IOMMU_DIRTY_PAGES, 0);
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(7, 1)});
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(8, 1)});
    call(VFIO_IOMMU_DIRTY_PAGES, {pair(47, get), first_iova, 2 * page_, page_, 8, to});
    cut("DIRTY_PAGES", fd, VFIO_IOMMU_DIRTY_PAGES, {pair(48, get), first_iova, 2 * page_}, 24);
    const std::uint64_t absent = memory_.absent;
    for (const std::uint64_t request :
         {std::uint64_t{VFIO_IOMMU_DIRTY_PAGES}, std::uint64_t{VFIO_IOMMU_UNMAP_DMA}}) {
      const std::uint32_t flags = request == VFIO_IOMMU_DIRTY_PAGES ? get : with;
      call(request, bitmap(flags, first_iova, 2, page_, ~std::uint64_t{0}, 8));
      call(request, bitmap(flags, first_iova, 2, page_, 8, std::uint64_t{1} << 63));
      call(request, bitmap(flags, first_iova, 2, 2 * page_, 8, to));
      call(request, bitmap(flags, first_iova, 2, 0, 8, to));
      call(request, bitmap(flags, first_iova, 0, page_, 8, to));
      call(request, bitmap(flags, ~std::uint64_t{0} - page_ + 1, 2, page_, 8, to));
      call(request, bitmap(flags, ~std::uint64_t{0} - page_ + 1, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova + page_, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova, 1, page_, 8, to));
      call(request, bitmap(flags, first_iova, 2, page_, 8, absent));
      // The bits of the mapping start inside a word.
      call(request, bitmap(flags, first_iova - 3 * page_, 5, page_, 8, absent));
      call(request, bitmap(flags, first_iova - 3 * page_, 80, page_, 16, absent - 8));
    }
    call(VFIO_IOMMU_UNMAP_DMA, bitmap(with | 2, first_iova, 2, page_, 8, to));
    call(VFIO_IOMMU_UNMAP_DMA, {pair(24, with), first_iova, 2 * page_, page_, 8, to});
    cut("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(48, with), first_iova, 2 * page_}, 24);
    unmap(fd, 0, page_, 2);
    read_only("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(24, 2), 0, 0});
    info(fd);
    on_.close_all();
  }
  // The capabilities behind the struct reach into memory that is not there.
  void info(int fd) {
    for (std::size_t size = 16; size <= 120; size += 8)
      cut("IOMMU_GET_INFO", fd, VFIO_IOMMU_GET_INFO, {pair(256, 0), 0, 0}, size);
    read_only("IOMMU_GET_INFO", fd, VFIO_IOMMU_GET_INFO, {pair(24, 0), 0, 0});
  }
  // Mappings whose memory moves to other addresses of the process.
  void new_addresses(const target& t, std::uintptr_t type) {
    const opened_device o = on_.open_device(t, "/dev/vfio/vfio", type);
    const int fd = o.container;
    constexpr std::uint32_t vaddr = u::dma_map_vaddr;
    map(fd, first_iova, memory_.there, 2 * page_);
    map(fd, first_iova + 2 * page_, memory_.there, page_);
    unmap(fd, first_iova + page_, page_, u::dma_unmap_vaddr);
    map(fd, first_iova, memory_.there, 2 * page_, vaddr);
    unmap(fd, first_iova, 2 * page_, u::dma_unmap_vaddr);
    unmap(fd, first_iova, 2 * page_, u::dma_unmap_vaddr);
    int other = -1;
    for (const target& of : m_.targets)
      if (of.group != t.group && of.comparable && other < 0)
        other = on_.open("other group", of.group);
    on_.set_container(other, fd);
    map(fd, first_iova, memory_.there, page_, vaddr);
    map(fd, first_iova + page_, memory_.there, page_, vaddr);
    map(fd, first_iova + 2 * page_, memory_.there, page_, vaddr);
    map(fd, first_iova + 8 * page_, memory_.there, page_, vaddr);
    unmap(fd, first_iova + 2 * page_, page_, u::dma_unmap_vaddr);
    map(fd, first_iova + page_, memory_.there, page_, vaddr);
    map(fd, first_iova + 2 * page_, memory_.there, page_, vaddr);
    map(fd, first_iova, memory_.there, 2 * page_, vaddr);
    unmap(fd, 0, 0, u::dma_unmap_vaddr | u::dma_unmap_all);
    unmap(fd, 0, 0, u::dma_unmap_all);
    on_.set_container(other, fd);
    on_.close_all();
  }
  // A container without a domain translates nothing, until a group with an IOMMU joins.
  void translated_later(const target& mediated, const target& t) {
    const int fd = on_.open("container", "/dev/vfio/vfio");
    const int first = on_.open("group", mediated.group);
    on_.set_container(first, fd);
    on_.ioctl("SET_IOMMU", fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    const int group = on_.open("other group", t.group);
    const auto join = [&](std::uint64_t iova, std::uint64_t address) {
      map(fd, iova, address, page_);
      on_.set_container(group, fd);
      on_.ioctl("UNSET_CONTAINER", group, VFIO_GROUP_UNSET_CONTAINER);
      unmap(fd, 0, 0, u::dma_unmap_all);
    };
    unmap(fd, first_iova, page_, u::dma_unmap_vaddr);
    info(fd);
    join(first_iova, memory_.absent);
    join(std::uint64_t{1} << 60, memory_.there);
    join(0xfee00000, memory_.there);
    map(fd, first_iova + page_, memory_.there + page_, page_);
    join(first_iova, memory_.there);
    join(std::uint64_t{1} << 60, memory_.there);
    info(fd);
    ask("DIRTY_PAGES start", fd, VFIO_IOMMU_DIRTY_PAGES, {pair(8, 1)});
    join(first_iova, memory_.there);
    // No device of the container has written the last page of all, or can.
    const std::uint64_t last = ~std::uint64_t{0} - page_ + 1;
    map(fd, last, memory_.there, page_);
    std::uint64_t bits[2] = {};
    const numbers get = bitmap(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, last, 1, page_, 8,
                               reinterpret_cast<std::uintptr_t>(bits));
    on_.ioctl_of("DIRTY_PAGES", fd, VFIO_IOMMU_DIRTY_PAGES, get);
    on_.say("bits", kvm_vfio::errc::ok, bits[0]);
    on_.close_all();
  }
  void iommufd_as_container(const target& t) {
    for (const std::uintptr_t type :
         {std::uintptr_t{VFIO_TYPE1_IOMMU}, std::uintptr_t{VFIO_TYPE1v2_IOMMU}}) {
      const opened_device o = on_.open_device(t, "/dev/iommu", type);
      const int fd = o.container;
      info(fd);
      on_.ioctl("CHECK_EXTENSION", fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU);
      map(fd, first_iova, memory_.there, 4 * page_);
      unmap(fd, 0, page_, u::dma_unmap_all);
      unmap(fd, page_, 0, u::dma_unmap_all);
      unmap(fd, first_iova, page_ + 0x10);
      unmap(fd, first_iova + 0x10, 4 * page_ - 0x10);
      unmap(fd, 0, first_iova + page_);
      read_only("UNMAP_DMA", fd, VFIO_IOMMU_UNMAP_DMA, {pair(24, 2), 0, 0});
      on_.close_all();
    }
  }
};

}  // namespace vfio_lockstep::fixed
