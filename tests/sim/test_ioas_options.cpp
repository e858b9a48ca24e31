// SPDX-License-Identifier: BSL-1.0
// IOMMU_IOAS_ALLOW_IOVAS and IOMMU_OPTION: where iommufd may choose addresses, whose limit counts
// for locked memory, and whether page tables may have large pages.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

namespace u = kvm_vfio::uapi;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t first_byte = 0x10000000;

struct with_options : machine_under_test<> {
  errc allow(std::uint32_t ioas, const std::vector<u::iommu_iova_range>& ranges) {
    u::iommu_ioas_allow_iovas c{};
    c.size = sizeof c;
    c.ioas_id = ioas;
    c.num_iovas = static_cast<std::uint32_t>(ranges.size());
    c.allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges.data());
    return ioctl_at(iommufd, u::request_ioas_allow_iovas, c);
  }
  /// IOMMU_IOAS_MAP of pages at an address that iommufd chooses, which `chosen` gets.
  errc map(std::uint32_t ioas, std::uint64_t pages) {
    u::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = u::map_readable;
    c.ioas_id = ioas;
    c.user_va = first_byte;
    c.length = pages * page;
    const errc e = ioctl_at(iommufd, u::request_ioas_map, c);
    chosen = c.iova;
    return e;
  }
  errc map_at(std::uint32_t ioas, std::uint64_t iova, std::uint64_t size) {
    u::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = u::map_readable | u::map_fixed_iova;
    c.ioas_id = ioas;
    c.user_va = first_byte + iova % page;
    c.length = size;
    c.iova = iova;
    return ioctl_at(iommufd, u::request_ioas_map, c);
  }
  errc option(std::uint32_t id, std::uint16_t op, std::uint32_t object, std::uint64_t value) {
    u::iommu_option c{};
    c.size = sizeof c;
    c.option_id = id;
    c.op = op;
    c.object_id = object;
    c.val64 = value;
    const errc e = ioctl_at(iommufd, u::request_option, c);
    told = c.val64;
    return e;
  }
  errc attach_device(std::uint32_t ioas) {
    return attach(bound("/dev/vfio/devices/vfio0", iommufd), ioas);
  }

  int iommufd = open("/dev/iommu");
  std::uint64_t chosen = 0;
  std::uint64_t told = 0;
};

}  // namespace

TEST_CASE("iommufd chooses addresses of the allowed ranges only") {
  with_options m;
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  REQUIRE(m.allow(ioas, {{0x500000, 0x500fff}, {0x200000, 0x200fff}, {0x201000, 0x202fff}}) ==
          errc::ok);
  CHECK(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == 0x200000);
  // Two ranges that touch are one.
  CHECK(m.map(ioas, 2) == errc::nospc);  // aligned to its size: 0x202000 is too near to the end
  CHECK(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == 0x201000);
  CHECK(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == 0x202000);
  CHECK(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == 0x500000);
  CHECK(m.map(ioas, 1) == errc::nospc);
  CHECK(m.map_at(ioas, 0x900000, page) == errc::ok);  // a fixed address need not be allowed
  REQUIRE(m.allow(ioas, {}) == errc::ok);             // every address again
  CHECK(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == page);
}

TEST_CASE("ALLOW_IOVAS has the kernel's errors, and then changes nothing") {
  with_options m;
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  REQUIRE(m.allow(ioas, {{0x200000, 0x2fffff}}) == errc::ok);
  CHECK(m.allow(ioas, {{0x1000, 0x1000}}) == errc::inval);
  CHECK(m.allow(ioas, {{0x2000, 0x1000}}) == errc::inval);
  CHECK(m.allow(ioas, {{0x1000, 0x1fff}, {0x1800, 0x2fff}}) == errc::inval);
  CHECK(m.allow(ioas, {{0x1000, 0x8fff}, {0x2000, 0x2fff}}) == errc::inval);
  CHECK(m.allow(99, {}) == errc::noent);
  u::iommu_ioas_allow_iovas c{};
  c.size = sizeof c;
  c.ioas_id = ioas;
  c.reserved = 1;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_allow_iovas, c) == errc::opnotsupp);
  c.reserved = 0;
  c.size = sizeof c - 8;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_allow_iovas, c) == errc::inval);
  REQUIRE(m.map(ioas, 1) == errc::ok);
  CHECK(m.chosen == 0x200000);
}

TEST_CASE("allowed addresses and the reserved regions of devices exclude each other") {
  with_options m;
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  const std::vector<u::iommu_iova_range> interrupts{{0xfee00000, 0xfee00fff}};
  SECTION("first the ranges") {
    REQUIRE(m.allow(ioas, interrupts) == errc::ok);
    CHECK(m.attach_device(ioas) == errc::addrinuse);
    REQUIRE(m.allow(ioas, {}) == errc::ok);
  }
  SECTION("first the device") {
    REQUIRE(m.attach_device(ioas) == errc::ok);
    CHECK(m.allow(ioas, interrupts) == errc::addrinuse);
    CHECK(m.allow(ioas, {{0x100000, 0x1fffff}}) == errc::ok);
  }
}

TEST_CASE("an option that is unknown, or asked in another way, is EOPNOTSUPP") {
  with_options m;
  CHECK(m.option(7, u::option_get, 0, 0) == errc::opnotsupp);
  CHECK(m.option(u::option_rlimit_mode, 2, 0, 0) == errc::opnotsupp);
  CHECK(m.option(u::option_rlimit_mode, u::option_get, 1, 0) == errc::opnotsupp);
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  CHECK(m.option(u::option_huge_pages, 2, ioas, 0) == errc::opnotsupp);
  CHECK(m.option(u::option_huge_pages, 2, 99, 0) == errc::noent);
}

TEST_CASE(
    "an iommufd charges the process instead of the user if it is told before its first object") {
  with_options m;
  CHECK(m.option(u::option_rlimit_mode, u::option_get, 0, 5) == errc::ok);
  CHECK(m.told == 0);
  CHECK(m.option(u::option_rlimit_mode, u::option_set, 0, 2) == errc::inval);
  CHECK(m.option(u::option_rlimit_mode, u::option_set, 0, 1) == errc::ok);
  CHECK(m.option(u::option_rlimit_mode, u::option_get, 0, 0) == errc::ok);
  CHECK(m.told == 1);
  m.task.memory_lock_limit(4 * page);
  // Another iommufd charges the user, whose memory counts apart.
  const int by_user = m.open("/dev/iommu");
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  CHECK(m.option(u::option_rlimit_mode, u::option_set, 0, 0) == errc::busy);
  REQUIRE(m.attach_device(ioas) == errc::ok);
  CHECK(m.map(ioas, 5) == errc::nomem);
  CHECK(m.map(ioas, 4) == errc::ok);
  CHECK(m.map(ioas, 1) == errc::nomem);
  u::iommu_ioas_alloc c{};
  c.size = sizeof c;
  CHECK(m.ioctl_at(by_user, u::request_ioas_alloc, c) == errc::ok);
}

TEST_CASE("without large pages addresses are aligned to pages") {
  with_options m;
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  CHECK(m.option(u::option_huge_pages, u::option_get, ioas, 0) == errc::ok);
  CHECK(m.told == 1);
  CHECK(m.option(u::option_huge_pages, u::option_set, ioas, 2) == errc::inval);
  CHECK(m.map_at(ioas, 0x100100, 0x100) == errc::ok);
  CHECK(m.option(u::option_huge_pages, u::option_set, ioas, 0) == errc::addrinuse);
  const std::uint32_t other = m.alloc_ioas(m.iommufd);
  CHECK(m.option(u::option_huge_pages, u::option_set, other, 0) == errc::ok);
  CHECK(m.option(u::option_huge_pages, u::option_get, other, 7) == errc::ok);
  CHECK(m.told == 0);
  CHECK(m.map_at(other, 0x100100, 0x100) == errc::inval);
  CHECK(m.option(u::option_huge_pages, u::option_set, other, 1) == errc::ok);
  CHECK(m.map_at(other, 0x100100, 0x100) == errc::ok);
}

TEST_CASE("large pages cannot be taken from mappings that a page table translates") {
  with_options m;
  const std::uint32_t ioas = m.alloc_ioas(m.iommufd);
  REQUIRE(m.attach_device(ioas) == errc::ok);
  REQUIRE(m.map(ioas, 2) == errc::ok);
  CHECK(m.option(u::option_huge_pages, u::option_set, ioas, 0) == errc::inval);
  CHECK(m.option(u::option_huge_pages, u::option_get, ioas, 0) == errc::ok);
  CHECK(m.told == 1);
}
