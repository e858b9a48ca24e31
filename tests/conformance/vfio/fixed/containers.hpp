// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Mappings for DMA in containers and in iommufds, what these tell of themselves, and when a group
/// can leave them.

#include "recorder.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Memory of the process for DMA.
struct dma_memory {
  std::uint64_t there = 0;      ///< four pages
  std::uint64_t absent = 0;     ///< a page that the process does not have, behind one that it has
  std::uint64_t read_only = 0;  ///< a page that the process can only read
  std::uint64_t alias = 0;      ///< the same page, where it can be written
};

inline constexpr std::uint64_t first_iova = 0x100000;
/// The arguments of VFIO_SET_IOMMU.
inline constexpr std::uintptr_t iommu_types[] = {VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU,
                                                 VFIO_SPAPR_TCE_IOMMU};
/// The end of the addresses that POWER's IOMMU translates.
inline constexpr std::uint64_t tce_end = std::uint64_t{1} << 30;

/// Makes the requests of a container.
template <class System>
class container_calls {
 public:
  /// \param fd a container, or an iommufd
  container_calls(recorder<System>& on, const machine& m, const dma_memory& memory, int fd)
      : on_(on), spapr_(m.spapr), page_(m.page), memory_(memory), fd_(fd) {}

  void tell() {
    on_.ioctl("GET_API_VERSION", fd_, VFIO_GET_API_VERSION);
    for (std::uint32_t i = 0; i < 12; ++i)
      if (!spapr_ || i != VFIO_SPAPR_TCE_v2_IOMMU)  // version 2 is not modelled
        on_.ioctl("CHECK_EXTENSION " + std::to_string(i), fd_, VFIO_CHECK_EXTENSION, i);
    for (std::uint32_t size = 8; size <= 144; size += 8)
      on_.ioctl_bytes("IOMMU_GET_INFO " + std::to_string(size), fd_, VFIO_IOMMU_GET_INFO,
                      words({size, 0}, 160));
  }
  /// The IOMMU of POWER maps only while it is enabled. The IOMMU of type 1 refuses these requests.
  void enable() {
    map(first_iova, memory_.there, page_);
    unmap(first_iova, page_);
    on_.ioctl("DISABLE", fd_, VFIO_IOMMU_DISABLE);
    on_.ioctl("ENABLE", fd_, VFIO_IOMMU_ENABLE);
    on_.ioctl("ENABLE", fd_, VFIO_IOMMU_ENABLE);
    map(first_iova, memory_.there, page_);
    on_.ioctl("DISABLE", fd_, VFIO_IOMMU_DISABLE);
    unmap(first_iova, page_);
    on_.ioctl("ENABLE", fd_, VFIO_IOMMU_ENABLE);
    unmap(first_iova, page_);
  }
  void map_and_unmap() {
    const std::uint64_t next = first_iova + page_;
    map(first_iova, memory_.there, page_);
    map(next, memory_.there + page_, page_);
    map(next, memory_.there, page_);
    tell_available();
    unmap(first_iova, 2 * page_);
    unmap(first_iova, 2 * page_);
    map(first_iova, memory_.there, 4 * page_);
    unmap(next, page_);            // a part in the middle
    unmap(first_iova, page_);      // a part at the start
    unmap(first_iova, 3 * page_);  // a part up to the end
    unmap(first_iova - page_, 2 * page_);
    unmap(first_iova, 4 * page_);
    map(first_iova, memory_.absent, page_);
    map(first_iova, memory_.there, 4 * page_);
    unmap(0, 0, kvm_vfio::uapi::dma_unmap_all);
    unmap(0, 0, kvm_vfio::uapi::dma_unmap_all);
    map(0xfee00000 - page_, memory_.there, page_);
    map(0xfee00000, memory_.there, page_);
    map(0xfeeff000, memory_.there, 2 * page_);
    map(std::uint64_t{1} << 60, memory_.there, page_);
    map(tce_end - page_, memory_.there, page_);
    map(tce_end - page_, memory_.there, 2 * page_);
    unmap(tce_end - page_, 2 * page_);
    unmap(tce_end - page_, page_);
    map(first_iova + page_ / 2, memory_.there, page_);
    unmap(first_iova + page_ / 2, page_);
    map(first_iova, memory_.there, page_, VFIO_DMA_MAP_FLAG_READ);
    map(next, memory_.there, page_, 0);
  }
  /// Version 2 of type 1 tracks dirty pages.
  void track_dirty() {
    if (spapr_) return;
    map(first_iova, memory_.there, 4 * page_);
    get_dirty(first_iova, 4);
    unmap_dirty(first_iova, 4);
    for (const std::uint32_t flags : {0U, 3U, 8U, start_tracking, start_tracking})
      dirty("DIRTY_PAGES " + std::to_string(flags), {8, flags});
    for (int n = 0; n < 3; ++n) get_dirty(first_iova, 4);
    // Bits of a mapping that start inside a word.
    for (int n = 0; n < 3; ++n) get_dirty(first_iova - 4 * page_, 128);
    map(first_iova + 8 * page_, memory_.there, 2 * page_);
    for (int n = 0; n < 3; ++n) get_dirty(first_iova - 4 * page_, 128);
    get_dirty(first_iova, 2);
    get_dirty(first_iova + page_, 4);
    get_dirty(first_iova + 1, 4);
    get_dirty(first_iova, 0);
    get_dirty(first_iova, 4, 2 * page_);
    get_dirty(first_iova, 4, 0);
    get_dirty(first_iova, 4, page_, 7);
    get_dirty(first_iova, 4, page_, (1U << 28) + 1);
    unmap_dirty(first_iova, 2);
    unmap_dirty(first_iova, 4);
    unmap_dirty(first_iova, 16);
    unmap_dirty(first_iova, 16);
    dirty("DIRTY_PAGES stop", {8, stop_tracking});
    dirty("DIRTY_PAGES stop", {8, stop_tracking});
    unmap_dirty(first_iova, 16);
  }
  void map(std::uint64_t iova, std::uint64_t address, std::uint64_t size,
           std::uint32_t flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE) {
    vfio_iommu_type1_dma_map m{};
    m.argsz = sizeof m;
    m.flags = flags;
    m.vaddr = address;
    m.iova = iova;
    m.size = size;
    on_.ioctl_at("MAP_DMA", fd_, VFIO_IOMMU_MAP_DMA, m);
  }
  void unmap(std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) {
    const auto low = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
    on_.ioctl_bytes("UNMAP_DMA", fd_, VFIO_IOMMU_UNMAP_DMA,
                    words({24, flags, low(iova), low(iova >> 32), low(size), low(size >> 32)}));
  }

 private:
  void tell_available() {
    on_.ioctl_bytes("IOMMU_GET_INFO", fd_, VFIO_IOMMU_GET_INFO, words({160, 0}, 160));
  }

  static constexpr std::uint32_t start_tracking = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
  static constexpr std::uint32_t stop_tracking = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;

  void dirty(const std::string& what, std::vector<std::uint32_t> argument) {
    on_.ioctl_of(what, fd_, VFIO_IOMMU_DIRTY_PAGES, argument);
  }
  // \param size the size of the bitmap in the argument; no bits are behind 32 bytes
  void get_dirty(std::uint64_t iova, std::uint64_t pages, std::uint64_t page, std::uint64_t size) {
    std::vector<unsigned char> bits(32);
    const std::uint64_t argument[] = {
        48 | std::uint64_t{VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP} << 32,
        iova,
        pages * page_,
        page,
        size,
        reinterpret_cast<std::uintptr_t>(bits.data())};
    on_.ioctl_at("DIRTY_PAGES get", fd_, VFIO_IOMMU_DIRTY_PAGES, argument);
    on_.bytes("bits", bits.data(), bits.size());
  }
  void get_dirty(std::uint64_t iova, std::uint64_t pages) { get_dirty(iova, pages, page_, 32); }
  void get_dirty(std::uint64_t iova, std::uint64_t pages, std::uint64_t page) {
    get_dirty(iova, pages, page, 32);
  }
  void unmap_dirty(std::uint64_t iova, std::uint64_t pages) {
    std::vector<unsigned char> bits(32);
    std::uint64_t argument[] = {48 | std::uint64_t{VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP} << 32,
                                iova,
                                pages * page_,
                                page_,
                                bits.size(),
                                reinterpret_cast<std::uintptr_t>(bits.data())};
    on_.ioctl_at("UNMAP_DMA with a bitmap", fd_, VFIO_IOMMU_UNMAP_DMA, argument);
    on_.say("unmapped", kvm_vfio::errc::ok, argument[2]);
    on_.bytes("bits", bits.data(), bits.size());
  }

  recorder<System>& on_;
  bool spapr_;
  std::uint64_t page_;
  dma_memory memory_;
  int fd_;
};

/// A group in a container, or in an iommufd that is used as one.
/// \param path the container or the iommufd
template <class System>
void use_container(recorder<System>& on, const target& t, const machine& m,
                   const dma_memory& memory, const std::string& path) {
  const int empty = on.open("container", path);
  container_calls<System>(on, m, memory, empty).tell();
  for (const std::uintptr_t type : iommu_types) on.ioctl("SET_IOMMU", empty, VFIO_SET_IOMMU, type);
  on.close_all();
  for (const std::uintptr_t type : iommu_types) {
    if (m.spapr != (type == VFIO_SPAPR_TCE_IOMMU)) continue;
    const opened_device o = on.open_device(t, path, type);
    container_calls<System> calls(on, m, memory, o.container);
    calls.tell();
    calls.enable();
    calls.map_and_unmap();
    calls.track_dirty();
    on.ioctl("SET_IOMMU", o.container, VFIO_SET_IOMMU, type);
    on.set_container(o.group, o.container);
    on.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    on.close("device", o.device);
    on.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    on.ioctl("UNSET_CONTAINER", o.group, VFIO_GROUP_UNSET_CONTAINER);
    on.set_container(o.group, o.container);
    on.ioctl("SET_IOMMU", o.container, VFIO_SET_IOMMU, type);
    const int again = on.get_device(o.group, t.device);
    on.ioctl("ENABLE", o.container, VFIO_IOMMU_ENABLE);
    calls.map(first_iova, memory.there, m.page);
    calls.unmap(first_iova, m.page);
    // The device holds its group.
    on.close("group", o.group);
    const int second = on.open("group of an open device", t.group);
    on.close("device", again);
    if (second < 0) on.open("group", t.group);
    on.close_all();
  }
  for (const char* const options :
       {" ", "  ", " vf_token=00000000-0000-0000-0000-000000000001", "x", " other"}) {
    const opened_device o = on.open_device(t, path);
    on.get_device(o.group, t.device + options);
    on.close_all();
  }
}

/// Two devices with files of their own, of one group if the group has two.
template <class System>
void use_iommufd(recorder<System>& on, const target& t, const machine& m,
                 const dma_memory& memory) {
  namespace u = kvm_vfio::uapi;
  const int fd = on.open("iommufd", "/dev/iommu");
  const int device = on.open("device file", t.cdev);
  on.bind(device, fd);
  int second = -1;
  for (const target& other : m.targets)
    if (other.group == t.group && other.device != t.device) {
      second = on.open("second device file", other.cdev);
      on.bind(second, fd);
    }
  const std::uint32_t one = on.alloc_ioas(fd);
  const std::uint32_t two = on.alloc_ioas(fd);
  on.attach(device, one);
  if (second >= 0) {
    on.attach(second, two);
    on.attach(second, one);
    // Each of these attachments takes the other device of the group along.
    on.attach(device, two);
    on.attach(second, one);
    on.attach(device, one);
  }
  for (const std::uint32_t count : {0U, 1U, 2U, 8U}) {
    std::vector<unsigned char> ranges(8 * sizeof(u::iommu_iova_range));
    u::iommu_ioas_iova_ranges g{};
    g.size = sizeof g;
    g.ioas_id = one;
    g.num_iovas = count;
    g.allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges.data());
    on.ioctl_at("IOVA_RANGES", fd, u::request_ioas_iova_ranges, g);
    on.say("ranges", kvm_vfio::errc::ok, g.num_iovas);
    on.bytes("ranges", ranges.data(), ranges.size());
  }
  const auto map = [&](std::uint64_t address, std::uint64_t iova, std::uint64_t pages) {
    u::iommu_ioas_map a{};
    a.size = sizeof a;
    a.flags = u::map_fixed_iova | u::map_readable | u::map_writeable;
    a.ioas_id = one;
    a.user_va = address;
    a.length = pages * m.page;
    a.iova = iova;
    on.ioctl_at("IOAS_MAP", fd, u::request_ioas_map, a);
  };
  const auto unmap = [&](std::uint64_t iova, std::uint64_t length) {
    u::iommu_ioas_unmap a{};
    a.size = sizeof a;
    a.ioas_id = one;
    a.iova = iova;
    a.length = length;
    on.ioctl_at("IOAS_UNMAP", fd, u::request_ioas_unmap, a);
    on.say("length", kvm_vfio::errc::ok, a.length);
  };
  map(memory.there, first_iova, 2);
  map(memory.there, first_iova + m.page, 2);
  map(memory.there, first_iova + 2 * m.page, 2);
  map(memory.absent, first_iova + 4 * m.page, 1);
  map(memory.there, 0xfee00000, 1);
  unmap(first_iova, m.page);
  unmap(first_iova + m.page, m.page);
  unmap(first_iova + m.page, 2 * m.page);
  unmap(first_iova, 4 * m.page);
  unmap(first_iova, 4 * m.page);
  unmap(0, ~std::uint64_t{0});
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
