// SPDX-License-Identifier: BSL-1.0
// Memory that a VMM maps for DMA, and that its process may not have.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace {

constexpr std::size_t page = 4096;

/// Four pages of this program: two that can be written, one that can only be read, and one that is
/// not mapped.
struct four_pages {
  four_pages() {
    ::mprotect(at + 2 * page, page, PROT_READ);
    ::munmap(at + 3 * page, page);
  }
  four_pages(const four_pages&) = delete;
  four_pages& operator=(const four_pages&) = delete;
  ~four_pages() { ::munmap(at, 3 * page); }
  unsigned char* at = static_cast<unsigned char*>(
      ::mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
};

struct with_memory : machine_under_test<> {
  explicit with_memory(const sim::topology& t = two_groups()) : machine_under_test(t) {
    memory.check_dma(true);
  }
  four_pages pages;

  /// The error of a VFIO_IOMMU_MAP_DMA of pages, from page `first` of `pages` on.
  errc map(int container, std::size_t first, std::size_t count, std::uint32_t flags) {
    vfio_iommu_type1_dma_map m{.argsz = sizeof m,
                               .flags = flags,
                               .vaddr = reinterpret_cast<std::uintptr_t>(pages.at) + first * page,
                               .iova = 0x100000,
                               .size = count * page};
    const errc e = ioctl_at(container, VFIO_IOMMU_MAP_DMA, m);
    if (e == errc::ok) unmap(container);
    return e;
  }
  void unmap(int container) {
    alignas(8) unsigned char bytes[offsetof(vfio_iommu_type1_dma_unmap, data)] = {};
    const std::uint32_t head[] = {sizeof bytes, kvm_vfio::uapi::dma_unmap_all};
    __builtin_memcpy(bytes, head, sizeof head);
    REQUIRE(ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, bytes) == errc::ok);
  }
};

constexpr std::uint32_t reads = VFIO_DMA_MAP_FLAG_READ;
constexpr std::uint32_t writes = VFIO_DMA_MAP_FLAG_WRITE;

}  // namespace

TEST_CASE("by default any address can be mapped for DMA") {
  with_memory m;
  m.memory.check_dma(false);
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  CHECK(m.map(container, 3, 1, reads | writes) == errc::ok);
}

TEST_CASE("a container maps only memory that the process has") {
  with_memory m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  CHECK(m.map(container, 0, 2, reads | writes) == errc::ok);
  CHECK(m.map(container, 0, 3, reads) == errc::ok);
  CHECK(m.map(container, 1, 2, reads | writes) == errc::fault);
  CHECK(m.map(container, 2, 1, writes) == errc::fault);
  CHECK(m.map(container, 3, 1, reads) == errc::fault);
  CHECK(m.map(container, 2, 2, reads) == errc::fault);
  m.memory.forbid(m.pages.at, page);
  CHECK(m.map(container, 0, 1, reads) == errc::fault);
}

TEST_CASE("an iommufd needs the memory from the first page table on") {
  with_memory m;
  const int iommufd = m.open("/dev/iommu");
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, iommufd) == errc::ok);
  CHECK(m.map(iommufd, 3, 1, reads) == errc::ok);
  REQUIRE(m.device_fd(group, "0000:00:04.0"));
  CHECK(m.map(iommufd, 3, 1, reads) == errc::fault);
  CHECK(m.map(iommufd, 1, 2, writes) == errc::fault);
  CHECK(m.map(iommufd, 1, 2, reads) == errc::ok);
}

TEST_CASE("the first domain of a container needs the memory of all mappings") {
  sim::topology t = two_groups();
  t.groups[1].devices[0].mediated = t.groups[1].devices[1].mediated = true;
  with_memory m(t);
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/2", &container) >= 0);
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = reads,
                               .vaddr = reinterpret_cast<std::uintptr_t>(m.pages.at) + 3 * page,
                               .iova = 0x100000,
                               .size = page};
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  const int group = m.open("/dev/vfio/1");
  CHECK(m.set_container(group, container) == errc::fault);
  m.unmap(container);
  CHECK(m.set_container(group, container) == errc::ok);
}
