// SPDX-License-Identifier: BSL-1.0
// The system calls of a simulated process that no scenario makes, and calls that are told to fail.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/sim/call_fault.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/trace/timeline.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {
using trace::call_kind;
constexpr const char* device_name = "0000:00:04.0";
constexpr std::uint64_t bar_size = 0x4000;
constexpr int both = PROT_READ | PROT_WRITE;

constexpr std::uint64_t region(unsigned index) { return std::uint64_t{index} << 40; }

// two_groups with the MSI-X table behind the first page of BAR 0.
sim::topology table_in_second_page() {
  sim::topology t = two_groups();
  t.groups[0].devices[0].pci.msix_table.offset = 0x1000;
  return t;
}

// A process with an open device: BAR 0 can be mapped, BAR 2 is too small, and BAR 1 is missing.
struct opened : machine_under_test<> {
  explicit opened(const sim::topology& t = table_in_second_page()) : machine_under_test<>(t) {
    device = static_cast<int>(device_fd(group, device_name).value());
  }
  int container = -1;
  int group = group_with_iommu("/dev/vfio/1", &container);
  int device = -1;

  // Maps a part of the device, which must be possible.
  unsigned char* map(std::size_t size, std::uint64_t offset) {
    const sim::answer a = task.mmap(size, both, device, offset);
    REQUIRE(a);
    return reinterpret_cast<unsigned char*>(static_cast<std::uintptr_t>(*a));
  }
};

std::uint64_t number_in(sim::process& task, int event) {
  std::uint64_t n = 0;
  REQUIRE(task.read(event, &n, sizeof n).value() == 8);
  return n;
}
TEST_CASE("an interposer chooses the number of the next descriptor") {
  machine_under_test<> m;
  m.task.next_descriptor(30);
  CHECK(m.task.open("/dev/vfio/vfio").value() == 30);
  CHECK(m.task.open("/dev/vfio/vfio").value() == 0);  // one descriptor only
  sim::file* const first = m.task.file_of(0);
  m.task.next_descriptor(30);
  CHECK(m.task.dup(0).value() == 30);  // takes the place of the old one
  CHECK(m.task.file_of(30) == first);
  CHECK(m.task.descriptors() == 2);
  m.task.next_descriptor(31);
  m.task.next_descriptor(-1);
  CHECK(m.task.eventfd().value() == 1);
  // A call that fails uses up no number.
  m.task.next_descriptor(40);
  CHECK(m.task.open("/dev/vfio/77").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/1").value() == 40);
}

TEST_CASE("an interposer opens a path that is not in the memory of the process") {
  // The memory of a process that cannot be read at all.
  struct unreadable final : sim::memory {
    bool read(std::uint64_t, void*, std::size_t) noexcept override { return false; }
    bool peek(std::uint64_t, void*, std::size_t) noexcept override { return false; }
    bool write(std::uint64_t, const void*, std::size_t) noexcept override { return false; }
  };
  machine_under_test<> m;
  unreadable memory;
  sim::process task(m.kernel, memory, 7);
  trace::timeline seen;
  task.observe(seen);
  const char path[] = "/dev/vfio/vfio and more";
  CHECK(task.open(path).error() == errc::fault);
  CHECK(task.open_path(std::string_view(path, 14)).value() == 0);
  CHECK(task.open_path("/dev/vfio/1", O_PATH).value() == 1);
  CHECK(task.ioctl(1, 0, 0).error() == errc::badf);
  CHECK(task.open_path("/dev/vfio/77").error() == errc::noent);
  CHECK(task.open_path(std::string(4095, 'x')).error() == errc::noent);
  CHECK(task.open_path(std::string(4096, 'x')).error() == errc::nametoolong);
  REQUIRE(seen.size() == 7);
  CHECK(seen.calls()[1].text == "/dev/vfio/vfio");
}

TEST_CASE("a lent file is behind its descriptor, and no observer hears of it") {
  machine_under_test<> m;
  trace::timeline seen;
  m.task.observe(seen);
  auto* const event = new sim::event_file;
  m.task.lend(7, event);
  CHECK(m.task.file_of(7) == event);
  CHECK(m.task.descriptors() == 1);
  m.task.lend(7, new sim::event_file);  // releases the first one
  CHECK(m.task.descriptors() == 1);
  m.task.lend(7, nullptr);
  m.task.lend(9, nullptr);
  CHECK(m.task.descriptors() == 0);
  CHECK(m.task.ioctl(7, 0, 0).error() == errc::badf);
  CHECK(seen.size() == 1);  // the ioctl
}

}  // namespace

TEST_CASE("an eventfd counts what is written, and gives it once") {
  machine_under_test<> m;
  const int event = static_cast<int>(m.task.eventfd().value());
  std::uint64_t n = 5;
  CHECK(m.task.read(event, &n, sizeof n).error() == errc::again);
  CHECK(m.task.write(event, &n, sizeof n).value() == 8);
  n = 7;
  CHECK(m.task.write(event, &n, sizeof n).value() == 8);
  CHECK(m.task.read(event, &n, 7).error() == errc::inval);
  CHECK(m.task.write(event, &n, 7).error() == errc::inval);
  CHECK(number_in(m.task, event) == 12);
  CHECK(m.task.read(event, &n, sizeof n).error() == errc::again);
  n = ~std::uint64_t{0};
  CHECK(m.task.write(event, &n, sizeof n).error() == errc::inval);
  --n;
  CHECK(m.task.write(event, &n, sizeof n));
  n = 1;
  CHECK(m.task.write(event, &n, sizeof n).error() == errc::again);
  CHECK(number_in(m.task, event) == ~std::uint64_t{0} - 1);
}

TEST_CASE("an eventfd takes eight bytes, in 6.1 also more") {
  const auto written = [](auto m, std::size_t size) {
    const int event = static_cast<int>(m.task.eventfd().value());
    const std::uint64_t n[2] = {3, 4};
    const sim::answer a = m.task.write(event, n, size);
    if (a) CHECK(number_in(m.task, event) == 3);
    return a;
  };
  using kvm_vfio::linux_6_1;
  for (const std::size_t size : {0U, 7U, 9U, 16U}) {
    CHECK(written(machine_under_test<>(), size).error() == errc::inval);
    CHECK(written(machine_under_test<kvm_vfio::linux_6_12>(), size).error() == errc::inval);
    if (size < 8) CHECK(written(machine_under_test<linux_6_1>(), size).error() == errc::inval);
    else CHECK(written(machine_under_test<linux_6_1>(), size).value() == 8);
  }
}

TEST_CASE("read and write of other files") {
  opened m;
  std::uint32_t word = 0;
  for (const int fd : {m.group, m.container, m.open("/dev/kvm"), m.open("/dev/iommu")}) {
    CHECK(m.task.read(fd, &word, sizeof word).error() == errc::inval);
    CHECK(m.task.write(fd, &word, sizeof word).error() == errc::inval);
  }
  CHECK(m.task.read(99, &word, sizeof word).error() == errc::badf);
  CHECK(m.task.write(99, &word, sizeof word).error() == errc::badf);
  // A device file has a position.
  const unsigned char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(m.task.write(m.device, bytes, 3).value() == 3);
  CHECK(m.task.write(m.device, bytes + 3, 5).value() == 5);
  unsigned char seen[8] = {};
  CHECK(m.task.pread(m.device, seen, 8, 0).value() == 8);
  CHECK(std::memcmp(seen, bytes, 8) == 0);
  CHECK(m.task.read(m.device, seen, 2).value() == 2);
  CHECK(seen[0] == 0);  // what is behind the eight bytes
  CHECK(m.task.read(m.open("/dev/vfio/devices/vfio1"), seen, 8).error() == errc::inval);
}

TEST_CASE("a mapping of a BAR and pread see the same bytes") {
  opened m;
  const std::uint32_t before = 0x12345678;
  REQUIRE(m.task.pwrite(m.device, &before, 4, 0x2ffe));  // over the border of two pages
  unsigned char* const bar = m.map(bar_size, 0);
  CHECK(reinterpret_cast<std::uintptr_t>(bar) % sim::process::page_size == 0);
  CHECK(std::memcmp(bar + 0x2ffe, &before, 4) == 0);
  const std::uint32_t after = 0x9abcdef0;
  REQUIRE(m.task.pwrite(m.device, &after, 4, 0x3ffc));
  CHECK(std::memcmp(bar + 0x3ffc, &after, 4) == 0);
  bar[0] = 0x5a;
  unsigned char byte = 0;
  REQUIRE(m.task.pread(m.device, &byte, 1, 0));
  CHECK(byte == 0x5a);
  CHECK(m.world.find_device(device_name)->pci.bar(0).resident() == 0);
  // A part has its place in the whole, and its size counts in pages.
  CHECK(m.map(1, 0x2000) == bar + 0x2000);
  CHECK(m.task.mappings() == 2);
  CHECK(m.task.munmap(bar + 0x2000, sim::process::page_size).value() == 0);
  // pread hides the MSI-X table, and pwrite does not change it. The mapping shows the memory.
  REQUIRE(m.task.pwrite(m.device, &before, 4, 0x1000));
  CHECK(bar[0x1000] == 0);
  bar[0x1000] = 3;
  REQUIRE(m.task.pread(m.device, &byte, 1, 0x1000));
  CHECK(byte == 0xff);
}

TEST_CASE("a large BAR can be mapped and costs no memory") {
  sim::topology t = two_groups();
  constexpr std::uint64_t size = std::uint64_t{sizeof(void*) < 8 ? 16 : 16 * 1024} << 20;
  t.groups[0].devices[0].pci.bars[0].size = size;
  opened m(t);
  unsigned char* const last = m.map(0x1000, size - 0x1000);
  last[0xfff] = 0x77;
  unsigned char byte = 0;
  REQUIRE(m.task.pread(m.device, &byte, 1, size - 1));
  CHECK(byte == 0x77);
}

TEST_CASE("mmap refuses what vfio-pci refuses") {
  opened m;
  const auto refused = [&](std::size_t size, int fd, std::uint64_t offset) {
    return m.task.mmap(size, both, fd, offset).error();
  };
  CHECK(refused(0, m.device, 0) == errc::inval);
  CHECK(refused(0x1000, m.device, 0x10) == errc::inval);
  CHECK(refused(bar_size + 1, m.device, 0) == errc::inval);
  CHECK(refused(0x2000, m.device, bar_size - 0x1000) == errc::inval);
  CHECK(refused(0x1000, m.device, region(1)) == errc::inval);
  CHECK(refused(0x1000, m.device, region(2)) == errc::inval);
  CHECK(refused(0x1000, m.device, region(VFIO_PCI_CONFIG_REGION_INDEX)) == errc::inval);
  CHECK(refused(0x1000, m.device, region(VFIO_PCI_ROM_REGION_INDEX)) == errc::inval);
  CHECK(refused(0x1000, m.device, region(0xffffff)) == errc::inval);
  CHECK(refused(~std::size_t{0}, m.device, 0) == (sizeof(void*) < 8 ? errc::inval : errc::nomem));
  CHECK(refused(0x1000, m.open("/dev/vfio/devices/vfio1"), 0) == errc::inval);  // not bound
  CHECK(refused(0x1000, m.group, 0) == errc::nodev);
  CHECK(refused(0x1000, m.container, 0) == errc::nodev);
  CHECK(refused(0x1000, static_cast<int>(m.task.eventfd().value()), 0) == errc::nodev);
  CHECK(refused(0x1000, 99, 0) == errc::badf);
  CHECK(m.task.mappings() == 0);
  unsigned char* const bar = m.map(bar_size, 0);
  CHECK(m.task.munmap(bar, 0).error() == errc::inval);
  CHECK(m.task.munmap(bar + 1, 0x1000).error() == errc::inval);
  CHECK(m.task.munmap(bar + 0x1000, bar_size).error() == errc::inval);
  CHECK(m.task.munmap(bar, bar_size));
  CHECK(m.task.munmap(bar, bar_size).error() == errc::inval);
}

TEST_CASE("a file that is opened only for reading or only for writing refuses the other calls") {
  opened m;
  unsigned char byte = 0x55;
  const auto calls = [&](int mode, std::vector<errc> expected) {
    CAPTURE(mode);
    const int fd = static_cast<int>(m.task.open("/dev/vfio/devices/vfio1", mode).value());
    kvm_vfio::uapi::device_bind_iommufd b{};
    b.argsz = sizeof b;
    b.iommufd = m.open("/dev/iommu");
    // An ioctl does not ask for the mode.
    CHECK(m.ioctl_at(fd, kvm_vfio::uapi::request_bind_iommufd, b) == errc::ok);
    const int copy = static_cast<int>(m.task.dup(fd).value());
    for (const int of : {fd, copy}) {
      std::vector<errc> seen{
          m.task.pread(of, &byte, 1, region(VFIO_PCI_CONFIG_REGION_INDEX)).error(),
          m.task.read(of, &byte, 0).error(),
          m.task.pwrite(of, &byte, 1, region(VFIO_PCI_CONFIG_REGION_INDEX) + 0x3c).error(),
          m.task.write(of, &byte, 0).error()};
      for (const int protection : {PROT_NONE, PROT_READ, PROT_WRITE, both})
        seen.push_back(m.task.mmap(0x1000, protection, of, 0).error());
      CHECK(seen == expected);
    }
    CHECK(m.task.close(fd));
    CHECK(m.task.close(copy));
  };
  const errc ok = errc::ok, badf = errc::badf, inval = errc::inval, no = errc::access;
  calls(O_RDONLY, {ok, ok, badf, badf, inval, inval, no, no});
  calls(O_WRONLY, {badf, badf, ok, ok, no, no, no, no});
  const struct {
    const char* path;
    errc unmapped, read, write;
    int mode;
  } others[] = {{"/dev/vfio/vfio", errc::nodev, inval, badf, O_RDONLY},
                {"/dev/vfio/vfio", no, badf, inval, O_WRONLY},
                {"/dev/iommu", inval, inval, badf, O_RDONLY},
                {"/dev/kvm", errc::nodev, inval, badf, O_RDONLY}};
  for (const auto& o : others) {
    CAPTURE(o.path, o.mode);
    const int fd = static_cast<int>(m.task.open(o.path, o.mode).value());
    CHECK(m.task.read(fd, &byte, 1).error() == o.read);
    CHECK(m.task.write(fd, &byte, 1).error() == o.write);
    CHECK(m.task.mmap(0x1000, PROT_READ, fd, 0).error() == o.unmapped);
  }
  CHECK(m.task.mmap(0x1000, PROT_READ, m.open("/dev/iommu"), 0).error() == errc::nxio);
  machine_under_test<kvm_vfio::linux_6_12> before;
  CHECK(before.task.mmap(0x1000, PROT_READ, before.open("/dev/iommu"), 0).error() == errc::nodev);
}

TEST_CASE(
    "an offset of 2^63 or more, and a mapping that ends behind the last offset, are refused") {
  opened m;
  std::uint32_t word = 0;
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  for (const int fd : {m.device, m.group, 99})
    for (const std::size_t size : {std::size_t{0}, sizeof word}) {
      CHECK(m.task.pread(fd, &word, size, half).error() == errc::inval);
      CHECK(m.task.pwrite(fd, &word, size, ~std::uint64_t{0}).error() == errc::inval);
    }
  CHECK(m.task.pread(m.device, &word, 0, half - 1));
  constexpr std::uint64_t last = ~std::uint64_t{0} - 0xfff;
  CHECK(m.task.mmap(0x1000, PROT_READ, m.device, last).error() == errc::overflow);
  CHECK(m.task.mmap(0x2000, PROT_READ, m.group, last - 0x1000).error() == errc::overflow);
  CHECK(m.task.mmap(0x1000, PROT_READ, m.device, last - 0x1000).error() == errc::inval);
}

TEST_CASE("a mapped device keeps its group in use until munmap") {
  opened m;
  unsigned char* const bar = m.map(bar_size, 0);
  REQUIRE(m.map(bar_size, 0) == bar);
  REQUIRE(m.task.close(m.device));
  CHECK(m.ioctl(m.group, VFIO_GROUP_UNSET_CONTAINER) == errc::busy);
  REQUIRE(m.task.close(m.group));
  CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
  bar[8] = 1;
  REQUIRE(m.task.munmap(bar, bar_size));
  CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
  REQUIRE(m.task.munmap(bar, bar_size));
  CHECK(m.task.open("/dev/vfio/1"));
}

TEST_CASE("munmap of a part keeps the rest, and with it the device") {
  opened m;
  unsigned char* const bar = m.map(bar_size, 0);
  REQUIRE(m.task.close(m.device));
  REQUIRE(m.task.munmap(bar + 0x1000, 0x1000));
  CHECK(m.task.mappings() == 2);
  CHECK(m.task.munmap(bar + 0x1000, 0x1000).error() == errc::inval);
  REQUIRE(m.task.munmap(bar, 0x1000));
  CHECK(m.ioctl(m.group, VFIO_GROUP_UNSET_CONTAINER) == errc::busy);
  REQUIRE(m.task.munmap(bar + 0x2000, bar_size - 0x2000));
  CHECK(m.ioctl(m.group, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
}

TEST_CASE("munmap removes the mapping of its size, not a part of a larger one at the address") {
  opened m;
  unsigned char* const small = m.map(0x1000, 0);
  unsigned char* const large = m.map(0x2000, 0);
  REQUIRE(small == large);
  CHECK(m.task.munmap(small, 0x1000) == 0);
  CHECK(m.task.munmap(large, 0x2000) == 0);
  CHECK(m.task.mappings() == 0);
}

TEST_CASE("a container maps a BAR for DMA, and a page table of an iommufd does not") {
  opened m;
  unsigned char* const bar = m.map(bar_size, 0);
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = reinterpret_cast<std::uintptr_t>(bar),
                               .iova = 0x100000,
                               .size = 0x1000};
  CHECK(m.ioctl_at(m.container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);

  const int iommufd = m.open("/dev/iommu");
  const int other = m.open("/dev/vfio/2");
  REQUIRE(m.set_container(other, iommufd) == errc::ok);
  CHECK(m.ioctl_at(iommufd, VFIO_IOMMU_MAP_DMA, map) == errc::ok);  // no page table yet
  CHECK(m.device_fd(other, "0000:00:05.0").error() == errc::fault);
  vfio_iommu_type1_dma_unmap unmap{};
  unmap.argsz = sizeof unmap;
  unmap.flags = kvm_vfio::uapi::dma_unmap_all;
  REQUIRE(m.ioctl_at(iommufd, VFIO_IOMMU_UNMAP_DMA, unmap) == errc::ok);
  REQUIRE(m.device_fd(other, "0000:00:05.0"));
  CHECK(m.ioctl_at(iommufd, VFIO_IOMMU_MAP_DMA, map) == errc::fault);
  REQUIRE(m.task.munmap(bar, bar_size));
  CHECK(m.ioctl_at(iommufd, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
}

TEST_CASE("a mapping for DMA may not end behind a mapped BAR") {
  opened m;
  m.memory.check_dma(true);
  unsigned char* const bar = m.map(bar_size, 0);
  // The last page of the BAR, and a page that the process does not have.
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = reinterpret_cast<std::uintptr_t>(bar) + bar_size - 0x1000,
                               .iova = 0x100000,
                               .size = 0x1000};
  CHECK(m.ioctl_at(m.container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  map.iova = std::uint64_t{1} << 32;
  map.size = std::uint64_t{1} << 40;
  CHECK(m.ioctl_at(m.container, VFIO_IOMMU_MAP_DMA, map) == errc::fault);
}

TEST_CASE("a buffer in the kernel's addresses is refused before the offset") {
  opened m;
  void* const kernel = reinterpret_cast<void*>(~std::uintptr_t{0} << 47);
  constexpr std::uint64_t nowhere = std::uint64_t{9} << 40;  // no region is there
  std::uint32_t word = 0;
  CHECK(m.task.pread(m.device, &word, 4, nowhere).error() == errc::inval);
  CHECK(m.task.pread(m.device, kernel, 4, nowhere).error() == errc::fault);
  CHECK(m.task.pwrite(m.device, kernel, 4, nowhere).error() == errc::fault);
  CHECK(m.task.pread(m.device, &word, ~std::size_t{0} >> 1, 0).error() == errc::fault);
  CHECK(m.task.pread(m.group, kernel, 4, 0).error() == errc::inval);
#if defined __x86_64__
  // The last page of the lower half belongs to no process.
  for (const int bits : {47, 52, 62})
    for (const unsigned before : {0U, 1U, 4095U}) {
      void* const at = reinterpret_cast<void*>((std::uintptr_t{1} << bits) - before);
      CHECK(m.task.pread(m.device, at, 1, nowhere).error() == errc::fault);
      CHECK(m.task.pwrite(m.device, at, 1, nowhere).error() == errc::fault);
    }
  void* const end = reinterpret_cast<void*>((std::uintptr_t{1} << 47) - 4096);
  CHECK(m.task.pread(m.device, end, 0, 0));
  CHECK(m.task.mmap(std::size_t{1} << 47, PROT_READ, m.device, 0).error() == errc::nomem);
#endif
}

TEST_CASE("a child has the mappings, and the end of a process removes them") {
  opened m;
  unsigned char* const bar = m.map(bar_size, 0);
  {
    sim::process child(m.kernel, m.memory, 2);
    m.task.fork_into(child);
    CHECK(child.mappings() == 1);
    m.task.exit();
    CHECK(m.task.mappings() == 0);
    CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
    for (const int fd : {m.device, m.group, m.container}) REQUIRE(child.close(fd));
    CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
    bar[0] = 1;
  }
  CHECK(m.task.open("/dev/vfio/1"));
}

TEST_CASE("a child has the limits and the rights of its parent") {
  machine_under_test<> m;
  const int kvm = m.open("/dev/kvm");
  m.task.limit(2);
  m.task.cap_sys_rawio(false);
  m.task.memory_lock_limit(4096);
  m.task.cap_ipc_lock(true);
  m.task.user(7);
  sim::process child(m.kernel, m.memory, 2);
  m.task.fork_into(child);
  CHECK(child.dup(kvm));
  CHECK(child.dup(kvm).error() == errc::mfile);
  CHECK_FALSE(child.cap_sys_rawio());
  CHECK(child.account()->limit == 4096);
  CHECK(child.account()->unlimited);
  CHECK(child.account()->user == 7);
  CHECK(child.account()->address_space == 2);
  // From now on each of them has its own.
  child.user(8);
  child.limit(9);
  CHECK(m.task.account()->user == 7);
  CHECK(m.task.dup(kvm));
  CHECK(m.task.dup(kvm).error() == errc::mfile);
}

TEST_CASE("the limit on descriptors is a limit on their numbers") {
  machine_under_test<> m;
  const int kvm = m.open("/dev/kvm");
  REQUIRE(m.task.dup(kvm, 30).value() == 30);
  m.task.limit(2);
  CHECK(m.task.dup(kvm).value() == 1);
  CHECK(m.task.dup(kvm).error() == errc::mfile);
  m.task.limit(30);
  CHECK(m.task.dup(kvm, 29).value() == 29);
  CHECK(m.task.dup(kvm, 29).error() == errc::mfile);
  m.task.limit(0);
  CHECK(m.task.eventfd().error() == errc::mfile);
  CHECK(m.task.ioctl(30, KVM_GET_API_VERSION, 0));
}

TEST_CASE("dup with a lowest number") {
  machine_under_test<> m;
  const int kvm = m.open("/dev/kvm");
  REQUIRE(kvm == 0);
  CHECK(m.task.dup(kvm, 3).value() == 3);
  CHECK(m.task.dup(kvm, 3).value() == 4);
  CHECK(m.task.dup(kvm, 0).value() == 1);
  CHECK(m.task.dup(kvm).value() == 2);
  CHECK(m.task.dup(kvm).value() == 5);
  CHECK(m.task.dup(kvm, -1).error() == errc::inval);
  CHECK(m.task.dup(99, 3).error() == errc::badf);
  m.task.limit(7);
  CHECK(m.task.dup(kvm, 7).error() == errc::inval);
  CHECK(m.task.dup(kvm, 6).value() == 6);
  REQUIRE(m.task.close(0));
  CHECK(m.task.dup(1, 3).error() == errc::mfile);
  CHECK(m.task.dup(1).value() == 0);
}

TEST_CASE("a fault makes the n-th call of its kind fail, and no other call") {
  opened m;
  const int event = static_cast<int>(m.task.eventfd().value());
  unsigned char* const bar = m.map(bar_size, 0);
  unsigned char bytes[8] = {1};
  const auto call = [&](call_kind kind) -> errc {
    switch (kind) {
      case call_kind::open: return m.task.open("/dev/kvm").error();
      case call_kind::close: return m.task.close(event).error();
      case call_kind::dup: return m.task.dup(event).error();
      case call_kind::ioctl: return m.ioctl(m.device, VFIO_DEVICE_RESET);
      case call_kind::pread: return m.task.pread(m.device, bytes, 8, 0).error();
      case call_kind::pwrite: return m.task.pwrite(m.device, bytes, 8, 0).error();
      case call_kind::eventfd: return m.task.eventfd().error();
      case call_kind::read: return m.task.read(m.device, bytes, 8).error();
      case call_kind::write: return m.task.write(m.device, bytes, 8).error();
      case call_kind::mmap: return m.task.mmap(bar_size, both, m.device, 0).error();
      case call_kind::munmap: return m.task.munmap(bar, bar_size).error();
      case call_kind::exit:
      case call_kind::fork:
      case call_kind::install: return errc::ok;
    }
    return errc::ok;
  };
  const call_kind kind = GENERATE(
      call_kind::open, call_kind::dup, call_kind::ioctl, call_kind::pread, call_kind::pwrite,
      call_kind::eventfd, call_kind::read, call_kind::write, call_kind::mmap, call_kind::munmap);
  INFO(static_cast<int>(kind));
  REQUIRE(m.map(bar_size, 0) == bar);
  const std::size_t descriptors = m.task.descriptors();
  const std::size_t mappings = m.task.mappings();
  m.task.fail({.kind = kind, .nth = 1, .error = errc::nospc});
  m.task.fail({.kind = kind, .nth = 3, .error = errc::io});
  CHECK(m.task.faults_left() == 2);
  CHECK(m.task.close(99).error() == errc::badf);  // another kind
  CHECK(m.task.faults_left() == 2);
  CHECK(call(kind) == errc::nospc);
  CHECK(m.task.faults_left() == 1);
  CHECK(m.task.descriptors() == descriptors);
  CHECK(m.task.mappings() == mappings);
  CHECK(call(kind) == errc::ok);
  CHECK(call(kind) == errc::io);
  CHECK(m.task.faults_left() == 0);
  CHECK(call(kind) == errc::ok);
}

TEST_CASE("a close that fails has closed the descriptor") {
  const bool watched = GENERATE(false, true);
  machine_under_test<> m;
  trace::timeline log;
  if (watched) m.task.observe(log);
  const int group = m.open("/dev/vfio/1");
  m.task.fail({.kind = call_kind::close, .error = errc::intr});
  CHECK(m.task.close(group).error() == errc::intr);
  CHECK(m.task.descriptors() == 0);
  CHECK(m.task.open("/dev/vfio/1").value() == group);
  if (watched) CHECK(log.calls().at(1).error == errc::intr);
}

TEST_CASE("a fault of one request leaves other requests alone, and is told to observers") {
  machine_under_test<> m;
  const int group = m.open("/dev/vfio/1");
  const int container = m.open("/dev/vfio/vfio");
  trace::timeline log;
  m.task.observe(log);
  m.task.fail({.request = VFIO_SET_IOMMU, .nth = 2, .error = errc::perm});
  REQUIRE(m.set_container(group, container) == errc::ok);
  CHECK(m.set_iommu(container, 77) == errc::nodev);
  CHECK(m.set_iommu(container) == errc::perm);
  CHECK(m.task.faults_left() == 0);
  CHECK(m.set_iommu(container) == errc::ok);
  m.task.fail({.request = VFIO_GROUP_GET_DEVICE_FD, .error = errc::nomem});
  CHECK(m.device_fd(group, device_name).error() == errc::nomem);
  CHECK(log.text() ==
        "1  ioctl(0, SET_CONTAINER fd 1) = 0\n"
        "2  ioctl(1, SET_IOMMU) = ENODEV\n"
        "3  ioctl(1, SET_IOMMU) = EPERM\n"
        "4  ioctl(1, SET_IOMMU) = 0\n"
        "5  ioctl(0, GET_DEVICE_FD \"0000:00:04.0\") = ENOMEM\n");
}

TEST_CASE("the n-th call of whatever kind fails") {
  machine_under_test<> m;
  m.task.fail_call(3, errc::nfile);
  m.task.fail({.kind = call_kind::open, .nth = 2, .error = errc::mfile});  // the third call, too
  const std::uint64_t before = m.task.calls();
  CHECK(m.task.open("/dev/kvm"));
  CHECK(m.task.eventfd());
  CHECK(m.task.open("/dev/kvm").error() == errc::nfile);
  CHECK(m.task.faults_left() == 0);
  CHECK(m.task.open("/dev/kvm"));
  CHECK(m.task.calls() == before + 4);
}

TEST_CASE("the new calls are told to observers") {
  opened m;
  trace::timeline log;
  m.task.observe(log);
  unsigned char* const bar = m.map(0x1000, 0x1000);
  std::uint64_t n = 1;
  REQUIRE(m.task.write(m.device, &n, 8));
  REQUIRE(m.task.read(m.device, &n, 4));
  REQUIRE(m.task.munmap(bar, 0x1000));
  CHECK(m.task.munmap(nullptr, 0x1000).error() == errc::inval);
  const std::vector<trace::call> calls = log.calls();
  REQUIRE(calls.size() == 5);
  CHECK(calls[0].kind == call_kind::mmap);
  CHECK(calls[0].fd == m.device);
  CHECK(calls[0].argument == 0x1000);
  CHECK(calls[0].size == 0x1000);
  CHECK(calls[0].made == -1);
  CHECK(static_cast<std::uintptr_t>(calls[0].value) == reinterpret_cast<std::uintptr_t>(bar));
  CHECK(calls[3].argument == reinterpret_cast<std::uintptr_t>(bar));
  const std::string text = log.text();
  const std::string device = std::to_string(m.device);
  CHECK(text.starts_with("1  mmap(" + device + ", 0x1000) = 0x"));
  CHECK(text.find("2  write(" + device + ") = 8\n3  read(" + device + ") = 4\n4  munmap(0x") !=
        std::string::npos);
  CHECK(text.ends_with("5  munmap(0x0) = EINVAL\n"));
}

TEST_CASE("exit is told once, while the descriptors are open, and the destructor tells nobody") {
  struct at_exit final : trace::call_observer {
    sim::process* watched = nullptr;
    int exits = 0;
    std::size_t open = 0;
    void called(const trace::call& c) override {
      if (c.kind != call_kind::exit) return;
      ++exits;
      open = watched->descriptors();
    }
  } observer;
  machine_under_test<> m;
  trace::timeline log;
  {
    sim::process task(m.kernel, m.memory);
    observer.watched = &task;
    task.observe(observer);
    task.observe(log);
    REQUIRE(task.open("/dev/vfio/1"));
    task.exit();
    CHECK(task.descriptors() == 0);
    CHECK(observer.open == 1);
  }
  CHECK(observer.exits == 1);
  CHECK(log.text() == "1  open(\"/dev/vfio/1\") = 0\n2  exit()\n");
  {
    sim::process task(m.kernel, m.memory);
    task.observe(observer);
    REQUIRE(task.open("/dev/vfio/1"));
  }
  CHECK(observer.exits == 1);
}

static_assert(kvm_vfio::system<trace::watched_system<sim::process_ref>>);

TEST_CASE("a handle of a process makes each call of the process") {
  opened m;
  const sim::process_ref sys(m.task);
  const sim::process_ref copy = sys;
  const int event = copy.eventfd().value();
  const int again = sys.dup(event).value();
  CHECK(again >= 3);
  CHECK(m.task.file_of(again) == m.task.file_of(event));
  std::uint64_t n = 3;
  CHECK(sys.write(event, &n, 8).value() == 8);
  n = 0;
  CHECK(sys.read(again, &n, 8).value() == 8);
  CHECK(n == 3);
  CHECK(sys.read(again, &n, 8).error() == errc::again);
  CHECK(sys.pwrite(m.device, &n, 8, 0x10).value() == 8);
  CHECK(sys.pread(m.device, &n, 8, 0x10).value() == 8);
  CHECK(sys.ioctl(m.device, VFIO_DEVICE_RESET, 0).value() == 0);
  void* const bar = sys.mmap(bar_size, both, m.device, 0).value();
  CHECK(m.task.mappings() == 1);
  CHECK(sys.munmap(bar, 0) == errc::inval);
  CHECK(sys.munmap(bar, bar_size) == errc::ok);
  CHECK(sys.close(again) == errc::ok);
  CHECK(sys.close(again) == errc::badf);
}

TEST_CASE("a handle of a process reports errors") {
  machine_under_test<> m;
  const sim::process_ref sys(m.task);
  CHECK(sys.open(nullptr, O_RDWR).error() == errc::fault);
  CHECK(sys.open("/dev/nothing", O_RDWR).error() == errc::noent);
  const int group = sys.open("/dev/vfio/1", O_RDWR).value();
  vfio_group_status status{};
  status.argsz = sizeof status;
  const auto address = reinterpret_cast<std::uintptr_t>(&status);
  CHECK(sys.ioctl(group, VFIO_GROUP_GET_STATUS, address));
  m.memory.forbid(&status, sizeof status);
  CHECK(sys.ioctl(group, VFIO_GROUP_GET_STATUS, address).error() == errc::fault);
  m.task.limit(1);
  CHECK(sys.open("/dev/kvm", O_RDWR).error() == errc::mfile);
  CHECK(sys.eventfd().error() == errc::mfile);
  CHECK(sys.dup(group).error() == errc::mfile);
  m.task.limit(2);
  CHECK(sys.dup(group).error() == errc::mfile);  // no number from 3 on
  m.task.limit(4);
  CHECK(sys.dup(group).value() == 3);
}

TEST_CASE("a handle without a process refuses every call") {
  const sim::process_ref none;
  CHECK(none.open("/dev/kvm", O_RDWR).error() == errc::nosys);
  CHECK(none.close(0) == errc::badf);
  CHECK(none.dup(0).error() == errc::badf);
  CHECK(none.ioctl(0, 0, 0).error() == errc::badf);
  CHECK(none.read(0, nullptr, 0).error() == errc::badf);
  CHECK(none.write(0, nullptr, 0).error() == errc::badf);
  CHECK(none.pread(0, nullptr, 0, 0).error() == errc::badf);
  CHECK(none.pwrite(0, nullptr, 0, 0).error() == errc::badf);
  CHECK(none.mmap(1, both, 0, 0).error() == errc::badf);
  CHECK(none.munmap(nullptr, 1) == errc::nosys);
  CHECK(none.eventfd().error() == errc::nosys);
}

TEST_CASE("a handle of a process opens with O_CLOEXEC, and answers ENOMEM without memory") {
  struct no_memory final : sim::filesystem {
    int seen = 0;
    kvm_vfio::result<sim::file*> open(const char*, int flags) override {
      seen = flags;
      throw std::bad_alloc();
    }
  } files;
  sim::memory memory;
  sim::process task(files, memory);
  CHECK(sim::process_ref(task).open("/dev/kvm", O_RDONLY).error() == errc::nomem);
  CHECK(files.seen == (O_RDONLY | O_CLOEXEC));
}

TEST_CASE("a watched system tells what the process itself tells") {
  opened m;
  trace::timeline inside;
  trace::timeline outside;
  m.task.observe(inside);
  const trace::watched_system sys(sim::process_ref(m.task), outside, m.task.address_space());
  const auto copy = sys;
  const int event = copy.eventfd().value();
  const int again = sys.dup(event).value();
  std::uint64_t n = 3;
  CHECK(sys.write(event, &n, 8).value() == 8);
  CHECK(sys.read(again, &n, 8).value() == 8);
  CHECK(sys.pwrite(m.device, &n, 8, 0x10).value() == 8);
  CHECK(sys.pread(m.device, &n, 8, 0x10).value() == 8);
  CHECK(
      sys.ioctl(m.group, VFIO_GROUP_GET_DEVICE_FD, reinterpret_cast<std::uintptr_t>(device_name)));
  void* const bar = sys.mmap(bar_size, both, m.device, 0).value();
  CHECK(sys.munmap(bar, bar_size) == errc::ok);
  m.task.fail({.kind = call_kind::open, .error = errc::io});
  CHECK(sys.open("/dev/kvm", O_RDWR).error() == errc::io);
  CHECK(sys.open("/dev/kvm", O_RDWR));
  CHECK(sys.close(event) == errc::ok);
  CHECK(sys.close(event) == errc::badf);
  REQUIRE(outside.calls().size() == 13);
  CHECK(outside.text() == inside.text());
  for (std::size_t i = 0; i < 13; ++i) {
    const trace::call a = outside.calls()[i];
    const trace::call b = inside.calls()[i];
    INFO(i);
    CHECK(a.kind == b.kind);
    CHECK(a.process == b.process);
    CHECK(a.size == b.size);
    CHECK(a.argument == b.argument);
    CHECK(a.made == b.made);
  }
  const trace::watched_system<sim::process_ref> none;
  CHECK(none.open("/dev/kvm", O_RDWR).error() == errc::nosys);
}

TEST_CASE("an observer that throws does not change the answer") {
  struct throwing final : trace::call_observer {
    bool no_memory = true;
    void called(const trace::call&) override {
      if (no_memory) throw std::bad_alloc();
      throw std::runtime_error("an error of the observer");
    }
  } observer;
  machine_under_test<> m;
  const trace::watched_system sys(sim::process_ref(m.task), observer);
  CHECK(sys.open("/dev/kvm", O_RDWR).value() == 0);
  observer.no_memory = false;
  CHECK(sys.open("/dev/kvm", O_RDWR).value() == 1);
  CHECK(sys.close(0) == errc::ok);
  observer.no_memory = true;
  m.task.observe(observer);
  CHECK(m.task.open("/dev/kvm").value() == 0);
  CHECK(m.task.close(0));
  CHECK(m.task.open("/dev/kvm").value() == 0);
  m.task.exit();
  CHECK(m.task.descriptors() == 0);
}
