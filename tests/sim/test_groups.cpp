// SPDX-License-Identifier: BSL-1.0
// Groups, containers, domains: what a single scenario on one group does not reach.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace {
/// Group 1 behind an IOMMU with snoop control, group 2 behind one without, 3 mediated, 4 whose
/// second device the host uses.
sim::topology mixed() {
  sim::topology t;
  t.iommus = {{.name = "snoops", .snoop_control = true}, {.name = "plain", .snoop_control = false}};
  t.groups.push_back({.number = 1, .iommu = "snoops", .devices = {{.name = "a"}}});
  t.groups.push_back({.number = 2, .iommu = "plain", .devices = {{.name = "b"}}});
  t.groups.push_back(
      {.number = 3, .iommu = "snoops", .devices = {{.name = "m", .mediated = true}}});
  t.groups.push_back({.number = 4,
                      .iommu = "snoops",
                      .devices = {{.name = "c"}, {.name = "d", .bound = sim::driver::other}}});
  return t;
}
long has(machine_under_test<>& m, int container, int extension) {
  return static_cast<long>(
      m.task.ioctl(container, VFIO_CHECK_EXTENSION, static_cast<std::uint64_t>(extension)).value());
}
}  // namespace

TEST_CASE("a container's coherency is that of all its domains") {
  machine_under_test<> m(mixed());
  int container = -1;
  const int g1 = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(g1 >= 0);
  CHECK(has(m, container, VFIO_DMA_CC_IOMMU) == 1);
  const int g2 = m.open("/dev/vfio/2");
  REQUIRE(m.set_container(g2, container) == errc::ok);
  CHECK(has(m, container, VFIO_DMA_CC_IOMMU) == 0);
  const sim::snapshot s = m.kernel.look();
  REQUIRE(s.containers.size() == 1);
  CHECK(s.containers[0].groups == std::vector{1, 2});
  CHECK(s.containers[0].domains.size() == 2);
  REQUIRE(m.ioctl(g2, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
  CHECK(has(m, container, VFIO_DMA_CC_IOMMU) == 1);
}

TEST_CASE("a mediated group needs no domain and stops nothing") {
  machine_under_test<> m(mixed());
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/3", &container) >= 0);
  CHECK(m.kernel.look().containers.at(0).domains.empty());
  CHECK(has(m, container, VFIO_DMA_CC_IOMMU) == 1);
}

TEST_CASE("a group with a host driver's device is not viable") {
  machine_under_test<> m(mixed());
  const int g = m.open("/dev/vfio/4");
  vfio_group_status s{.argsz = sizeof s, .flags = 99};
  REQUIRE(m.ioctl_at(g, VFIO_GROUP_GET_STATUS, s) == errc::ok);
  CHECK(s.flags == 0);
  CHECK(m.set_container(g, m.open("/dev/vfio/vfio")) == errc::perm);
  CHECK(m.ioctl_at(g, VFIO_GROUP_GET_STATUS, s) == errc::ok);
  CHECK(m.kernel.look().groups.at(3).container == -1);
}

TEST_CASE("interrupts that nobody isolates are refused, and nothing is left") {
  sim::topology t = two_groups();
  t.iommus[0].interrupt_remapping = false;
  {
    machine_under_test<> m(t);
    const int g = m.open("/dev/vfio/1");
    const int c = m.open("/dev/vfio/vfio");
    REQUIRE(m.set_container(g, c) == errc::ok);
    CHECK(m.set_iommu(c) == errc::perm);
    CHECK(m.kernel.look().containers.at(0).iommu.empty());
    CHECK(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
  }
  machine_under_test<> m(t, {.allow_unsafe_interrupts = true});
  CHECK(m.group_with_iommu("/dev/vfio/1") >= 0);
}

TEST_CASE("the container outlives its descriptor and goes with its last group") {
  machine_under_test<> m;
  int container = -1;
  const int g = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(m.task.close(container));
  CHECK(m.world.containers() == 1);
  const auto device = m.device_fd(g, "0000:00:04.0");
  REQUIRE(device);
  REQUIRE(m.task.close(g));
  CHECK(m.world.containers() == 1);  // the device holds the group file
  REQUIRE(m.task.close(static_cast<int>(*device)));
  CHECK(m.world.containers() == 0);

  const int leaves = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(m.task.close(container));
  CHECK(m.device_fd(leaves, "0000:00:04.0"));  // its IOMMU is still set
  CHECK(m.world.containers() == 1);
}

TEST_CASE("the container that nobody has open goes when its last group leaves") {
  machine_under_test<> m;
  int container = -1;
  const int g = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(m.task.close(container));
  CHECK(m.unset_container(g) == errc::ok);
  CHECK(m.world.containers() == 0);
}

TEST_CASE("a container without an IOMMU maps nothing") {
  machine_under_test<> m;
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = 0x10000,
                               .iova = 0,
                               .size = 4096};
  CHECK(m.ioctl_at(m.open("/dev/vfio/vfio"), VFIO_IOMMU_MAP_DMA, map) == errc::inval);
}

TEST_CASE("mappings are refused at the limit and counted down") {
  machine_under_test<> m(two_groups(), {.dma_entry_limit = 2});
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = 0x10000,
                               .iova = 0,
                               .size = 4096};
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  map.iova = 0x1000;
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  map.iova = 0x2000;
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::nospc);
}

TEST_CASE("GET_INFO's capabilities are a chain that ends") {
  machine_under_test<> m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  alignas(8) unsigned char buffer[512] = {};
  auto* const info = reinterpret_cast<vfio_iommu_type1_info*>(buffer);
  info->argsz = sizeof(vfio_iommu_type1_info);
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_GET_INFO, buffer) == errc::ok);
  const std::uint32_t whole = info->argsz;
  CHECK(info->cap_offset == 0);
  REQUIRE(whole > sizeof(vfio_iommu_type1_info));
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_GET_INFO, buffer) == errc::ok);
  std::vector<int> ids;
  std::uint32_t at = info->cap_offset;
  while (at != 0) {
    REQUIRE(at + sizeof(vfio_info_cap_header) <= whole);
    vfio_info_cap_header header{};
    std::memcpy(&header, buffer + at, sizeof header);
    ids.push_back(header.id);
    if (header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) {
      std::uint64_t ranges[4] = {};
      std::memcpy(ranges, buffer + at + 16, sizeof ranges);
      CHECK(ranges[0] == 0);
      CHECK(ranges[1] == 0xfedfffff);
      CHECK(ranges[2] == 0xfef00000);
      CHECK(ranges[3] == 0xffffffffffff);
    }
    at = header.next;
  }
  CHECK(ids == std::vector<int>{VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
                                VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
                                VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE});
}

TEST_CASE("devices of one group cannot be split between iommufds") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  const auto bind = [&](int device, int to) {
    u::device_bind_iommufd b{.argsz = sizeof b, .flags = 0, .iommufd = to, .out_devid = 0};
    return m.ioctl_at(device, u::request_bind_iommufd, b);
  };
  const int fd1 = m.open("/dev/iommu");
  const int fd2 = m.open("/dev/iommu");
  const int d1 = m.open("/dev/vfio/devices/vfio1");
  const int d2 = m.open("/dev/vfio/devices/vfio2");
  CHECK(bind(d1, fd1) == errc::ok);
  CHECK(bind(d2, fd2) == errc::perm);
  CHECK(bind(d2, fd1) == errc::ok);
  CHECK(m.world.iommufds() == 2);
  REQUIRE(m.task.close(fd1));
  REQUIRE(m.task.close(fd2));
  CHECK(m.world.iommufds() == 1);
  REQUIRE(m.task.close(d1));
  REQUIRE(m.task.close(d2));
  CHECK(m.world.iommufds() == 0);
}

TEST_CASE("a device that is attached again takes the other devices of its group along") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  const int fd = m.open("/dev/iommu");
  const int devices[] = {m.bound("/dev/vfio/devices/vfio1", fd),
                         m.bound("/dev/vfio/devices/vfio2", fd)};
  const std::uint32_t spaces[] = {m.alloc_ioas(fd), m.alloc_ioas(fd)};
  std::uint32_t table = 0;
  const auto attach = [&](int d, std::uint32_t to) {
    u::device_attach_iommufd_pt a{.argsz = sizeof a, .flags = 0, .pt_id = to};
    const errc e = m.ioctl_at(d, u::request_attach_iommufd_pt, a);
    table = a.pt_id;
    return e;
  };
  const auto destroy = [&](std::uint32_t id) {
    u::iommu_destroy d{.size = sizeof d, .id = id};
    return m.ioctl_at(fd, u::request_destroy, d);
  };
  REQUIRE(attach(devices[0], spaces[0]) == errc::ok);
  CHECK(attach(devices[1], spaces[1]) == errc::inval);
  REQUIRE(attach(devices[1], spaces[0]) == errc::ok);
  CHECK(attach(devices[0], spaces[1]) == errc::ok);
  const std::uint32_t moved = table;
  CHECK(destroy(spaces[0]) == errc::ok);  // neither device uses the old address space
  u::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
  REQUIRE(m.ioctl_at(devices[0], u::request_detach_iommufd_pt, detach) == errc::ok);
  CHECK(destroy(spaces[1]) == errc::busy);  // the second device does
  CHECK(attach(devices[0], spaces[1]) == errc::ok);
  CHECK(table == moved);
}

TEST_CASE("a second device of a group joins only the page table that the group has") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  const int fd = m.open("/dev/iommu");
  const int first = m.open("/dev/vfio/devices/vfio1");
  u::device_bind_iommufd b{.argsz = sizeof b, .flags = 0, .iommufd = fd, .out_devid = 0};
  REQUIRE(m.ioctl_at(first, u::request_bind_iommufd, b) == errc::ok);
  const int second = m.bound("/dev/vfio/devices/vfio2", fd);
  const std::uint32_t space = m.alloc_ioas(fd);
  const std::uint32_t high = m.alloc_ioas(fd);
  u::iommu_hwpt_alloc t{};
  t.size = sizeof t;
  t.dev_id = b.out_devid;
  t.pt_id = space;
  REQUIRE(m.ioctl_at(fd, u::request_hwpt_alloc, t) == errc::ok);
  // No device can use this mapping.
  u::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = u::map_fixed_iova | u::map_readable;
  map.ioas_id = high;
  map.user_va = 0x10000;
  map.length = 0x1000;
  map.iova = std::uint64_t{1} << 60;
  REQUIRE(m.ioctl_at(fd, u::request_ioas_map, map) == errc::ok);
  CHECK(m.attach(second, high) == errc::addrinuse);

  REQUIRE(m.attach(first, t.out_hwpt_id) == errc::ok);
  CHECK(m.attach(second, space) == errc::inval);  // no attach has made its page table
  CHECK(m.attach(second, high) == errc::inval);
  CHECK(m.attach(second, t.out_hwpt_id) == errc::ok);
  CHECK(m.attach(second, space) == errc::ok);  // a new page table, for both devices
  CHECK(m.attach(second, high) == errc::addrinuse);
}

TEST_CASE("a page table without devices limits the addresses already") {
  machine_under_test<> p(two_groups());
  const int iommufd = p.open("/dev/iommu");
  const int device = p.open("/dev/vfio/devices/vfio0");
  std::uint32_t bind[] = {16, 0, static_cast<std::uint32_t>(iommufd), 0};
  REQUIRE(p.ioctl_at(device, kvm_vfio::uapi::request_bind_iommufd, bind) == errc::ok);
  kvm_vfio::uapi::iommu_ioas_alloc space{.size = sizeof space, .flags = 0, .out_ioas_id = 0};
  REQUIRE(p.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_alloc, space) == errc::ok);
  const auto last = [&] {
    sim::iova_range range{};
    kvm_vfio::uapi::iommu_ioas_iova_ranges r{};
    r.size = sizeof r;
    r.ioas_id = space.out_ioas_id;
    r.num_iovas = 1;
    r.allowed_iovas = reinterpret_cast<std::uintptr_t>(&range);
    REQUIRE(p.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_iova_ranges, r) == errc::ok);
    CHECK(range.first == 0);  // no reserved region cuts the range in two
    return range.last;
  };
  kvm_vfio::uapi::iommu_hwpt_alloc table{};
  table.size = sizeof table;
  table.dev_id = bind[3];
  table.pt_id = space.out_ioas_id;
  CHECK(last() == ~std::uint64_t{0});
  REQUIRE(p.ioctl_at(iommufd, kvm_vfio::uapi::request_hwpt_alloc, table) == errc::ok);
  CHECK(last() == (std::uint64_t{1} << 48) - 1);
  kvm_vfio::uapi::iommu_destroy destroy{.size = sizeof destroy, .id = table.out_hwpt_id};
  REQUIRE(p.ioctl_at(iommufd, kvm_vfio::uapi::request_destroy, destroy) == errc::ok);
  CHECK(last() == ~std::uint64_t{0});
  // A mapping that the IOMMU cannot translate.
  kvm_vfio::uapi::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = kvm_vfio::uapi::map_fixed_iova | kvm_vfio::uapi::map_readable;
  map.ioas_id = space.out_ioas_id;
  map.user_va = 0x1000;
  map.length = 0x1000;
  map.iova = std::uint64_t{1} << 48;
  REQUIRE(p.ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_map, map) == errc::ok);
  CHECK(p.ioctl_at(iommufd, kvm_vfio::uapi::request_hwpt_alloc, table) == errc::addrinuse);
}

TEST_CASE("only a character device is bound, and only a bound device is attached") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  u::device_bind_iommufd b{
      .argsz = sizeof b, .flags = 0, .iommufd = m.open("/dev/iommu"), .out_devid = 0};
  const int of_group = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  CHECK(m.ioctl_at(of_group, u::request_bind_iommufd, b) == errc::inval);
  u::iommu_ioas_alloc alloc{.size = sizeof alloc, .flags = 0, .out_ioas_id = 0};
  REQUIRE(m.ioctl_at(b.iommufd, u::request_ioas_alloc, alloc) == errc::ok);
  u::device_attach_iommufd_pt attach{
      .argsz = sizeof attach, .flags = 0, .pt_id = alloc.out_ioas_id};
  const int unbound = m.open("/dev/vfio/devices/vfio1");
  CHECK(m.ioctl_at(unbound, u::request_attach_iommufd_pt, attach) == errc::inval);
}

TEST_CASE("an open group keeps its devices from being bound") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  const int g = m.open("/dev/vfio/1");
  const int d = m.open("/dev/vfio/devices/vfio0");
  u::device_bind_iommufd b{
      .argsz = sizeof b, .flags = 0, .iommufd = m.open("/dev/iommu"), .out_devid = 0};
  CHECK(m.ioctl_at(d, u::request_bind_iommufd, b) == errc::busy);
  REQUIRE(m.task.close(g));
  CHECK(m.ioctl_at(d, u::request_bind_iommufd, b) == errc::ok);
}

TEST_CASE("no descriptor is left: the device is closed again") {
  machine_under_test<> m;
  const int g = m.group_with_iommu("/dev/vfio/1");
  m.task.limit(m.task.descriptors());
  CHECK(m.device_fd(g, "0000:00:04.0").error() == errc::mfile);
  CHECK(m.world.find_device("0000:00:04.0")->open_count == 0);
  CHECK(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
}

namespace {
// The error of SET_CONTAINER of a group with a region of the type `direct`.
template <class Profile>
errc set_container_of_direct(bool relaxable) {
  sim::topology t = two_groups();
  t.iommus[0].reserved.push_back(
      {.first = 0xf0000,
       .last = 0xfffff,
       .type = relaxable ? sim::region_type::direct_relaxable : sim::region_type::direct});
  machine_under_test<Profile> m(t);
  const int group = m.open("/dev/vfio/1");
  const errc e = m.set_container(group, m.open("/dev/vfio/vfio"));
  CHECK(m.kernel.look().groups[0].viable);
  return e;
}
}  // namespace

TEST_CASE("nobody gets a group whose firmware needs a mapping") {
  CHECK(set_container_of_direct<kvm_vfio::linux_6_1>(false) == errc::perm);
  CHECK(set_container_of_direct<kvm_vfio::linux_6_12>(false) == errc::inval);
  CHECK(set_container_of_direct<kvm_vfio::linux_7_3>(false) == errc::inval);
  CHECK(set_container_of_direct<kvm_vfio::linux_7_3>(true) == errc::ok);

  sim::topology t = two_groups();
  t.iommus[0].reserved.push_back(
      {.first = 0xf0000, .last = 0xfffff, .type = sim::region_type::direct});
  machine_under_test<> m(t);
  const int iommufd = m.open("/dev/iommu");
  const int device = m.open("/dev/vfio/devices/vfio0");
  kvm_vfio::uapi::device_bind_iommufd bind{
      .argsz = sizeof bind, .flags = 0, .iommufd = iommufd, .out_devid = 0};
  CHECK(m.ioctl_at(device, kvm_vfio::uapi::request_bind_iommufd, bind) == errc::inval);
  const int group = m.open("/dev/vfio/2");
  CHECK(m.set_container(group, iommufd) == errc::ok);
  CHECK(m.device_fd(group, "0000:00:05.0").error() == errc::inval);
}

TEST_CASE("blanks may follow the name of a device, and other text may not") {
  machine_under_test<> m;
  const int group = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(group >= 0);
  const auto error = [&](const char* name) {
    const auto device = m.device_fd(group, name);
    return device ? errc::ok : device.error();
  };
  CHECK(error("0000:00:04.0 ") == errc::ok);
  CHECK(error("0000:00:04.0   ") == errc::ok);
  CHECK(error("0000:00:04.0 vf_token=00000000-0000-0000-0000-000000000001") == errc::inval);
  CHECK(error("0000:00:04.0 other") == errc::inval);
  CHECK(error("0000:00:04.0 \t") == errc::inval);
  CHECK(error("0000:00:04.0\t") == errc::nodev);
  CHECK(error("0000:00:04.00") == errc::nodev);
  CHECK(error(" 0000:00:04.0") == errc::nodev);

  machine_under_test<> mediated(mixed());
  const int other = mediated.group_with_iommu("/dev/vfio/3");
  CHECK(mediated.device_fd(other, "m").error() == errc::ok);
  CHECK(mediated.device_fd(other, "m ").error() == errc::nodev);
}

TEST_CASE("requests that Linux 7.3 knows have its errors where no device supports them") {
  namespace u = kvm_vfio::uapi;
  machine_under_test<> m;
  const int fd = m.open("/dev/iommu");
  const int device = m.open("/dev/vfio/devices/vfio0");
  std::uint64_t token[2] = {};
  std::uint64_t bind[] = {24 | std::uint64_t{1} << 32, static_cast<std::uint32_t>(fd), 0};
  CHECK(m.ioctl_at(device, u::request_bind_iommufd, bind) == errc::fault);
  bind[2] = reinterpret_cast<std::uintptr_t>(token);
  CHECK(m.ioctl_at(device, u::request_bind_iommufd, bind) == errc::inval);
  bind[0] = 24;
  bind[2] = 0;
  REQUIRE(m.ioctl_at(device, u::request_bind_iommufd, bind) == errc::ok);
  std::uint32_t attach[] = {16, 1, 99, 5};
  const auto attach_to = [&](std::uint32_t size, std::uint32_t pt, std::uint32_t pasid) {
    attach[0] = size;
    attach[2] = pt;
    attach[3] = pasid;
    return m.ioctl_at(device, u::request_attach_iommufd_pt, attach);
  };
  CHECK(attach_to(12, 99, 5) == errc::inval);
  CHECK(attach_to(16, 99, 5) == errc::noent);
  CHECK(attach_to(16, 1, 5) == errc::inval);  // the object 1 is the device
  CHECK(attach_to(16, 99, 1U << 31) == errc::nospc);
  std::uint32_t detach[] = {12, 1, 5};
  CHECK(m.ioctl_at(device, u::request_detach_iommufd_pt, detach) == errc::ok);
  detach[0] = 8;
  CHECK(m.ioctl_at(device, u::request_detach_iommufd_pt, detach) == errc::inval);
  std::uint32_t feature[] = {8, VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | 12};
  CHECK(m.ioctl_at(device, VFIO_DEVICE_FEATURE, feature) == errc::inval);
  feature[1] = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | 13;
  CHECK(m.ioctl_at(device, VFIO_DEVICE_FEATURE, feature) == errc::notty);
}
