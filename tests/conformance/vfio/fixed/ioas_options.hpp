// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The addresses between which an iommufd may choose, and its options.

#include "containers.hpp"
#include "recorder.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

namespace u = kvm_vfio::uapi;

/// Makes IOMMU_IOAS_ALLOW_IOVAS and IOMMU_OPTION, before and after a device is attached.
template <class System>
class ioas_options {
 public:
  ioas_options(recorder<System>& on, const machine& m, const dma_memory& memory)
      : on_(on), page_(m.page), memory_(memory) {}

  void run(const target& t) {
    fd_ = on_.open("iommufd", "/dev/iommu");
    for (const std::uint64_t value : {1ULL, 2ULL, 0ULL})
      option("process", u::option_rlimit_mode, u::option_set, 0, value);
    option("unknown", 7, u::option_get, 0, 0);
    option("of an object", u::option_rlimit_mode, u::option_get, 1, 0);
    option("neither", u::option_rlimit_mode, 2, 0, 0);
    option("no object", u::option_huge_pages, 2, 99, 0);
    ioas_ = on_.alloc_ioas(fd_);
    option("busy", u::option_rlimit_mode, u::option_set, 0, 0);
    option("process", u::option_rlimit_mode, u::option_get, 0, 9);
    use();
    const int device = on_.open("device file", t.cdev);
    on_.bind(device, fd_);
    allow({{0xfee00000, 0xfee00fff}});
    on_.attach(device, ioas_);
    allow({});
    on_.attach(device, ioas_);
    allow({{0xfee00000, 0xfee00fff}});
    option("large pages", u::option_huge_pages, u::option_set, ioas_, 1);
    use();
    on_.close_all();
  }

 private:
  using range = kvm_vfio::uapi::iommu_iova_range;

  void use() {
    allow({{0x1000, 0x1000}});
    allow({{0x3000, 0x2000}});
    allow({{0x1000, 0x1fff}, {0x1800, 0x2fff}});
    allow({{0x1000, 0x8fff}, {0x2000, 0x2fff}});
    allow({{0x500000, 0x500fff}, {0x200000, 0x200fff}, {0x201000, 0x202fff}});
    for (const std::uint64_t pages : {1U, 2U, 1U, 1U, 1U, 1U}) map(pages * page_);
    map(page_, 0x900000);
    option("large pages", u::option_huge_pages, u::option_set, ioas_, 0);
    option("large pages", u::option_huge_pages, u::option_get, ioas_, 9);
    map(0x100, 0x900100);
    unmap();
    option("large pages", u::option_huge_pages, u::option_set, ioas_, 2);
    option("large pages", u::option_huge_pages, u::option_set, ioas_, 0);
    option("large pages", u::option_huge_pages, u::option_get, ioas_, 9);
    map(0x100, 0x100100);
    allow({});
    map(page_);
    unmap();
    option("large pages", u::option_huge_pages, u::option_set, ioas_, 1);
    map(0x100, 0x100100);
    unmap();
  }
  void option(const std::string& what, std::uint32_t id, std::uint16_t op, std::uint32_t object,
              std::uint64_t value) {
    u::iommu_option c{};
    c.size = sizeof c;
    c.option_id = id;
    c.op = op;
    c.object_id = object;
    c.val64 = value;
    on_.ioctl_at("OPTION " + what, fd_, u::request_option, c);
    on_.say("value", kvm_vfio::errc::ok, c.val64);
  }
  void allow(const std::vector<range>& ranges) {
    u::iommu_ioas_allow_iovas c{};
    c.size = sizeof c;
    c.ioas_id = ioas_;
    c.num_iovas = static_cast<std::uint32_t>(ranges.size());
    c.allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges.data());
    on_.ioctl_at("ALLOW_IOVAS of " + std::to_string(ranges.size()), fd_,
                 u::request_ioas_allow_iovas, c);
  }
  /// \param iova the address; 0: iommufd chooses one
  void map(std::uint64_t size, std::uint64_t iova = 0) {
    u::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = u::map_readable | (iova != 0 ? u::map_fixed_iova : 0);
    c.ioas_id = ioas_;
    c.user_va = memory_.there + iova % page_;
    c.length = size;
    c.iova = iova;
    // The memory may start anywhere, so that its alignment may limit that of a chosen address.
    if (on_.ioctl_at("IOAS_MAP", fd_, u::request_ioas_map, c) && iova == 0)
      on_.say("chosen", kvm_vfio::errc::ok, c.iova);
  }
  void unmap() {
    u::iommu_ioas_unmap c{};
    c.size = sizeof c;
    c.ioas_id = ioas_;
    c.length = ~std::uint64_t{0};
    on_.ioctl_at("IOAS_UNMAP", fd_, u::request_ioas_unmap, c);
  }

  recorder<System>& on_;
  const std::uint64_t page_;
  const dma_memory& memory_;
  int fd_ = -1;
  std::uint32_t ioas_ = 0;
};

}  // namespace vfio_lockstep::fixed
