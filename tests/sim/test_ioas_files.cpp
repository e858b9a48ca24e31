// SPDX-License-Identifier: BSL-1.0
// IOMMU_IOAS_MAP_FILE: memory of files that is mapped for DMA, its errors, and how it is counted.
// IOMMU_IOAS_CHANGE_PROCESS: the process that is charged for it.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

namespace u = kvm_vfio::uapi;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t base = 0x100000;
constexpr std::uint64_t last_number = ~std::uint64_t{0};
constexpr std::uint64_t in_file = 16 * page;  // the size of the file
constexpr std::uint32_t both = u::map_readable | u::map_writeable;

/// An iommufd with an address space, and a file in memory.
template <class Profile = kvm_vfio::linux_7_3>
struct with_file_of : machine_under_test<Profile> {
  using machine = machine_under_test<Profile>;
  static sim::topology host() {
    sim::topology t = two_groups();
    t.groups[1].devices.pop_back();
    return t;
  }
  with_file_of() : machine(host()) {
    REQUIRE(machine::alloc_ioas(iommufd) == space);
    memory_file = new sim::memory_file(in_file);
    fd = static_cast<int>(*machine::task.insert(sim::file_ref(memory_file)));
  }

  /// The struct that maps two pages of the file, from its second page on, at a fixed address.
  [[nodiscard]] u::iommu_ioas_map_file request() const {
    u::iommu_ioas_map_file c{};
    c.size = sizeof c;
    c.flags = both | u::map_fixed_iova;
    c.ioas_id = space;
    c.fd = fd;
    c.start = page;
    c.length = 2 * page;
    c.iova = base;
    return c;
  }
  errc map(u::iommu_ioas_map_file& c) {
    return machine::ioctl_at(iommufd, u::request_ioas_map_file, c);
  }
  errc map(std::uint64_t at, std::uint64_t start, std::uint64_t pages) {
    u::iommu_ioas_map_file c = request();
    c.iova = base + at * page;
    c.start = start * page;
    c.length = pages * page;
    return map(c);
  }
  errc unmap(std::uint64_t at, std::uint64_t pages) {
    u::iommu_ioas_unmap c{};
    c.size = sizeof c;
    c.ioas_id = space;
    c.iova = base + at * page;
    c.length = pages * page;
    return machine::ioctl_at(iommufd, u::request_ioas_unmap, c);
  }
  errc change_process(sim::process& caller, std::uint32_t reserved = 0) {
    u::iommu_ioas_change_process c{.size = sizeof c, .reserved = reserved};
    return caller
        .ioctl(iommufd, u::request_ioas_change_process, reinterpret_cast<std::uintptr_t>(&c))
        .error();
  }

  static constexpr std::uint32_t space = 1;
  int iommufd = machine::open("/dev/iommu");
  sim::memory_file* memory_file = nullptr;
  int fd = -1;
};
using with_file = with_file_of<>;

}  // namespace

TEST_CASE("IOAS_MAP_FILE maps memory of a file, and UNMAP takes it away") {
  with_file m;
  REQUIRE(m.bound("/dev/vfio/devices/vfio0", m.iommufd) >= 0);
  CHECK(m.map(0, 1, 2) == errc::ok);
  const sim::snapshot now = m.kernel.look();
  const sim::mapping_state& mapped = now.iommufds[0].spaces[0].mappings[0];
  CHECK(mapped.iova == base);
  CHECK(mapped.size == 2 * page);
  CHECK(mapped.address == page);
  CHECK(mapped.of_file);
  CHECK(to_text(now).find("0x100000 to 0x101fff: memory of a file from 0x1000") !=
        std::string::npos);
  CHECK(to_json(now).find("\"of_file\":true") != std::string::npos);
  CHECK(m.unmap(0, 1) == errc::noent);
  CHECK(m.unmap(0, 2) == errc::ok);
  CHECK(m.unmap(0, 2) == errc::noent);
}

TEST_CASE("iommufd chooses an address for memory of a file as for other memory") {
  with_file m;
  u::iommu_ioas_map_file c = m.request();
  c.flags = u::map_readable;
  REQUIRE(m.map(c) == errc::ok);
  CHECK(c.iova == page);  // the offset is aligned to a page only
  c.start = 0;
  REQUIRE(m.map(c) == errc::ok);
  CHECK(c.iova == 4 * page);  // aligned to the size
  c.start = 0x123;
  c.length = 5;
  REQUIRE(m.map(c) == errc::ok);
  CHECK(c.iova % page == 0x123);
}

TEST_CASE("IOAS_MAP_FILE checks its struct in the order of the kernel") {
  struct wrong {
    const char* what;
    errc expected;
    void (*change)(u::iommu_ioas_map_file&);
  };
  // Each line keeps the mistake of the line before it, which then comes later.
  const wrong lines[] = {
      {"no error", errc::ok, [](u::iommu_ioas_map_file&) {}},
      {"the addresses are mapped", errc::exists, [](u::iommu_ioas_map_file&) {}},
      {"the length is nearly the largest", errc::inval,
       [](u::iommu_ioas_map_file& c) {
         c.start = 0;
         c.length = last_number - 1;
       }},
      {"the descriptor is not open", errc::badf, [](u::iommu_ioas_map_file& c) { c.fd = 99; }},
      {"a negative descriptor", errc::badf, [](u::iommu_ioas_map_file& c) { c.fd = -1; }},
      {"offset and length wrap around", errc::overflow,
       [](u::iommu_ioas_map_file& c) {
         c.start = last_number - page + 2;
         c.length = page;
       }},
      {"length 0", errc::inval, [](u::iommu_ioas_map_file& c) { c.length = 0; }},
      {"no address space", errc::noent, [](u::iommu_ioas_map_file& c) { c.ioas_id = 77; }},
      {"no access", errc::inval, [](u::iommu_ioas_map_file& c) { c.flags = u::map_fixed_iova; }},
      {"the last number as the length", errc::overflow,
       [](u::iommu_ioas_map_file& c) { c.length = last_number; }},
      {"the last number as the address", errc::overflow,
       [](u::iommu_ioas_map_file& c) {
         c.length = page;
         c.iova = last_number;
       }},
      {"an unknown flag", errc::opnotsupp, [](u::iommu_ioas_map_file& c) { c.flags = 8; }},
      {"a short struct", errc::inval, [](u::iommu_ioas_map_file& c) { c.size = 39; }},
  };
  with_file m;
  u::iommu_ioas_map_file c = m.request();
  for (const wrong& w : lines) {
    INFO(w.what);
    w.change(c);
    CHECK(m.map(c) == w.expected);
  }
  struct longer {
    u::iommu_ioas_map_file c;
    std::uint64_t rest;
  } large{.c = m.request(), .rest = 1};
  large.c.size = sizeof large;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_map_file, large) == errc::toobig);
  large.rest = 0;
  large.c.iova = base + 8 * page;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_map_file, large) == errc::ok);
}

TEST_CASE("a page table needs whole pages of a file in memory") {
  struct part {
    const char* what;
    std::uint64_t start, length;
    errc expected;
  };
  const part parts[] = {
      {"the whole file", 0, in_file, errc::ok},
      {"the last page", in_file - page, page, errc::ok},
      {"a page behind the end", in_file, page, errc::inval},
      {"a page over the end", in_file - page, 2 * page, errc::inval},
      {"an offset that is negative for the kernel", last_number - 2 * page + 1, page, errc::inval},
      {"an offset within a page", 0x10, page, errc::inval},
  };
  for (const part& p : parts) {
    INFO(p.what);
    with_file m;
    u::iommu_ioas_map_file c = m.request();
    c.start = p.start;
    c.length = p.length;
    const int device = m.bound("/dev/vfio/devices/vfio0", m.iommufd);
    REQUIRE(m.attach(device, m.space) == errc::ok);
    CHECK(m.map(c) == p.expected);
    // Without a page table nothing looks at the file, and ATTACH does so later.
    u::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
    REQUIRE(m.ioctl_at(device, u::request_detach_iommufd_pt, detach) == errc::ok);
    if (p.expected == errc::ok) continue;
    CHECK(m.map(c) == errc::ok);
    CHECK(m.attach(device, m.space) == (p.start % page != 0 ? errc::addrinuse : errc::inval));
  }
}

TEST_CASE("a file whose last page is not whole cannot be mapped up to its end") {
  with_file m;
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", m.iommufd), m.space) == errc::ok);
  m.memory_file->resize(in_file - 1);
  CHECK(m.map(0, 0, 16) == errc::inval);
  CHECK(m.map(0, 0, 15) == errc::ok);
}

TEST_CASE("a file that becomes shorter keeps the memory that is pinned") {
  with_file m;
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", m.iommufd), m.space) == errc::ok);
  REQUIRE(m.map(0, 0, 2) == errc::ok);
  m.memory_file->resize(0);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio1", m.iommufd), m.space) == errc::ok);
  CHECK(m.map(4, 0, 2) == errc::inval);
}

TEST_CASE("every open file can be mapped until a page table translates it") {
  with_file m;
  const int event = static_cast<int>(*m.task.eventfd());
  u::iommu_ioas_map_file c = m.request();
  c.fd = event;
  CHECK(m.map(c) == errc::ok);
  const int device = m.bound("/dev/vfio/devices/vfio0", m.iommufd);
  CHECK(m.attach(device, m.space) == errc::inval);
  CHECK(m.unmap(0, 2) == errc::ok);
  CHECK(m.attach(device, m.space) == errc::ok);
  CHECK(m.map(c) == errc::inval);
  c.fd = static_cast<int>(*m.task.open("/dev/vfio/vfio", O_PATH));
  CHECK(m.map(c) == errc::badf);
}

TEST_CASE("a mapping keeps its file open") {
  with_file m;
  const int group = m.open("/dev/vfio/1");
  u::iommu_ioas_map_file c = m.request();
  c.fd = group;
  REQUIRE(m.map(c) == errc::ok);
  REQUIRE(m.task.close(group));
  CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
  SECTION("until UNMAP") { REQUIRE(m.unmap(0, 2) == errc::ok); }
  SECTION("until DESTROY") {
    u::iommu_destroy d{.size = sizeof d, .id = m.space};
    REQUIRE(m.ioctl_at(m.iommufd, u::request_destroy, d) == errc::ok);
  }
  SECTION("until the iommufd is closed") { REQUIRE(m.task.close(m.iommufd)); }
  CHECK(m.task.open("/dev/vfio/1"));
}

namespace {

/// A file that opens a group when it is released.
class opens_group final : public sim::file {
 public:
  opens_group(sim::world& in, errc& answer) noexcept
      : file(sim::file_kind::other), world_(in), answer_(answer) {}
  [[nodiscard]] const char* name() const noexcept override { return "opens a group"; }

 private:
  void release() noexcept override {
    const auto group = world_.open("/dev/vfio/1", O_RDWR);
    answer_ = group.error();
    if (group) (*group)->put();
  }
  sim::world& world_;
  errc& answer_;
};

}  // namespace

TEST_CASE("a file is released when all of the call that ended its last mapping is done") {
  with_file m;
  errc answer = errc::io;
  u::iommu_ioas_map_file c = m.request();
  c.fd = static_cast<int>(*m.task.insert(sim::file_ref(new opens_group(m.world, answer))));
  REQUIRE(m.map(c) == errc::ok);
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.iommufd) == errc::ok);
  REQUIRE(m.task.close(c.fd));
  REQUIRE(m.task.close(m.iommufd));
  REQUIRE(m.task.close(group));  // the group has the iommufd, and the iommufd has the file
  CHECK(answer == errc::ok);
}

TEST_CASE("a copy of memory of a file keeps the file, and keeps what may be written") {
  with_file m;
  const int group = m.open("/dev/vfio/1");
  u::iommu_ioas_map_file map = m.request();
  map.fd = group;
  map.flags = u::map_readable | u::map_fixed_iova;
  REQUIRE(m.map(map) == errc::ok);
  u::iommu_ioas_copy c{};
  c.size = sizeof c;
  c.flags = both | u::map_fixed_iova;
  c.dst_ioas_id = c.src_ioas_id = m.space;
  c.length = page;
  c.src_iova = base + page;
  c.dst_iova = base + 8 * page;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_copy, c) == errc::perm);
  c.flags = u::map_readable | u::map_fixed_iova;
  CHECK(m.ioctl_at(m.iommufd, u::request_ioas_copy, c) == errc::ok);
  CHECK(m.kernel.look().iommufds[0].spaces[0].mappings[1].address == 2 * page);
  REQUIRE(m.task.close(group));
  REQUIRE(m.unmap(0, 2) == errc::ok);
  CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
  REQUIRE(m.unmap(8, 1) == errc::ok);
  CHECK(m.task.open("/dev/vfio/1"));
}

TEST_CASE("memory of files counts as locked") {
  with_file m;
  m.task.memory_lock_limit(8 * page);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", m.iommufd), m.space) == errc::ok);
  CHECK(m.map(0, 0, 9) == errc::nomem);
  CHECK(m.map(0, 0, 8) == errc::ok);
  CHECK(m.map(8, 0, 1) == errc::nomem);
  CHECK(m.unmap(0, 8) == errc::ok);
  CHECK(m.map(8, 0, 1) == errc::ok);
}

TEST_CASE("CHANGE_PROCESS charges the caller for the memory of files") {
  with_file m;
  sim::process other(m.kernel, m.memory, 2);
  m.task.fork_into(other);
  m.task.memory_lock_limit(8 * page);
  REQUIRE(m.attach(m.bound("/dev/vfio/devices/vfio0", m.iommufd), m.space) == errc::ok);
  REQUIRE(m.map(0, 0, 8) == errc::ok);
  SECTION("the memory counts twice for a moment if the user is the same") {
    other.memory_lock_limit(15 * page);
    CHECK(m.change_process(other) == errc::nomem);
    other.memory_lock_limit(16 * page);
    CHECK(m.change_process(other) == errc::ok);
    CHECK(m.change_process(other) == errc::ok);  // nothing to charge any more
  }
  SECTION("the user of a mapping is the one who made it") {
    m.task.user(1000);
    other.memory_lock_limit(7 * page);
    CHECK(m.change_process(other) == errc::nomem);  // user 0 has 8 pages already
    CHECK(m.map(8, 0, 9) == errc::nomem);
    CHECK(m.map(8, 0, 8) == errc::ok);
  }
  SECTION("another user") {
    other.user(1000);
    other.memory_lock_limit(7 * page);
    CHECK(m.change_process(other) == errc::nomem);
    CHECK(m.map(8, 0, 1) == errc::nomem);  // the first process is still charged
    other.memory_lock_limit(8 * page);
    CHECK(m.change_process(other) == errc::ok);
    CHECK(m.map(8, 0, 8) == errc::ok);
  }
  SECTION("memory that no page table translates is not charged") {
    other.user(1000);
    other.memory_lock_limit(0);
    REQUIRE(m.unmap(0, 8) == errc::ok);
    const std::uint32_t second = m.alloc_ioas(m.iommufd);
    u::iommu_ioas_map_file c = m.request();
    c.ioas_id = second;
    REQUIRE(m.map(c) == errc::ok);
    CHECK(m.change_process(other) == errc::ok);
  }
}

TEST_CASE("CHANGE_PROCESS refuses other memory than that of files") {
  with_file m;
  CHECK(m.change_process(m.task) == errc::ok);
  CHECK(m.change_process(m.task, 1) == errc::opnotsupp);
  u::iommu_ioas_map c{};
  c.size = sizeof c;
  c.flags = u::map_readable;
  c.ioas_id = m.alloc_ioas(m.iommufd);
  c.user_va = 0x10000000;
  c.length = page;
  REQUIRE(m.ioctl_at(m.iommufd, u::request_ioas_map, c) == errc::ok);
  CHECK(m.change_process(m.task) == errc::inval);
}

TEST_CASE("Linux 6.12 maps no files") {
  with_file_of<kvm_vfio::linux_6_12> m;
  CHECK(m.map(0, 0, 1) == errc::notty);
  CHECK(m.change_process(m.task) == errc::notty);
}

TEST_CASE("CHANGE_PROCESS succeeds after the end of the process, but not in its answer") {
  with_file m;
  const bool process = GENERATE(false, true);
  if (process) {
    u::iommu_option c{};
    c.size = sizeof c;
    c.option_id = u::option_rlimit_mode;
    c.op = u::option_set;
    c.val64 = 1;
    m.iommufd = m.open("/dev/iommu");
    REQUIRE(m.ioctl_at(m.iommufd, u::request_option, c) == errc::ok);
    REQUIRE(m.alloc_ioas(m.iommufd) == m.space);
  }
  {
    sim::process child(m.kernel, m.memory, 2);
    m.task.fork_into(child);
    u::iommu_ioas_map_file c = m.request();
    REQUIRE(child.ioctl(m.iommufd, u::request_ioas_map_file, reinterpret_cast<std::uintptr_t>(&c)));
  }
  // Linux cannot discharge a process that has ended. A user remains.
  CHECK(m.change_process(m.task) == (process ? errc::inval : errc::ok));
  CHECK(m.change_process(m.task) == errc::ok);
}
