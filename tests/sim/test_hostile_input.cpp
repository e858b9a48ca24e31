// SPDX-License-Identifier: BSL-1.0
// Input that no careful program gives: bad addresses, ranges at the ends of the address space, and
// names that are no text. The answers are those of Linux, and nothing crashes or hangs.
#include "support/catch.hpp"
#include "watched.hpp"

#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>
#include <kvm_vfio/trace/timeline.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace u = kvm_vfio::uapi;

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t last_page = ~std::uint64_t{0} - page + 1;

struct with_ioas : machine_under_test<> {
  with_ioas() : fd(open("/dev/iommu")) {
    u::iommu_ioas_alloc alloc{};
    alloc.size = sizeof alloc;
    REQUIRE(ioctl_at(fd, u::request_ioas_alloc, alloc) == errc::ok);
    ioas = alloc.out_ioas_id;
  }
  errc map(std::uint64_t iova, std::uint64_t size, std::uint32_t flags = u::map_fixed_iova,
           std::uint64_t address = 0x100000) {
    u::iommu_ioas_map map{};
    map.size = sizeof map;
    map.flags = flags | u::map_readable;
    map.ioas_id = ioas;
    map.user_va = address;
    map.length = size;
    map.iova = iova;
    const errc e = ioctl_at(fd, u::request_ioas_map, map);
    found = map.iova;
    return e;
  }
  errc unmap(std::uint64_t iova, std::uint64_t size) {
    u::iommu_ioas_unmap unmap{};
    unmap.size = sizeof unmap;
    unmap.ioas_id = ioas;
    unmap.iova = iova;
    unmap.length = size;
    return ioctl_at(fd, u::request_ioas_unmap, unmap);
  }
  int fd;
  std::uint32_t ioas = 0;
  std::uint64_t found = 0;
};

}  // namespace

TEST_CASE("mappings at both ends of the address space: iommufd finds an address between them") {
  with_ioas m;
  REQUIRE(m.map(0, page) == errc::ok);
  REQUIRE(m.map(last_page, page) == errc::ok);
  CHECK(m.map(0, page, 0) == errc::ok);
  CHECK(m.found == page);
  CHECK(m.map(0, page, 0) == errc::ok);
  CHECK(m.found == 2 * page);
  CHECK(m.unmap(last_page, page) == errc::ok);
  CHECK(m.unmap(0, ~std::uint64_t{0}) == errc::ok);
}

TEST_CASE("no address is free: iommufd's search ends at the end of the address space") {
  with_ioas m;
  constexpr std::uint64_t half = std::uint64_t{1} << 63;
  REQUIRE(m.map(page, half - page) == errc::ok);
  REQUIRE(m.map(half, half - 2 * page) == errc::ok);
  REQUIRE(m.map(last_page, page) == errc::ok);
  CHECK(m.map(0, page, 0) == errc::ok);
  CHECK(m.found == last_page - page);
  for (const std::uint64_t size : {page, 2 * page, half / 2, half / 4 + page})
    CHECK(m.map(0, size, 0) == errc::nospc);
  CHECK(m.map(0, half, 0) == errc::overflow);
}

TEST_CASE("ranges that end with the last address are mapped, cut and unmapped") {
  machine_under_test<> m;
  int container = -1;
  SECTION("type 1") {
    REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
    // The aperture of the IOMMU ends before that.
    CHECK(map_dma(m, container, last_page, page) == errc::inval);
    CHECK(map_dma(m, container, last_page, 2 * page) == errc::overflow);
    CHECK(unmap_dma(m, container, last_page, page) == errc::ok);
    CHECK(unmap_dma(m, container, last_page, 2 * page) == errc::overflow);
    CHECK(unmap_dma(m, container, 0, 0, u::dma_unmap_all) == errc::ok);
  }
  SECTION("an iommufd as a container") {
    container = m.open("/dev/iommu");
    const int g = m.open("/dev/vfio/1");
    REQUIRE(m.set_container(g, container) == errc::ok);
    REQUIRE(m.set_iommu(container, VFIO_TYPE1_IOMMU) == errc::ok);
    vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                                 .flags = VFIO_DMA_MAP_FLAG_READ,
                                 .vaddr = 0x10000,
                                 .iova = last_page - 2 * page,
                                 .size = 3 * page};
    REQUIRE(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
    CHECK(unmap_dma(m, container, last_page - page, page) == errc::ok);
    CHECK(m.kernel.look().iommufds.at(0).spaces.at(0).mappings.size() == 2);
    CHECK(unmap_dma(m, container, last_page, page) == errc::ok);
    CHECK(unmap_dma(m, container, 0, 0, u::dma_unmap_all) == errc::ok);
    CHECK(m.kernel.look().iommufds.at(0).spaces.at(0).mappings.empty());
  }
}

TEST_CASE("a mapping whose memory wraps around the address space is EOVERFLOW") {
  with_ioas m;
  CHECK(m.map(0x10000, 2 * page, u::map_fixed_iova, last_page) == errc::overflow);
  CHECK(m.map(0, 2 * page, 0, last_page) == errc::overflow);
  CHECK(m.kernel.look().iommufds.at(0).spaces.at(0).mappings.empty());
}

TEST_CASE("a path that cannot be read is EFAULT, and one that is too long ENAMETOOLONG") {
  machine_under_test<> m;
  CHECK(m.task.open(nullptr).error() == errc::fault);
  CHECK(m.kernel.open(nullptr, 0).error() == errc::fault);
  CHECK(m.world.open(nullptr, 0).error() == errc::fault);
  const std::string hidden = "/dev/vfio/vfio";
  m.memory.forbid(hidden.data(), hidden.size());
  CHECK(m.task.open(hidden.c_str()).error() == errc::fault);
  const std::string longest(4096, 'x');
  CHECK(m.task.open(longest.c_str()).error() == errc::nametoolong);
  CHECK(m.task.open(longest.c_str() + 1).error() == errc::noent);
  CHECK(m.task.open("").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/007").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/devices/vfio00").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/99999999999").error() == errc::noent);
}

TEST_CASE("a folder that is opened for writing is EISDIR") {
  machine_under_test<> m;
  machine_under_test<kvm_vfio::linux_6_1> old;
  const struct {
    const char* path;
    int flags;
    errc now, before;  // in 7.3; in 6.1, which has no device files
  } rows[] = {
      {"/", O_RDWR, errc::isdir, errc::isdir},
      {"///", O_WRONLY, errc::isdir, errc::isdir},
      {"/dev", O_RDWR, errc::isdir, errc::isdir},
      {"/dev/", O_RDWR, errc::isdir, errc::isdir},
      {"/dev/vfio", O_WRONLY, errc::isdir, errc::isdir},
      {"/dev/vfio/", O_RDWR, errc::isdir, errc::isdir},
      {"/dev/vfio/", O_RDONLY, errc::noent, errc::noent},  // a world has no file for it
      {"/dev/vfio/", O_RDWR | O_PATH, errc::noent, errc::noent},
      {"/dev/vfio/devices", O_RDWR, errc::isdir, errc::noent},
      {"/dev/vfio/devices//", O_RDWR, errc::isdir, errc::noent},
      {"/dev/vfio/vfio/", O_RDWR, errc::notdir, errc::notdir},
      {"/dev/kvm/x", O_RDWR, errc::notdir, errc::notdir},
      {"/dev/kvmx", O_RDWR, errc::noent, errc::noent},
      {"/dev/vfio/77", O_RDWR, errc::noent, errc::noent},
      {"/dev/vfio/77/", O_RDWR, errc::noent, errc::noent},
      {"dev", O_RDWR, errc::noent, errc::noent},
      {"", O_RDWR, errc::noent, errc::noent},
  };
  for (const auto& r : rows) {
    INFO(r.path);
    CHECK(m.task.open(r.path, r.flags).error() == r.now);
    CHECK(old.task.open(r.path, r.flags).error() == r.before);
  }
}

TEST_CASE("buffers of read, write, pread and pwrite are in the memory of the process") {
  machine_under_test<> m;
  const int d = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  const int event = static_cast<int>(m.task.eventfd().value());
  const int container = m.open("/dev/vfio/vfio");
  sim::kernel<kvm_vfio::linux_6_1> old(two_groups());
  sim::process of_old(old, m.memory);
  const int old_event = static_cast<int>(of_old.eventfd().value());
  static std::uint64_t hidden[2], read_only[2];
  m.memory.forbid(hidden, sizeof hidden);
  m.memory.forbid(read_only, sizeof read_only, /*readable=*/true);
  for (void* const at : {static_cast<void*>(hidden), static_cast<void*>(nullptr)}) {
    CHECK(m.task.pread(d, at, 8, 0).error() == errc::fault);
    CHECK(m.task.pwrite(d, at, 8, 0).error() == errc::fault);
    CHECK(m.task.read(d, at, 8).error() == errc::fault);
    CHECK(m.task.write(d, at, 8).error() == errc::fault);
    CHECK(m.task.write(event, at, 8).error() == errc::fault);
    CHECK(m.task.write(event, at, 4).error() == errc::inval);
    CHECK(m.task.write(event, at, 16).error() == errc::inval);
    CHECK(of_old.write(old_event, at, 16).error() == errc::fault);
    CHECK(m.task.write(container, at, 8).error() == errc::inval);
    CHECK(m.task.read(container, at, 8).error() == errc::inval);
    CHECK(m.task.pread(d, at, 0, 0) == 0);
  }
  std::uint64_t one = 1;
  REQUIRE(m.task.write(event, &one, 8));
  CHECK(m.task.read(event, read_only, 8).error() == errc::fault);
  CHECK(m.task.pread(d, read_only, 8, 0).error() == errc::fault);
  CHECK(m.task.pwrite(d, read_only, 8, 0) == 8);
  // A failed read or write does not move the position of the file.
  std::uint64_t words[17] = {};  // the first 16 are the table of MSI-X, which cannot be read
  words[16] = 7;
  CHECK(m.task.write(d, words, sizeof words) == 136);
  std::uint64_t number = 0;
  CHECK(m.task.pread(d, &number, 8, 128) == 8);
  CHECK(number == 7);
}

TEST_CASE("a name that is no UTF-8 is valid JSON in a snapshot") {
  using sim::detail::in_quotes;
  CHECK(in_quotes("a\xffz") == "\"a\xef\xbf\xbdz\"");
  CHECK(in_quotes("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"");
  // Too short, too long, a surrogate, and a number that is too large.
  for (const std::string_view s : {"\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                                   "\xf4\x90\x80\x80", "\xe2\x82", "\xf8\x88\x80\x80\x80"})
    CHECK(in_quotes(s).find_first_not_of("\"\xef\xbf\xbd") == std::string::npos);
  sim::snapshot s;
  s.release = "7\xff";
  s.vms.push_back({});
  s.vms.back().name = "\x80\"";
  CHECK(sim::to_json(s).find("\"\xef\xbf\xbd\\\"\"") != std::string::npos);
}

namespace {
// A page that is not mapped in this program, at an address that a program can have.
std::uintptr_t unmapped_page() {
  void* const at = ::mmap(nullptr, 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(at != MAP_FAILED);
  return reinterpret_cast<std::uintptr_t>(at);
}
constexpr std::uint32_t decoded[] = {
    KVM_SET_DEVICE_ATTR,          KVM_CREATE_DEVICE,    VFIO_GROUP_SET_CONTAINER,
    VFIO_GROUP_GET_DEVICE_FD,     VFIO_DEVICE_SET_IRQS, VFIO_IOMMU_GET_INFO,
    VFIO_IOMMU_MAP_DMA,           VFIO_IOMMU_UNMAP_DMA, u::request_bind_iommufd,
    u::request_attach_iommufd_pt, u::request_ioas_map,  u::request_ioas_unmap,
    u::request_ioas_iova_ranges};

// A system that looks at no argument, as the kernel does for a wrong descriptor.
struct refusing_system : sim::process_ref {
  [[nodiscard]] kvm_vfio::result<int> open(const char*, int) const noexcept { return errc::fault; }
  [[nodiscard]] kvm_vfio::result<int> ioctl(int, unsigned long, std::uintptr_t) const noexcept {
    return refuse ? kvm_vfio::result<int>(errc::badf) : kvm_vfio::result<int>(0);
  }
  bool refuse = true;
};
}  // namespace

TEST_CASE("an observer does not crash at an argument that the call itself does not read") {
  const std::uintptr_t wild = unmapped_page();
  trace::timeline all;
  trace::checker check;
  SECTION("a simulated process") {
    machine_under_test<> m;
    m.task.observe(all);
    m.task.observe(check);
    for (const std::uint32_t request : decoded)
      CHECK(m.task.ioctl(77, request, wild).error() == errc::badf);
    // The argument ends at the end of the memory, or its pointer is wild.
    const kvm_device_attr attr{.flags = 0, .group = 1, .attr = 1, .addr = wild};
    CHECK(m.task.ioctl(77, KVM_SET_DEVICE_ATTR, support::address_of(attr)).error() == errc::badf);
  }
  SECTION("a watched system") {
    refusing_system system;
    for (const bool refuse : {true, false}) {
      system.refuse = refuse;
      const trace::watched_system<refusing_system> watched(system, all);
      for (const std::uint32_t request : decoded)
        CHECK(watched.ioctl(5, request, wild).error() == (refuse ? errc::badf : errc::ok));
      CHECK(watched.open(reinterpret_cast<const char*>(wild), 0).error() == errc::fault);
      CHECK(watched.open(nullptr, 0).error() == errc::fault);
    }
  }
  CHECK(all.size() >= std::size(decoded));
  CHECK_FALSE(all.text().empty());
  ::munmap(reinterpret_cast<void*>(wild), 2 * page);
}

TEST_CASE("an observer sees the arguments of a watched system, also behind a seccomp filter") {
  trace::memory memory;
  std::string text;
  CHECK(trace::peek_string(memory, reinterpret_cast<std::uintptr_t>("/dev/kvm"), text) == errc::ok);
  CHECK(text == "/dev/kvm");
  const std::uint64_t number = 42;
  std::uint64_t seen = 0;
  CHECK(memory.peek(support::address_of(number), &seen, sizeof seen));
  CHECK(seen == 42);
  CHECK_FALSE(memory.peek(8, &seen, sizeof seen));
  CHECK_FALSE(memory.peek(~std::uint64_t{0} - 3, &seen, sizeof seen));
}
