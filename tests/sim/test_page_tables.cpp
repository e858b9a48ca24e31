// SPDX-License-Identifier: BSL-1.0
// IOMMU_HWPT_ALLOC with flags and data, and what an iommufd answers to the requests for dirty
// pages, faults and virtual IOMMUs.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

namespace u = kvm_vfio::uapi;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t last_number = ~std::uint64_t{0};

/// A bound device, an address space and a page table.
template <class Profile = kvm_vfio::linux_7_3>
struct with_table : machine_under_test<Profile> {
  using machine = machine_under_test<Profile>;
  static sim::topology host(const char* iommu) {
    sim::topology t = two_groups();
    t.iommus[0].name = iommu;
    for (sim::group_spec& g : t.groups) g.iommu = iommu;
    return t;
  }
  explicit with_table(const char* iommu = "dmar0") : machine(host(iommu)) {
    u::device_bind_iommufd b{};
    b.argsz = sizeof b;
    b.iommufd = iommufd;
    REQUIRE(machine::ioctl_at(device, u::request_bind_iommufd, b) == errc::ok);
    id = b.out_devid;
    space = machine::alloc_ioas(iommufd);
    u::iommu_hwpt_alloc c = request();
    REQUIRE(alloc(c) == errc::ok);
    table = c.out_hwpt_id;
  }

  [[nodiscard]] u::iommu_hwpt_alloc request() const {
    u::iommu_hwpt_alloc c{};
    c.size = sizeof c;
    c.dev_id = id;
    c.pt_id = space;
    return c;
  }
  errc alloc(u::iommu_hwpt_alloc& c) {
    return machine::ioctl_at(iommufd, u::request_hwpt_alloc, c);
  }
  /// IOMMU_HWPT_ALLOC with these members.
  errc alloc(std::uint32_t flags, std::uint32_t data_type, std::uint32_t data_len,
             std::uint32_t pt) {
    u::iommu_hwpt_alloc c = request();
    c.flags = flags;
    c.data_type = data_type;
    c.data_len = data_len;
    c.pt_id = pt;
    return alloc(c);
  }
  template <class T>
  errc ask(std::uint32_t what, T c) {
    return machine::ioctl_at(iommufd, what, c);
  }
  errc destroy(std::uint32_t object) {
    u::iommu_destroy d{.size = sizeof d, .id = object};
    return machine::ioctl_at(iommufd, u::request_destroy, d);
  }

  int iommufd = machine::open("/dev/iommu");
  int device = machine::open("/dev/vfio/devices/vfio0");
  std::uint32_t id = 0;
  std::uint32_t space = 0;
  std::uint32_t table = 0;
};

struct table_case {
  const char* what;
  std::uint32_t flags, data_type, data_len;
  bool nested;  // the page table is for another page table
  errc intel, other, old;
};
constexpr errc no = errc::opnotsupp;
constexpr errc invalid = errc::inval;
const table_case table_cases[] = {
    {"a parent of nested ones", u::hwpt_nest_parent, 0, 0, false, no, no, no},
    {"dirty tracking", u::hwpt_dirty_tracking, 0, 0, false, no, no, no},
    {"a fault queue that is not there", u::hwpt_fault_id_valid, 0, 0, false, errc::noent, no, no},
    {"for PASIDs", u::hwpt_pasid, 0, 0, false, errc::ok, no, no},
    {"an unknown flag", 16, 0, 0, false, no, no, no},
    {"data without a type", 0, 0, 8, false, invalid, invalid, invalid},
    {"a type without data", 0, 1, 0, false, invalid, invalid, invalid},
    {"data for an address space", 0, 1, 24, false, no, no, no},
    {"nested without data", 0, 0, 0, true, no, no, no},
    {"nested", 0, 1, 24, true, invalid, no, invalid},
    {"nested with faults", u::hwpt_fault_id_valid, 1, 24, true, invalid, no, invalid},
    {"nested for PASIDs", u::hwpt_pasid, 1, 24, true, invalid, no, no},
    {"nested, as a parent", u::hwpt_nest_parent, 1, 24, true, no, no, no},
};

}  // namespace

TEST_CASE("HWPT_ALLOC refuses what the IOMMU cannot do") {
  with_table<> intel;
  with_table<> other("iommu0");
  with_table<kvm_vfio::linux_6_12> old;
  for (const table_case& c : table_cases) {
    INFO(c.what);
    const auto of = [&c](auto& m) {
      return m.alloc(c.flags, c.data_type, c.data_len, c.nested ? m.table : m.space);
    };
    CHECK(of(intel) == c.intel);
    CHECK(of(other) == c.other);
    CHECK(of(old) == c.old);
  }
}

TEST_CASE("HWPT_ALLOC looks for the device before it looks for the address space") {
  with_table<> m;
  u::iommu_hwpt_alloc c = m.request();
  c.pt_id = 99;
  CHECK(m.alloc(c) == errc::inval);
  c.pt_id = m.id;
  CHECK(m.alloc(c) == errc::inval);
  c.dev_id = m.space;
  CHECK(m.alloc(c) == errc::noent);
  c.data_len = 1;
  CHECK(m.alloc(c) == errc::inval);
  c.reserved = 1;
  CHECK(m.alloc(c) == errc::opnotsupp);
}

TEST_CASE("dirty pages are not tracked") {
  with_table<> m;
  struct set_case {
    errc expected;
    std::uint32_t flags, id;
  };
  const set_case sets[] = {{no, 0, m.table},
                           {no, 1, m.table},
                           {no, 2, 99},
                           {errc::noent, 1, 99},
                           {errc::noent, 1, m.space}};
  for (const set_case& s : sets)
    CHECK(m.ask(u::request_hwpt_set_dirty_tracking,
                u::iommu_hwpt_set_dirty_tracking{16, s.flags, s.id, 7}) == s.expected);
  CHECK(m.ask(u::request_hwpt_set_dirty_tracking,
              u::iommu_hwpt_set_dirty_tracking{12, 0, m.table, 0}) == errc::inval);

  struct get_case {
    const char* what;
    errc expected;
    std::uint32_t id, flags, reserved;
    std::uint64_t iova, length, page_size;
  };
  const get_case gets[] = {
      {"nothing is wrong", no, m.table, 1, 0, 0x1000, 0x1000, page},
      {"an unknown flag", no, 99, 2, 0, 0, 0, 0},
      {"a reserved member", no, 99, 0, 1, 0, 0, 0},
      {"no page table", errc::noent, m.space, 0, 0, 0, 0, 0},
      {"length 0", errc::inval, m.table, 0, 0, 0x1000, 0, page},
      {"the range wraps around", errc::overflow, m.table, 0, 0, last_number, 2, page},
      {"the address is not aligned", errc::inval, m.table, 0, 0, 0x1001, 0xfff, page},
      {"the end is not aligned", errc::inval, m.table, 0, 0, 0x1000, 0xfff, page},
      {"page size 0", errc::inval, m.table, 0, 0, 0x1000, 0x1000, 0},
      {"not aligned to the page size", errc::inval, m.table, 0, 0, 0x1000, 0x1000, 2 * page},
      {"the last address", no, m.table, 0, 0, last_number - page + 1, page, page},
  };
  for (const get_case& g : gets) {
    INFO(g.what);
    CHECK(m.ask(u::request_hwpt_get_dirty_bitmap,
                u::iommu_hwpt_get_dirty_bitmap{48, g.id, g.flags, g.reserved, g.iova, g.length,
                                               g.page_size, 0}) == g.expected);
  }
}

TEST_CASE("HWPT_INVALIDATE finds no nested page table, and tells that it used no entry") {
  with_table<> m;
  with_table<kvm_vfio::linux_6_12> old;
  struct invalidate_case {
    const char* what;
    errc expected, old;
    std::uint32_t id;
    std::uint64_t data;
    std::uint32_t entry_len, entry_num, reserved;
  };
  const invalidate_case cases[] = {
      {"another object", errc::inval, errc::noent, m.table, 8, 8, 1, 0},
      {"no object", errc::noent, errc::noent, 99, 8, 8, 1, 0},
      {"no entries", errc::noent, errc::noent, 99, 0, 0, 0, 0},
      {"no data", errc::inval, errc::inval, 99, 0, 8, 1, 0},
      {"entries of 0 bytes", errc::inval, errc::inval, 99, 8, 0, 1, 0},
      {"large entries", errc::inval, errc::inval, 99, 8, 4097, 1, 0},
      {"the largest entries", errc::noent, errc::noent, 99, 8, 4096, 1U << 19, 0},
      {"too many entries", errc::inval, errc::inval, 99, 8, 8, (1U << 19) + 1, 0},
      {"a reserved member", no, no, 99, 0, 0, 1, 1},
  };
  for (const invalidate_case& i : cases) {
    INFO(i.what);
    u::iommu_hwpt_invalidate c{32, i.id, i.data, 0, i.entry_len, i.entry_num, i.reserved};
    CHECK(m.ioctl_at(m.iommufd, u::request_hwpt_invalidate, c) == i.expected);
    CHECK(c.entry_num == 0);
    c.entry_num = i.entry_num;
    CHECK(old.ioctl_at(old.iommufd, u::request_hwpt_invalidate, c) == i.old);
  }
}

TEST_CASE("a fault queue has a file, and is in use while the file is open") {
  with_table<> m;
  u::iommu_fault_alloc c{.size = sizeof c, .flags = 1, .out_fault_id = 0, .out_fault_fd = 0};
  CHECK(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, c) == errc::opnotsupp);
  c.flags = 0;
  REQUIRE(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, c) == errc::ok);
  const auto fd = static_cast<int>(c.out_fault_fd);
  CHECK(m.task.file_of(fd)->name() == std::string("[iommufd-pgfault]"));
  unsigned char bytes[80] = {};
  CHECK(*m.task.read(fd, bytes, 80) == 0);
  CHECK(m.task.read(fd, bytes, 79).error() == errc::spipe);
  CHECK(m.task.pread(fd, bytes, 80, 0).error() == errc::spipe);
  CHECK(*m.task.write(fd, bytes, 0) == 0);
  CHECK(m.task.write(fd, bytes, 8).error() == errc::inval);
  CHECK(m.task.write(fd, bytes, 9).error() == errc::spipe);
  CHECK(m.task.pwrite(fd, bytes, 8, 0).error() == errc::spipe);
  CHECK(m.destroy(c.out_fault_id) == errc::busy);
  CHECK(m.attach(m.device, c.out_fault_id) == errc::inval);

  // A page table uses it, too. No device can report faults.
  u::iommu_hwpt_alloc table = m.request();
  table.flags = u::hwpt_fault_id_valid;
  table.fault_id = c.out_fault_id;
  REQUIRE(m.alloc(table) == errc::ok);
  CHECK(m.attach(m.device, table.out_hwpt_id) == errc::nodev);
  REQUIRE(m.attach(m.device, m.space) == errc::ok);
  CHECK(m.attach(m.device, table.out_hwpt_id) == errc::nodev);
  REQUIRE(m.task.close(fd));
  CHECK(m.destroy(c.out_fault_id) == errc::busy);
  REQUIRE(m.destroy(table.out_hwpt_id) == errc::ok);
  CHECK(m.destroy(c.out_fault_id) == errc::ok);
}

TEST_CASE("the file of a fault queue keeps the iommufd") {
  with_table<> m;
  u::iommu_fault_alloc c{.size = sizeof c, .flags = 0, .out_fault_id = 0, .out_fault_fd = 0};
  REQUIRE(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, c) == errc::ok);
  REQUIRE(m.task.close(m.device));
  REQUIRE(m.task.close(m.iommufd));
  CHECK(m.kernel.look().iommufds.size() == 1);
  REQUIRE(m.task.close(static_cast<int>(c.out_fault_fd)));
  CHECK(m.kernel.look().iommufds.empty());
}

TEST_CASE("a fault queue that cannot be told is not made") {
  with_table<> m;
  const std::size_t open = m.task.descriptors();
  alignas(4) static u::iommu_fault_alloc c{16, 0, 0, 0};
  m.memory.forbid(&c, sizeof c, /*readable=*/true);
  CHECK(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, c) == errc::fault);
  CHECK(m.task.descriptors() == open);
  m.task.limit(open);
  u::iommu_fault_alloc second{16, 0, 0, 0};
  CHECK(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, second) == errc::mfile);
  m.task.limit(open + 1);
  REQUIRE(m.ioctl_at(m.iommufd, u::request_fault_queue_alloc, second) == errc::ok);
  CHECK(second.out_fault_id == m.table + 1);
}

TEST_CASE("there are no virtual IOMMUs") {
  with_table<> m;
  const auto viommu = [&](std::uint32_t flags, std::uint32_t type, std::uint32_t dev) {
    return m.ask(u::request_viommu_alloc,
                 u::iommu_viommu_alloc{40, flags, type, dev, m.table, 0, 0, 0, 0});
  };
  CHECK(viommu(0, 1, m.id) == no);
  CHECK(viommu(0, 0, 99) == no);
  CHECK(viommu(1, 1, 99) == no);
  CHECK(viommu(0, 1, 99) == errc::noent);
  CHECK(m.ask(u::request_vdevice_alloc, u::iommu_vdevice_alloc{24, 99, m.id, 0, 0}) == errc::noent);
  const auto events = [&](std::uint32_t flags, std::uint32_t type, std::uint32_t depth,
                          std::uint32_t reserved) {
    return m.ask(u::request_veventq_alloc,
                 u::iommu_veventq_alloc{32, flags, 99, type, depth, 0, 0, reserved});
  };
  CHECK(events(0, 1, 1, 0) == errc::noent);
  CHECK(events(0, 1, 0, 0) == errc::inval);
  CHECK(events(0, 1, (1U << 19) + 1, 0) == errc::inval);
  CHECK(events(0, 0, 0, 0) == no);
  CHECK(events(1, 1, 0, 0) == no);
  CHECK(events(0, 1, 0, 1) == no);
  const auto queue = [&](std::uint32_t flags, std::uint32_t type, std::uint64_t iova,
                         std::uint64_t length) {
    return m.ask(u::request_hw_queue_alloc,
                 u::iommu_hw_queue_alloc{40, flags, 99, type, 0, 0, iova, length});
  };
  CHECK(queue(0, 1, 0, page) == errc::noent);
  CHECK(queue(0, 1, last_number, 2) == errc::overflow);
  CHECK(queue(0, 1, last_number, 0) == errc::inval);
  CHECK(queue(0, 0, 0, 0) == no);
  CHECK(queue(1, 1, 0, 0) == no);
}

TEST_CASE("each request checks the size of its struct") {
  struct sized {
    std::uint32_t request, least, whole;
  };
  const sized requests[] = {
      {u::request_hwpt_set_dirty_tracking, 16, 16},
      {u::request_hwpt_get_dirty_bitmap, 48, 48},
      {u::request_hwpt_invalidate, 32, 32},
      {u::request_fault_queue_alloc, 16, 16},
      {u::request_viommu_alloc, 24, 40},
      {u::request_vdevice_alloc, 24, 24},
      {u::request_veventq_alloc, 28, 32},
      {u::request_hw_queue_alloc, 40, 40},
      {u::request_ioas_change_process, 8, 8},
      {u::request_ioas_noiommu_get_pa, 40, 40},
  };
  with_table<> m;
  with_table<kvm_vfio::linux_6_12> old;
  for (const sized& r : requests) {
    INFO(r.request);
    std::uint32_t c[20] = {r.least - 1};
    const bool known = r.request <= u::request_fault_queue_alloc;
    CHECK(m.ioctl_at(m.iommufd, r.request, c) == errc::inval);
    CHECK(old.ioctl_at(old.iommufd, r.request, c) == (known ? errc::inval : errc::notty));
    c[0] = r.whole + 4;
    c[r.whole / 4] = 1;
    CHECK(m.ioctl_at(m.iommufd, r.request, c) == errc::toobig);
    c[r.whole / 4] = 0;
    const errc longer = m.ioctl_at(m.iommufd, r.request, c);
    CHECK(longer != errc::toobig);
    CHECK(longer != errc::notty);
    CHECK(m.client::ioctl(m.iommufd, r.request, 0) == errc::fault);
  }
  CHECK(m.client::ioctl(m.iommufd, u::request_ioas_noiommu_get_pa + 1, 0) == errc::notty);
}
