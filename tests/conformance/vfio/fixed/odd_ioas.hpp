// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Odd arguments of an iommufd.

#include "odd_calls.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with the file of a device.
template <class System>
class odd_ioas : odd_calls<System> {
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
  odd_ioas(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& t) {
    const int fd = on_.open("iommufd", "/dev/iommu");
    const int device = on_.open("device file", t.cdev);
    const std::uint32_t id = on_.bind(device, fd);
    const std::uint32_t ioas = on_.alloc_ioas(fd);
    const std::uint32_t other = on_.alloc_ioas(fd);
    const std::uint64_t end = ~std::uint64_t{0};
    const auto map_at = [&](const std::string& what, std::uint32_t space, std::uint64_t address,
                            std::uint64_t size, std::uint64_t iova) {
      const std::uint32_t flags = u::map_readable | (iova != 0 ? u::map_fixed_iova : 0);
      numbers c{pair(40, flags), pair(space, 0), address, size, iova};
      if (on_.ioctl_of("IOAS_MAP " + what, fd, u::request_ioas_map, c))
        on_.say("address", kvm_vfio::errc::ok, c[4]);
    };
    const auto copy = [&](std::uint32_t to, std::uint64_t size, std::uint64_t to_iova,
                          std::uint64_t from) {
      ask("IOAS_COPY", fd, u::request_ioas_copy,
          {pair(40, u::map_readable | u::map_fixed_iova), pair(to, other), size, to_iova, from});
    };
    const auto unmap_all = [&](std::uint32_t space) {
      ask("IOAS_UNMAP", fd, u::request_ioas_unmap, {pair(24, space), 0, end});
    };
    const auto option = [&](std::uint32_t which, std::uint32_t op, std::uint32_t object,
                            std::uint64_t value) {
      ask("OPTION", fd, u::request_option, {pair(24, which), pair(op, object), value});
    };
    const auto allow = [&](const std::vector<std::uint64_t>& ranges) {
      numbers c{pair(24, ioas), ranges.size() / 2, reinterpret_cast<std::uintptr_t>(ranges.data())};
      on_.ioctl_of("ALLOW_IOVAS", fd, u::request_ioas_allow_iovas, c);
    };
    map_at("chosen, nothing", ioas, memory_.there, 0, 0);
    map_at("chosen, half of all", ioas, memory_.there, end / 2, 0);
    map_at("wrapping", ioas, end - page_ + 1, 2 * page_, first_iova);
    // Linux does not choose the last page.
    allow({end - 4 * page_ + 1, end});
    for (int i = 0; i < 5; ++i) map_at("chosen at the end", ioas, memory_.there, page_, 0);
    unmap_all(ioas);
    map_at("the last pages", ioas, memory_.there, 2 * page_, end - 2 * page_ + 1);
    for (int i = 0; i < 3; ++i) map_at("chosen in front", ioas, memory_.there, page_, 0);
    unmap_all(ioas);
    allow({end - 0x100, end});
    map_at("chosen in the last page", ioas, memory_.there, page_, 0);
    allow({0x200000, 0x201000 + page_ / 2});
    map_at("chosen behind the end", ioas, memory_.there, 2 * page_, 0);
    allow({});
    for (const std::uint64_t size : {end, page_}) {
      copy(ioas, size, first_iova, first_iova);
      copy(ioas, size, end, first_iova);
      copy(ioas, size, first_iova, end);
    }
    option(u::option_huge_pages, 2, ioas, 0);
    map_at("a part of a page", ioas, memory_.there + 0x100, 0x100, 0x100100);
    option(u::option_huge_pages, u::option_set, ioas, 0);
    on_.attach(device, ioas);
    ask("HWPT_ALLOC", fd, u::request_hwpt_alloc, {pair(48, 0), pair(id, ioas), 0, 0, 0, 0});
    unmap_all(ioas);
    ask("OPTION, reserved", fd, u::request_option, {pair(24, u::option_huge_pages), 1ULL << 16, 0});
    ask("OPTION, short", fd, u::request_option, {pair(20, u::option_huge_pages), 0, 0});
    ask("ALLOW_IOVAS, reserved", fd, u::request_ioas_allow_iovas, {pair(24, ioas), 1ULL << 32, 0});
    ask("ALLOW_IOVAS of nothing", fd, u::request_ioas_allow_iovas, {pair(24, 99), 0, 0});
    for (const std::uint64_t to : {std::uint64_t{0}, std::uint64_t{8}}) {
      ask("IOVA_RANGES to nowhere", fd, u::request_ioas_iova_ranges,
          {pair(32, ioas), pair(1, 0), to, 0});
      ask("ALLOW_IOVAS from nowhere", fd, u::request_ioas_allow_iovas,
          {pair(24, ioas), pair(1, 0), to});
    }
    allow({0x200000, 0x2fffff});
    on_.attach(device, ioas);
    ask("HWPT_ALLOC, short", fd, u::request_hwpt_alloc, {pair(24, 0), pair(id, ioas), 0});
    // The first range of addresses is too small for this.
    allow({});
    map_at("chosen, 4 GiB", ioas, memory_.there, std::uint64_t{1} << 32, 0);
    map_at("for a copy", other, memory_.there + 0x100, page_, first_iova);
    copy(ioas, page_, 0x400000, first_iova);
    // Each copy adds to the memory that is locked what no copy before it had.
    map_at("to copy parts of", other, memory_.there, 4 * page_, 0x600000);
    for (const std::uint64_t n : {2U, 0U, 1U, 3U})
      copy(ioas, page_, 0x700000 + n * page_, 0x600000 + n * page_);
    copy(ioas, 4 * page_, 0x710000, 0x600000);
    map_at("absent", other, memory_.absent, page_, 0x500000);
    copy(ioas, page_, 0x400000, 0x500000);
    numbers pt{pair(48, 0), pair(id, ioas), 0, 0, 0, 0};
    read_only("HWPT_ALLOC", fd, u::request_hwpt_alloc, pt);
    read_only("IOAS_ALLOC", fd, u::request_ioas_alloc, {pair(12, 0), 0});
    read_only("IOVA_RANGES", fd, u::request_ioas_iova_ranges, {pair(32, ioas), 0, 0, 0});
    read_only("FAULT_QUEUE_ALLOC", fd, u::request_fault_queue_alloc, {pair(16, 0), 0});
    read_only("HWPT_INVALIDATE", fd, u::request_hwpt_invalidate, {pair(32, ioas), 0, 0, 0});
    read_only("GET_HW_INFO", fd, u::request_get_hw_info, {pair(40, 0), pair(id, 0), 0, 0, 0});
    read_only("ATTACH", device, u::request_attach_iommufd_pt, {pair(12, 0), other});
    const int more = on_.open("device file", t.cdev);
    read_only("BIND", more, u::request_bind_iommufd, {pair(16, 0), static_cast<std::uint32_t>(fd)});
    ask("GET_HW_INFO, data nowhere", fd, u::request_get_hw_info,
        {pair(40, 0), pair(id, 4), 0, 0, 0});
    for (const std::uint32_t flags : {0U, 1U, 2U})
      for (const std::uint32_t size : {12U, 16U, 20U})
        for (const std::uint32_t pasid : {1U, 0x80000000U})
          for (const std::uint32_t pt_id : {ioas, 99U})
            ask("ATTACH with a PASID", device, u::request_attach_iommufd_pt,
                {pair(size, flags), pair(pt_id, pasid), 0});
    cut("ATTACH with a PASID", device, u::request_attach_iommufd_pt, {pair(16, 1), pair(ioas, 1)},
        12);
    ask("VFIO_IOAS set", fd, u::request_vfio_ioas, {pair(12, other), u::vfio_ioas_set});
    ask("DESTROY", fd, u::request_destroy, {pair(8, other)});
    ask("VFIO_IOAS get", fd, u::request_vfio_ioas, {pair(12, 0), u::vfio_ioas_get});
    on_.close_all();
  }

 private:
  using typename base::numbers;
};

}  // namespace vfio_lockstep::fixed
