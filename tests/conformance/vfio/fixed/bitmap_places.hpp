// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Bitmaps of dirty pages at odd addresses and with odd sizes, and buffers at the end of the
/// addresses of a process.

#include "containers.hpp"
#include "recorder.hpp"

#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a container and a device.
template <class System>
class bitmap_places {
 public:
  bitmap_places(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), page_(m.page), memory_(memory) {}

  void run(const target& t) {
    const opened_device o = on_.open_device(t);
    container_ = o.container;
    places();
    sizes();
    buffers(o.device);
    on_.close_all();
  }

 private:
  static constexpr std::uint32_t with = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
  static constexpr std::uint64_t user_end = std::uint64_t{1} << 47;

  void dirty(std::uint32_t flags) {
    auto c = words({8, flags});
    on_.ioctl_of("DIRTY_PAGES", container_, VFIO_IOMMU_DIRTY_PAGES, c);
  }
  void map(std::uint64_t first, std::uint64_t pages) {
    vfio_iommu_type1_dma_map m{};
    m.argsz = sizeof m;
    m.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    m.vaddr = memory_.there;
    m.iova = first_iova + first * page_;
    m.size = pages * page_;
    on_.ioctl_at("MAP_DMA", container_, VFIO_IOMMU_MAP_DMA, m);
  }
  /// Asks for the dirty pages of a range, or unmaps it.
  void ask(bool unmaps, std::uint64_t first, std::uint64_t pages, std::uint64_t unit,
           std::uint64_t size, std::uint64_t to) {
    const std::uint64_t flags = unmaps ? with : VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
    std::uint64_t c[] = {
        48 | flags << 32, first_iova + first * page_, pages * page_, unit, size, to};
    on_.ioctl_at(
        unmaps ? "UNMAP_DMA" : "DIRTY_PAGES get", container_,
        unmaps ? std::uint64_t{VFIO_IOMMU_UNMAP_DMA} : std::uint64_t{VFIO_IOMMU_DIRTY_PAGES}, c);
    on_.say("size", kvm_vfio::errc::ok, c[2]);
  }
  void places() {
    for (const bool tracked : {false, true}) {
      if (tracked) dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
      for (const bool mapped : {false, true}) {
        if (mapped) map(0, 4);
        for (const bool unmaps : {false, true})
          for (const std::uint64_t end :
               {user_end - page_, user_end, user_end + page_, std::uint64_t{1} << 52,
                std::uint64_t{1} << 56, std::uint64_t{1} << 62, std::uint64_t{1} << 63})
            for (const std::uint64_t before : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8},
                                               std::uint64_t{9}, std::uint64_t{16}}) {
              // Neither system has memory there, and the simulator writes to any address.
              if (end < user_end && before >= 8) continue;
              ask(unmaps, 0, 4, page_, 8, end - before);
              ask(unmaps, 100, 4, page_, page_ + 8, end - before - page_);
            }
        for (const bool unmaps : {false, true})
          for (const std::uint64_t to : {std::uint64_t{0}, std::uint64_t{1}, memory_.read_only,
                                         memory_.absent - 4, memory_.absent}) {
            if (mapped && unmaps) map(0, 4);
            ask(unmaps, 0, 4, page_, 8, to);
          }
      }
    }
    dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
  }
  // Bitmaps that have not the size of the range, and mappings whose bits start inside a word.
  void sizes() {
    dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
    for (const bool unmaps : {false, true})
      for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{64}})
        for (const std::uint64_t pages : {1U, 4U, 63U, 64U, 65U, 129U})
          for (const std::uint64_t size : {1U, 7U, 8U, 9U, 16U, 17U, 24U, 25U, 1U << 28}) {
            map(first, 4);
            map(first + 5, 1);
            map(first + 70, 2);
            bits(unmaps, pages, page_, size);
            if (pages == 64)
              for (const std::uint64_t unit : {std::uint64_t{1}, std::uint64_t{3}, page_ / 2,
                                               2 * page_, page_ + 1, std::uint64_t{1} << 63})
                bits(unmaps, pages, unit, size);
          }
    dirty(VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
    std::uint64_t all[] = {24 | std::uint64_t{2} << 32, 0, 0};
    on_.ioctl_at("UNMAP_DMA of all", container_, VFIO_IOMMU_UNMAP_DMA, all);
  }
  void bits(bool unmaps, std::uint64_t pages, std::uint64_t unit, std::uint64_t size) {
    unsigned char to[64] = {};
    ask(unmaps, 0, pages, unit, size, reinterpret_cast<std::uintptr_t>(to));
    on_.bytes("bits", to, sizeof to);
  }
  void buffers(int device) {
    const int event = on_.eventfd();
    for (const std::uint64_t end :
         {user_end, std::uint64_t{1} << 52, std::uint64_t{1} << 56, std::uint64_t{1} << 63})
      for (const std::uint64_t before : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{8}}) {
        auto* const at = reinterpret_cast<unsigned char*>(end - before);
        for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{8}}) {
          on_.say("pread", on_.sys().pread(device, at, size, config_space));
          on_.say("pwrite", on_.sys().pwrite(device, at, size, config_space + 0x3c));
          on_.say("pread of no region", on_.sys().pread(device, at, size, config_space << 4));
          on_.say("read of an eventfd", on_.sys().read(event, at, size));
          on_.say("write of an eventfd", on_.sys().write(event, at, size));
        }
      }
  }

  recorder<System>& on_;
  const std::uint64_t page_;
  const dma_memory& memory_;
  int container_ = -1;
};

}  // namespace vfio_lockstep::fixed
