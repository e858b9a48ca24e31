// SPDX-License-Identifier: BSL-1.0
// IOMMU_IOAS_COPY: memory that is mapped at further addresses, its errors, and how it is counted.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>

namespace {

namespace u = kvm_vfio::uapi;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t base = 0x100000;
constexpr std::uint64_t first_byte = 0x10000000;
constexpr std::uint32_t both = u::map_readable | u::map_writeable;
constexpr std::uint64_t last_number = ~std::uint64_t{0};

/// An iommufd with two address spaces.
struct two_spaces : machine_under_test<> {
  static sim::topology host() {
    sim::topology t = two_groups();
    t.groups[1].devices.pop_back();
    return t;
  }
  two_spaces() : machine_under_test(host()) {
    REQUIRE(alloc_ioas(iommufd) == from);
    REQUIRE(alloc_ioas(iommufd) == to);
  }

  /// IOMMU_IOAS_MAP of pages at the page `at` of an address space, from the page `page_of_memory`.
  errc map(std::uint32_t ioas, std::uint64_t at, std::uint64_t pages, std::uint64_t page_of_memory,
           std::uint32_t access = both) {
    return map_bytes(ioas, base + at * page, pages * page, first_byte + page_of_memory * page,
                     access);
  }
  /// The struct that maps memory at a fixed address.
  static u::iommu_ioas_map map_request(std::uint32_t ioas, std::uint64_t iova, std::uint64_t size,
                                       std::uint64_t address, std::uint32_t access = both) {
    u::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = access | u::map_fixed_iova;
    c.ioas_id = ioas;
    c.user_va = address;
    c.length = size;
    c.iova = iova;
    return c;
  }
  errc map_bytes(std::uint32_t ioas, std::uint64_t iova, std::uint64_t size, std::uint64_t address,
                 std::uint32_t access = both) {
    u::iommu_ioas_map c = map_request(ioas, iova, size, address, access);
    return ioctl_at(iommufd, u::request_ioas_map, c);
  }
  /// The same, by another process.
  errc map_by(sim::process& caller, std::uint32_t ioas, std::uint64_t at, std::uint64_t pages) {
    u::iommu_ioas_map c = map_request(ioas, base + at * page, pages * page, first_byte);
    return caller.ioctl(iommufd, u::request_ioas_map, reinterpret_cast<std::uintptr_t>(&c)).error();
  }
  errc unmap(std::uint32_t ioas, std::uint64_t at, std::uint64_t pages) {
    u::iommu_ioas_unmap c{};
    c.size = sizeof c;
    c.ioas_id = ioas;
    c.iova = base + at * page;
    c.length = pages * page;
    return ioctl_at(iommufd, u::request_ioas_unmap, c);
  }
  /// The struct that copies pages to a fixed address.
  static u::iommu_ioas_copy request(std::uint64_t at, std::uint64_t pages, std::uint64_t new_at) {
    u::iommu_ioas_copy c{};
    c.size = sizeof c;
    c.flags = both | u::map_fixed_iova;
    c.dst_ioas_id = to;
    c.src_ioas_id = from;
    c.length = pages * page;
    c.dst_iova = base + new_at * page;
    c.src_iova = base + at * page;
    return c;
  }
  errc copy(u::iommu_ioas_copy& c) { return ioctl_at(iommufd, u::request_ioas_copy, c); }
  errc copy(std::uint64_t at, std::uint64_t pages, std::uint64_t new_at,
            std::uint32_t access = both) {
    u::iommu_ioas_copy c = request(at, pages, new_at);
    c.flags = access | u::map_fixed_iova;
    return copy(c);
  }
  void detach(int device) {
    u::device_detach_iommufd_pt c{};
    c.argsz = sizeof c;
    REQUIRE(ioctl_at(device, u::request_detach_iommufd_pt, c) == errc::ok);
  }

  static constexpr std::uint32_t from = 1;
  static constexpr std::uint32_t to = 2;
  int iommufd = open("/dev/iommu");
};

}  // namespace

TEST_CASE("IOAS_COPY refuses wrong numbers in the order of the kernel") {
  two_spaces m;
  REQUIRE(m.map(m.from, 0, 4, 0) == errc::ok);
  const auto refused = [&](auto change) {
    u::iommu_ioas_copy c = two_spaces::request(0, 2, 8);
    change(c);
    return m.copy(c);
  };
  CHECK(refused([](auto& c) { c.size = 39; }) == errc::inval);
  CHECK(refused([](auto& c) { c.flags = 8; }) == errc::opnotsupp);
  CHECK(refused([](auto& c) { c.flags = u::map_fixed_iova; }) == errc::inval);
  CHECK(refused([](auto& c) { c.flags = 0, c.length = last_number; }) == errc::overflow);
  CHECK(refused([](auto& c) { c.src_iova = last_number; }) == errc::overflow);
  CHECK(refused([](auto& c) { c.dst_iova = last_number; }) == errc::overflow);
  CHECK(refused([](auto& c) { c.src_ioas_id = 9; }) == errc::noent);
  CHECK(refused([](auto& c) { c.dst_ioas_id = 9; }) == errc::noent);
  CHECK(refused([](auto& c) { c.dst_ioas_id = 9, c.length = 0; }) == errc::inval);
  CHECK(refused([](auto& c) { c.src_iova = last_number - page + 1, c.length = 2 * page; }) ==
        errc::overflow);
  CHECK(refused([](auto& c) { c.dst_iova = last_number - page + 1; }) == errc::overflow);
  CHECK(refused([](auto& c) { c.dst_ioas_id = two_spaces::from, c.dst_iova = base + 3 * page; }) ==
        errc::exists);
}

TEST_CASE("IOAS_COPY copies ranges that mappings cover, each part by itself") {
  two_spaces m;
  REQUIRE(m.map(m.from, 0, 4, 0) == errc::ok);
  REQUIRE(m.map(m.from, 4, 4, 20) == errc::ok);
  REQUIRE(m.map(m.from, 9, 1, 30) == errc::ok);
  CHECK(m.copy(3, 2, 0) == errc::ok);
  CHECK(m.copy(7, 3, 8) == errc::noent);
  CHECK(m.copy(8, 1, 8) == errc::noent);
  CHECK(m.copy(10, 1, 8) == errc::noent);
  // The copy has a mapping for each of the two mappings.
  CHECK(m.unmap(m.to, 0, 1) == errc::ok);
  CHECK(m.unmap(m.to, 1, 1) == errc::ok);
  CHECK(m.unmap(m.to, 0, 8) == errc::noent);
}

TEST_CASE("IOAS_COPY to a free address takes the alignment of the memory") {
  two_spaces m;
  REQUIRE(m.map(m.from, 0, 4, 1) == errc::ok);
  u::iommu_ioas_copy c = two_spaces::request(1, 2, 0);
  c.flags = both;
  CHECK(m.copy(c) == errc::ok);
  CHECK(c.dst_iova == 2 * page);
  CHECK(m.copy(c) == errc::ok);
  CHECK(c.dst_iova == 4 * page);
}

TEST_CASE("a copy can lose the right to write and get it back, unless the memory never had it") {
  two_spaces m;
  REQUIRE(m.map(m.from, 0, 1, 0) == errc::ok);
  REQUIRE(m.map(m.from, 1, 1, 8, u::map_readable) == errc::ok);
  CHECK(m.copy(0, 1, 0, u::map_readable) == errc::ok);
  u::iommu_ioas_copy again = two_spaces::request(0, 1, 4);
  again.src_ioas_id = m.to;
  CHECK(m.copy(again) == errc::ok);
  CHECK(m.copy(1, 1, 8) == errc::perm);
  CHECK(m.copy(0, 2, 8) == errc::perm);
  CHECK(m.copy(1, 1, 8, u::map_readable) == errc::ok);
}

TEST_CASE("IOAS_COPY checks the alignment of the address space that gets the copy") {
  two_spaces m;
  REQUIRE(m.map_bytes(m.from, base, page + 0x800, first_byte) == errc::ok);
  REQUIRE(m.map_bytes(m.from, base + page + 0x800, page, first_byte + 4 * page) == errc::ok);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", m.iommufd), m.to) == errc::ok);
  const auto copied = [&](std::uint64_t offset, std::uint64_t size, std::uint64_t new_at) {
    u::iommu_ioas_copy c = two_spaces::request(0, 1, 0);
    c.src_iova = base + offset;
    c.length = size;
    c.dst_iova = base + new_at;
    return m.copy(c);
  };
  CHECK(copied(0, 0x800, 0) == errc::inval);
  CHECK(copied(0x800, page, 0) == errc::inval);
  CHECK(copied(0, page, 0x800) == errc::inval);
  CHECK(copied(page + 0x800, page, 0) == errc::ok);
  CHECK(copied(0, page, 0) == errc::exists);
  CHECK(copied(0, page, 0xfee00000 - base) == errc::inval);
}

TEST_CASE("a copy outlives its source") {
  two_spaces m;
  REQUIRE(m.map(m.from, 0, 2, 0) == errc::ok);
  CHECK(m.copy(0, 2, 4) == errc::ok);
  CHECK(m.unmap(m.from, 0, 2) == errc::ok);
  u::iommu_destroy d{};
  d.size = sizeof d;
  d.id = m.from;
  CHECK(m.ioctl_at(m.iommufd, u::request_destroy, d) == errc::ok);
  u::iommu_ioas_copy back = two_spaces::request(4, 1, 0);
  back.src_ioas_id = m.to;
  CHECK(m.copy(back) == errc::ok);
  CHECK(m.unmap(m.to, 4, 2) == errc::ok);
  CHECK(m.unmap(m.to, 0, 1) == errc::ok);
}

TEST_CASE("memory that copies share counts once as locked memory") {
  two_spaces m;
  m.task.memory_lock_limit(8 * page);
  const int first = m.bound("/dev/vfio/devices/vfio0", m.iommufd);
  const int second = m.bound("/dev/vfio/devices/vfio1", m.iommufd);
  REQUIRE(m.attach(first, m.to) == errc::ok);
  REQUIRE(m.map(m.from, 0, 12, 0) == errc::ok);
  CHECK(m.copy(0, 9, 0) == errc::nomem);
  CHECK(m.copy(0, 6, 0) == errc::ok);
  CHECK(m.copy(2, 4, 8) == errc::ok);
  CHECK(m.copy(4, 4, 16) == errc::ok);
  CHECK(m.copy(8, 1, 24) == errc::nomem);
  CHECK(m.copy(7, 2, 24) == errc::nomem);
  CHECK(m.copy(0, 8, 24) == errc::ok);
  // The source needs four more pages.
  CHECK(m.attach(second, m.from) == errc::nomem);
  m.task.memory_lock_limit(12 * page);
  CHECK(m.attach(second, m.from) == errc::ok);
  CHECK(m.map(m.to, 40, 1, 40) == errc::nomem);
  m.detach(second);
  CHECK(m.map(m.to, 40, 4, 40) == errc::ok);
  CHECK(m.map(m.to, 44, 1, 44) == errc::nomem);
  // The pages 0 to 3 stay in the copy at 24.
  CHECK(m.unmap(m.to, 0, 6) == errc::ok);
  CHECK(m.map(m.to, 44, 1, 44) == errc::nomem);
  CHECK(m.unmap(m.to, 24, 8) == errc::ok);
  CHECK(m.map(m.to, 44, 3, 44) == errc::nomem);
  CHECK(m.map(m.to, 44, 2, 44) == errc::ok);
}

TEST_CASE("the memory of a process that has ended is there as far as it is locked") {
  two_spaces m;
  // Also if the memory of the process is not counted.
  const bool counted = GENERATE(true, false);
  const int device = m.bound("/dev/vfio/devices/vfio0", m.iommufd);
  const int other = m.bound("/dev/vfio/devices/vfio1", m.iommufd);
  REQUIRE(m.attach(device, m.from) == errc::ok);
  {
    sim::process child(m.kernel, m.memory, 2);
    m.task.fork_into(child);
    child.cap_ipc_lock(!counted);
    REQUIRE(m.map_by(child, m.from, 0, 4) == errc::ok);
    REQUIRE(m.map_by(child, m.to, 0, 4) == errc::ok);
  }
  CHECK(m.copy(1, 2, 8) == errc::ok);  // to an address space that no page table translates
  CHECK(m.attach(other, m.to) == errc::fault);
  REQUIRE(m.unmap(m.to, 0, 4) == errc::ok);
  CHECK(m.attach(other, m.to) == errc::ok);
  CHECK(m.copy(0, 4, 16) == errc::ok);
  // The last page table that translates the memory goes.
  m.detach(device);
  CHECK(m.attach(device, m.from) == errc::ok);
  m.detach(device);
  m.detach(other);
  CHECK(m.attach(device, m.from) == errc::fault);
}
