// SPDX-License-Identifier: BSL-1.0
// The dirty pages of a container. The answers are those of booted kernels.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint32_t start = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
constexpr std::uint32_t stop = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;

struct container : machine_under_test<> {
  explicit container(unsigned long type = VFIO_TYPE1v2_IOMMU, const sim::topology& t = two_groups())
      : machine_under_test(t), group(open("/dev/vfio/1")), fd(open("/dev/vfio/vfio")) {
    REQUIRE(set_container(group, fd) == errc::ok);
    REQUIRE(set_iommu(fd, type) == errc::ok);
  }
  int group;
  int fd;
  std::uint64_t bits[4] = {};

  errc map(std::uint64_t iova, std::uint64_t pages) {
    vfio_iommu_type1_dma_map m{.argsz = sizeof m,
                               .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                               .vaddr = 16 * page,
                               .iova = iova,
                               .size = pages * page};
    return ioctl_at(fd, VFIO_IOMMU_MAP_DMA, m);
  }
  errc dirty(std::uint32_t flags) {
    std::uint32_t head[] = {8, flags};
    return ioctl_at(fd, VFIO_IOMMU_DIRTY_PAGES, head);
  }
  /// GET_BITMAP of `pages` pages from `iova` on.
  errc get(std::uint64_t iova, std::uint64_t pages, std::uint64_t page_size = page,
           std::uint64_t size = sizeof bits) {
    const std::uint64_t argument[] = {
        48 | std::uint64_t{VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP} << 32,
        iova,
        pages * page,
        page_size,
        size,
        reinterpret_cast<std::uintptr_t>(bits)};
    return ioctl_at(fd, VFIO_IOMMU_DIRTY_PAGES, argument);
  }
  /// UNMAP_DMA of pages, with the flags and with a bitmap.
  errc unmap(std::uint64_t iova, std::uint64_t pages,
             std::uint32_t flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
    std::uint64_t argument[] = {
        48 | std::uint64_t{flags} << 32,       iova, pages * page, page, sizeof bits,
        reinterpret_cast<std::uintptr_t>(bits)};
    const errc e = ioctl_at(fd, VFIO_IOMMU_UNMAP_DMA, argument);
    unmapped = argument[2];
    return e;
  }
  std::uint64_t unmapped = 0;
};

}  // namespace

TEST_CASE("all pages of a container with a domain are dirty while they are tracked") {
  container c;
  REQUIRE(c.map(0, 16) == errc::ok);
  CHECK(c.get(0, 16) == errc::inval);  // not tracked
  CHECK(c.dirty(start) == errc::ok);
  CHECK(c.dirty(start) == errc::ok);
  CHECK(c.get(0, 16) == errc::ok);
  CHECK(c.bits[0] == 0xffff);
  c.bits[0] = 0;
  CHECK(c.get(0, 16) == errc::ok);  // and they stay dirty
  CHECK(c.bits[0] == 0xffff);
  REQUIRE(c.map(32 * page, 64) == errc::ok);  // also those of a later mapping
  c.bits[0] = 0;
  CHECK(c.get(0, 128) == errc::ok);
  CHECK(c.bits[0] == 0xffffffff0000ffff);
  CHECK(c.bits[1] == 0xffffffff);
  CHECK(c.dirty(stop) == errc::ok);
  CHECK(c.dirty(stop) == errc::ok);
  CHECK(c.get(0, 16) == errc::inval);
}

TEST_CASE("bits of a mapping that start inside a word are told as Linux tells them") {
  container c;
  REQUIRE(c.dirty(start) == errc::ok);
  REQUIRE(c.map(4 * page, 4) == errc::ok);
  // Linux moves its own bits, and keeps those behind the mapping for the next time.
  for (const std::uint64_t bits : {0xf0U, 0xff0U, 0xfff0U}) {
    c.bits[0] = 0;
    CHECK(c.get(0, 64) == errc::ok);
    CHECK(c.bits[0] == bits);
  }
  REQUIRE(c.map(9 * page, 1) == errc::ok);
  for (const std::uint64_t bits : {0xffff0U, 0x1ffffff0U}) {
    c.bits[0] = 0;
    CHECK(c.get(0, 64) == errc::ok);
    CHECK(c.bits[0] == bits);
  }
  c.bits[0] = 0;
  CHECK(c.get(4 * page, 60) == errc::ok);
  CHECK(c.bits[0] == 0x3ffffffff);
}

TEST_CASE("a bitmap of dirty pages must have the right size and must not cut a mapping") {
  container c;
  REQUIRE(c.map(0, 16) == errc::ok);
  REQUIRE(c.dirty(start) == errc::ok);
  CHECK(c.get(0, 1) == errc::inval);
  CHECK(c.get(page, 16) == errc::inval);
  CHECK(c.get(1, 16) == errc::inval);
  CHECK(c.get(0, 0) == errc::inval);
  CHECK(c.get(0, 32) == errc::ok);
  CHECK(c.get(256 * page, 1) == errc::ok);                             // no mapping is there
  CHECK(c.get(~std::uint64_t{0} & ~(page - 1), 2) == errc::overflow);  // EINVAL up to 6.12
  CHECK(c.get(~std::uint64_t{0} & ~(page - 1), 1) == errc::ok);        // EINVAL up to 6.12
  CHECK(c.get(0, 16, 2 * page) == errc::inval);
  CHECK(c.get(0, 16, 0) == errc::inval);
  CHECK(c.get(0, 16, page, 0) == errc::inval);
  CHECK(c.get(0, 16, page, 7) == errc::inval);
  CHECK(c.get(0, 16, page, 8) == errc::ok);
  CHECK(c.get(0, 16, page, 1 << 28) == errc::ok);
  CHECK(c.get(0, 16, page, (1 << 28) + 1) == errc::inval);
#if defined __x86_64__
  // A bitmap behind the addresses of a process is refused, also if no bit would be written.
  const auto at = [&](std::uint64_t to, std::uint64_t pages) {
    const std::uint64_t argument[] = {
        48 | std::uint64_t{VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP} << 32,
        256 * page,
        pages * page,
        page,
        pages,
        to};
    return c.ioctl_at(c.fd, VFIO_IOMMU_DIRTY_PAGES, argument);
  };
  for (const int bits : {47, 52, 62}) CHECK(at(std::uint64_t{1} << bits, 8) == errc::inval);
  CHECK(at((std::uint64_t{1} << 47) - page - 8, 8) == errc::ok);
  CHECK(at((std::uint64_t{1} << 47) - page - 7, 8) == errc::inval);
#endif
  for (const std::uint32_t flags : {0U, start | stop, 8U}) CHECK(c.dirty(flags) == errc::inval);
  std::uint32_t head[] = {4, start};
  CHECK(c.ioctl_at(c.fd, VFIO_IOMMU_DIRTY_PAGES, head) == errc::inval);
  head[0] = 8;
  head[1] = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
  CHECK(c.ioctl_at(c.fd, VFIO_IOMMU_DIRTY_PAGES, head) == errc::inval);
  container first(VFIO_TYPE1_IOMMU);
  CHECK(first.dirty(start) == errc::access);
}

TEST_CASE("UNMAP_DMA tells the dirty pages of what it unmaps") {
  container c;
  REQUIRE(c.map(0, 16) == errc::ok);
  CHECK(c.unmap(0, 16) == errc::inval);  // not tracked
  REQUIRE(c.dirty(start) == errc::ok);
  CHECK(c.unmap(0, 1) == errc::inval);
  CHECK(c.unmap(0, 16, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | kvm_vfio::uapi::dma_unmap_all) ==
        errc::inval);
  CHECK(c.unmap(0, 16) == errc::ok);
  CHECK(c.unmapped == 16 * page);
  CHECK(c.bits[0] == 0xffff);
  c.bits[0] = 0;
  CHECK(c.unmap(0, 16) == errc::ok);
  CHECK(c.unmapped == 0);
  CHECK(c.bits[0] == 0);
}

TEST_CASE(
    "a mediated device makes no page dirty, but a group that leaves has made all pages dirty") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].mediated = true;
  t.groups[0].devices[0].pci = {};
  container c(VFIO_TYPE1v2_IOMMU, t);
  REQUIRE(c.map(0, 16) == errc::ok);
  REQUIRE(c.dirty(start) == errc::ok);
  c.bits[0] = 0x1234;
  CHECK(c.get(0, 16) == errc::ok);
  CHECK(c.bits[0] == 0);
  const int other = c.open("/dev/vfio/2");
  REQUIRE(c.set_container(other, c.fd) == errc::ok);
  CHECK(c.get(0, 16) == errc::ok);
  CHECK(c.bits[0] == 0xffff);
  REQUIRE(c.unset_container(other) == errc::ok);
  CHECK(c.get(0, 16) == errc::ok);
  CHECK(c.bits[0] == 0xffff);
  CHECK(c.get(0, 16) == errc::ok);
  CHECK(c.bits[0] == 0);
}
