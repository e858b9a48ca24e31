// SPDX-License-Identifier: BSL-1.0
// The limit on the memory that a process locks for DMA (RLIMIT_MEMLOCK).
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t limit = 8 * page;
constexpr std::uint32_t reads = VFIO_DMA_MAP_FLAG_READ;

/// A process with a limit of eight pages, on a host whose second group is a mediated device.
struct limited : machine_under_test<> {
  static sim::topology host() {
    sim::topology t = two_groups();
    t.groups[1].devices.pop_back();
    t.groups[1].devices[0].mediated = true;
    t.groups.push_back({.number = 3, .devices = {{.name = "0000:00:06.0"}}});
    return t;
  }
  limited() : machine_under_test(host()) { task.memory_lock_limit(limit); }

  /// VFIO_IOMMU_MAP_DMA of pages at the page `at` of the addresses of the devices.
  errc map(int container, std::uint64_t at, std::uint64_t pages) {
    return map_by(task, container, at, pages);
  }
  static errc map_by(sim::process& caller, int container, std::uint64_t at, std::uint64_t pages,
                     std::uint32_t flags = reads) {
    vfio_iommu_type1_dma_map m{.argsz = sizeof m,
                               .flags = flags,
                               .vaddr = 0x10000000,
                               .iova = 0x100000 + at * page,
                               .size = pages * page};
    return caller.ioctl(container, VFIO_IOMMU_MAP_DMA, reinterpret_cast<std::uintptr_t>(&m))
        .error();
  }
  errc unmap(int container, std::uint64_t at, std::uint64_t pages, std::uint32_t flags = 0) {
    alignas(8) unsigned char bytes[offsetof(vfio_iommu_type1_dma_unmap, data)] = {};
    const std::uint32_t head[] = {sizeof bytes, flags};
    const std::uint64_t range[] = {0x100000 + at * page, pages * page};
    __builtin_memcpy(bytes, head, sizeof head);
    __builtin_memcpy(bytes + sizeof head, range, sizeof range);
    return ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, bytes);
  }

  /// IOMMU_IOAS_MAP of bytes from an address of the process on.
  static errc map_at(sim::process& caller, int iommufd, std::uint32_t ioas, std::uint64_t address,
                     std::uint64_t bytes) {
    kvm_vfio::uapi::iommu_ioas_map c{};
    c.size = sizeof c;
    c.flags = kvm_vfio::uapi::map_readable;
    c.ioas_id = ioas;
    c.user_va = address;
    c.length = bytes;
    return caller
        .ioctl(iommufd, kvm_vfio::uapi::request_ioas_map, reinterpret_cast<std::uintptr_t>(&c))
        .error();
  }
  errc map_pages(int iommufd, std::uint32_t ioas, std::uint64_t pages) {
    return map_at(task, iommufd, ioas, 0x10000000, pages * page);
  }
};

}  // namespace

TEST_CASE("there is no limit on locked memory by default") {
  machine_under_test<> m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  CHECK(limited::map_by(m.task, container, 0, std::uint64_t{1} << 18) == errc::ok);
}

TEST_CASE("a container maps as much memory as the process may lock") {
  struct step {
    const char* what;
    bool maps;  // false: it unmaps
    std::uint64_t at, pages;
    errc expected;
  };
  const step steps[] = {
      {"more than the limit", true, 0, 9, errc::nomem},
      {"a failed mapping counts nothing", true, 0, 5, errc::ok},
      {"a page that is mapped at two addresses counts twice", true, 5, 4, errc::nomem},
      {"up to the limit", true, 5, 3, errc::ok},
      {"at the limit", true, 8, 1, errc::nomem},
      {"another mapping is there: found before the limit", true, 0, 9, errc::exists},
      {"unmapped memory counts no more", false, 0, 5, errc::ok},
      {"again up to the limit", true, 10, 5, errc::ok},
      {"again at the limit", true, 20, 1, errc::nomem},
  };
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  for (const step& s : steps) {
    INFO(s.what);
    CHECK((s.maps ? m.map(container, s.at, s.pages) : m.unmap(container, s.at, s.pages)) ==
          s.expected);
  }
}

TEST_CASE("the limit counts whole pages") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  m.task.memory_lock_limit(2 * page - 1);
  CHECK(m.map(container, 0, 2) == errc::nomem);
  CHECK(m.map(container, 0, 1) == errc::ok);
  m.task.memory_lock_limit(0);
  CHECK(m.map(container, 1, 1) == errc::nomem);
}

TEST_CASE("all containers of a process count together, and lose their count with their domains") {
  limited m;
  int first = -1;
  int second = -1;
  const int group = m.group_with_iommu("/dev/vfio/1", &first);
  REQUIRE(group >= 0);
  REQUIRE(m.group_with_iommu("/dev/vfio/3", &second) >= 0);
  CHECK(m.map(first, 0, 6) == errc::ok);
  CHECK(m.map(second, 0, 3) == errc::nomem);
  REQUIRE(m.unset_container(group) == errc::ok);
  CHECK(m.map(second, 0, 8) == errc::ok);
}

TEST_CASE("the first domain of a container locks the memory of all mappings") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/2", &container) >= 0);
  CHECK(m.map(container, 0, 5) == errc::ok);
  CHECK(m.map(container, 5, 5) == errc::ok);
  const int group = m.open("/dev/vfio/1");
  CHECK(m.set_container(group, container) == errc::nomem);
  REQUIRE(m.unmap(container, 5, 5) == errc::ok);
  CHECK(m.set_container(group, container) == errc::ok);
  CHECK(m.map(container, 5, 4) == errc::nomem);
  // The mappings stay with the mediated device, but count only while there is a domain.
  REQUIRE(m.unset_container(group) == errc::ok);
  int other = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/3", &other) >= 0);
  CHECK(m.map(other, 0, 8) == errc::ok);
  CHECK(m.set_container(group, container) == errc::nomem);
}

TEST_CASE("the first domain pins the memory of the process that brings it") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/2", &container) >= 0);
  const int group = m.open("/dev/vfio/1");
  alignas(page) static unsigned char bytes[page];
  sim::memory of_other;
  m.memory.check_dma(true);
  of_other.check_dma(true);
  sim::process other(m.kernel, of_other, 2);
  m.task.fork_into(other);
  const auto map = [&](sim::process& caller) {
    vfio_iommu_type1_dma_map c{.argsz = sizeof c,
                               .flags = reads,
                               .vaddr = reinterpret_cast<std::uintptr_t>(bytes),
                               .iova = 0x100000,
                               .size = page};
    return caller.ioctl(container, VFIO_IOMMU_MAP_DMA, reinterpret_cast<std::uintptr_t>(&c))
        .error();
  };
  const auto join = [&](sim::process& caller) {
    std::int32_t fd = container;
    return caller.ioctl(group, VFIO_GROUP_SET_CONTAINER, reinterpret_cast<std::uintptr_t>(&fd))
        .error();
  };
  of_other.forbid(bytes, page);
  for (sim::process* const mapper : {&m.task, &other}) {
    REQUIRE(map(*mapper) == errc::ok);  // no domain translates the mapping
    CHECK(join(other) == errc::fault);
    CHECK(join(m.task) == errc::ok);
    REQUIRE(m.unset_container(group) == errc::ok);
    REQUIRE(m.unmap(container, 0, 1) == errc::ok);
  }
}

TEST_CASE("CAP_IPC_LOCK lifts the limit of a container, but the memory counts") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  m.task.cap_ipc_lock(true);
  CHECK(m.map(container, 0, 9) == errc::ok);
  m.task.cap_ipc_lock(false);
  CHECK(m.map(container, 9, 1) == errc::nomem);
  REQUIRE(m.unmap(container, 0, 9) == errc::ok);
  CHECK(m.map(container, 9, 1) == errc::ok);
}

TEST_CASE("a mapped BAR is no locked memory") {
  limited m;
  int container = -1;
  const int group = m.group_with_iommu("/dev/vfio/1", &container);
  const int device = m.device_fd(group, "0000:00:04.0").value();
  vfio_region_info bar{};
  bar.argsz = sizeof bar;
  REQUIRE(m.ioctl_at(device, VFIO_DEVICE_GET_REGION_INFO, bar) == errc::ok);
  const auto at = m.task.mmap(page, PROT_READ | PROT_WRITE, device, bar.offset);
  REQUIRE(at);
  m.task.memory_lock_limit(0);
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = reads,
                               .vaddr = static_cast<std::uint64_t>(*at),
                               .iova = 0x100000,
                               .size = page};
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
}

TEST_CASE("memory that is not there is found up to the first page above the limit") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  alignas(page) static unsigned char memory[4 * page];
  m.memory.check_dma(true);
  m.memory.forbid(memory + 3 * page, page);
  const auto map = [&] {
    vfio_iommu_type1_dma_map c{.argsz = sizeof c,
                               .flags = reads,
                               .vaddr = reinterpret_cast<std::uintptr_t>(memory),
                               .iova = 0x100000,
                               .size = 4 * page};
    return m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, c);
  };
  m.task.memory_lock_limit(2 * page);
  CHECK(map() == errc::nomem);
  m.task.memory_lock_limit(3 * page);
  CHECK(map() == errc::fault);

  const int iommufd = m.open("/dev/iommu");
  const std::uint32_t ioas = m.alloc_ioas(iommufd);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio2", iommufd), ioas) == errc::ok);
  m.task.memory_lock_limit(0);
  CHECK(m.map_at(m.task, iommufd, ioas, reinterpret_cast<std::uintptr_t>(memory), 4 * page) ==
        errc::fault);
}

TEST_CASE("processes of one address space share the count of a container") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  CHECK(m.map(container, 0, 6) == errc::ok);
  sim::process thread(m.kernel, m.memory, 1);
  sim::process other(m.kernel, m.memory, 2);
  for (sim::process* const p : {&thread, &other}) {
    p->memory_lock_limit(limit);
    sim::file* const f = m.task.file_of(container);
    f->get();
    (void)p->install_at(container, f);
  }
  CHECK(limited::map_by(thread, container, 6, 3) == errc::nomem);
  CHECK(limited::map_by(other, container, 6, 8) == errc::ok);
  // A process that gives a mapping its address is charged for the memory from then on.
  REQUIRE(m.unmap(container, 0, 6, kvm_vfio::uapi::dma_unmap_vaddr) == errc::ok);
  CHECK(limited::map_by(other, container, 0, 6, kvm_vfio::uapi::dma_map_vaddr) == errc::nomem);
  other.memory_lock_limit(14 * page);
  CHECK(limited::map_by(other, container, 0, 6, kvm_vfio::uapi::dma_map_vaddr) == errc::ok);
  CHECK(m.map(container, 20, 8) == errc::ok);
}

TEST_CASE("an iommufd locks memory from the first page table on") {
  limited m;
  const int iommufd = m.open("/dev/iommu");
  const std::uint32_t ioas = m.alloc_ioas(iommufd);
  CHECK(m.map_pages(iommufd, ioas, 9) == errc::ok);
  const int device = m.bound("/dev/vfio/devices/vfio0", iommufd);
  CHECK(m.attach(device, ioas) == errc::nomem);
  // A mediated device has no page table.
  CHECK(m.attach(m.bound("/dev/vfio/devices/vfio1", iommufd), ioas) == errc::ok);
  kvm_vfio::uapi::iommu_hwpt_alloc table{};
  table.size = sizeof table;
  table.dev_id = 2;
  table.pt_id = ioas;
  CHECK(m.ioctl_at(iommufd, kvm_vfio::uapi::request_hwpt_alloc, table) == errc::nomem);
  m.task.memory_lock_limit(9 * page);
  CHECK(m.attach(device, ioas) == errc::ok);
  CHECK(m.map_pages(iommufd, ioas, 1) == errc::nomem);
  // A further device uses memory that is locked already.
  CHECK(m.attach(m.bound("/dev/vfio/devices/vfio2", iommufd), ioas) == errc::ok);
}

TEST_CASE("an iommufd counts by user, and apart from the containers") {
  limited m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/3", &container) >= 0);
  CHECK(m.map(container, 0, 8) == errc::ok);
  const int iommufd = m.open("/dev/iommu");
  const std::uint32_t ioas = m.alloc_ioas(iommufd);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", iommufd), ioas) == errc::ok);
  CHECK(m.map_pages(iommufd, ioas, 8) == errc::ok);
  CHECK(m.map_pages(iommufd, ioas, 1) == errc::nomem);
  sim::process other(m.kernel, m.memory, 2);
  other.memory_lock_limit(limit);
  m.task.fork_into(other);
  CHECK(m.map_at(other, iommufd, ioas, 0x10000000, page) == errc::nomem);
  other.user(7);
  CHECK(m.map_at(other, iommufd, ioas, 0x10000000, 8 * page) == errc::ok);
  // An iommufd does not count what a process with CAP_IPC_LOCK maps.
  other.cap_ipc_lock(true);
  CHECK(m.map_at(other, iommufd, ioas, 0x10000000, 9 * page) == errc::ok);
  other.cap_ipc_lock(false);
  CHECK(m.map_at(other, iommufd, ioas, 0x10000000, page) == errc::nomem);
}

TEST_CASE("an iommufd that charges the process and containers count together") {
  limited m;
  const int iommufd = m.open("/dev/iommu");
  kvm_vfio::uapi::iommu_option mode{};
  mode.size = sizeof mode;
  mode.option_id = kvm_vfio::uapi::option_rlimit_mode;
  mode.op = kvm_vfio::uapi::option_set;
  mode.val64 = 1;
  REQUIRE(m.ioctl_at(iommufd, kvm_vfio::uapi::request_option, mode) == errc::ok);
  const std::uint32_t ioas = m.alloc_ioas(iommufd);
  const int device = m.bound("/dev/vfio/devices/vfio0", iommufd);
  REQUIRE(m.attach(device, ioas) == errc::ok);
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/3", &container) >= 0);
  CHECK(m.map(container, 0, 5) == errc::ok);
  CHECK(m.map_pages(iommufd, ioas, 4) == errc::nomem);
  CHECK(m.map_pages(iommufd, ioas, 3) == errc::ok);
  CHECK(m.map(container, 5, 1) == errc::nomem);
  CHECK(m.unmap(container, 0, 5) == errc::ok);
  CHECK(m.map(container, 0, 6) == errc::nomem);
  CHECK(m.map(container, 0, 5) == errc::ok);
  // ATTACH locks the memory that is mapped, and DETACH gives it back.
  kvm_vfio::uapi::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
  REQUIRE(m.ioctl_at(device, kvm_vfio::uapi::request_detach_iommufd_pt, detach) == errc::ok);
  CHECK(m.map(container, 5, 1) == errc::ok);
  CHECK(m.attach(device, ioas) == errc::nomem);
  CHECK(m.unmap(container, 5, 1) == errc::ok);
  CHECK(m.attach(device, ioas) == errc::ok);
  // Another process has a count of its own.
  sim::process other(m.kernel, m.memory, 2);
  other.memory_lock_limit(limit);
  m.task.fork_into(other);
  CHECK(m.map_at(other, iommufd, ioas, 0x10000000, 8 * page) == errc::ok);
  CHECK(m.map_by(other, container, 20, 1) == errc::nomem);
}

TEST_CASE("an iommufd in the place of a container has iommufd's count") {
  limited m;
  const int iommufd = m.open("/dev/iommu");
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, iommufd) == errc::ok);
  CHECK(m.map(iommufd, 0, 9) == errc::ok);
  CHECK(m.device_fd(group, "0000:00:04.0").error() == errc::nomem);
  REQUIRE(m.unmap(iommufd, 0, 9) == errc::ok);
  REQUIRE(m.device_fd(group, "0000:00:04.0"));
  CHECK(m.map(iommufd, 0, 9) == errc::nomem);
  CHECK(m.map(iommufd, 0, 8) == errc::ok);
}

TEST_CASE("an sPAPR container locks its window when it is enabled") {
  machine_under_test<kvm_vfio::linux_7_3, sim::kvm_spapr_tce> m(two_groups(),
                                                                {.iommu = sim::iommu_kind::spapr});
  const auto container_of = [&](const char* path) {
    const int c = m.open("/dev/vfio/vfio");
    REQUIRE(m.set_container(m.open(path), c) == errc::ok);
    REQUIRE(m.set_iommu(c, VFIO_SPAPR_TCE_IOMMU) == errc::ok);
    return c;
  };
  const int first = container_of("/dev/vfio/1");
  const int second = container_of("/dev/vfio/2");
  const std::uint64_t window = std::uint64_t{1} << 30;
  m.task.memory_lock_limit(window - 1);
  CHECK(m.ioctl(first, VFIO_IOMMU_ENABLE) == errc::nomem);
  m.task.memory_lock_limit(window);
  CHECK(m.ioctl(first, VFIO_IOMMU_ENABLE) == errc::ok);
  CHECK(m.ioctl(second, VFIO_IOMMU_ENABLE) == errc::nomem);
  // The first mapping makes the window and its table.
  CHECK(limited::map_by(m.task, first, 0, 1) == errc::nomem);
  m.task.memory_lock_limit(window + (2U << 20));
  CHECK(limited::map_by(m.task, first, 0, 1) == errc::ok);
  CHECK(m.ioctl(first, VFIO_IOMMU_DISABLE) == errc::ok);
  CHECK(m.ioctl(second, VFIO_IOMMU_ENABLE) == errc::ok);
  m.task.cap_ipc_lock(true);
  CHECK(m.ioctl(first, VFIO_IOMMU_ENABLE) == errc::ok);
}
