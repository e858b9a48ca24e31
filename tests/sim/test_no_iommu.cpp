// SPDX-License-Identifier: BSL-1.0
// Groups and devices that no IOMMU handles (VFIO's no-IOMMU mode).
#include "fixture.hpp"
#include "support/catch.hpp"
#include "sysfs_tree.hpp"

#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>

#include <cstdint>
#include <string>
#include <type_traits>

namespace {
namespace uapi = kvm_vfio::uapi;

/// The groups 1 with an IOMMU, and 7 and 8 without one.
sim::topology some_without() {
  sim::topology t;
  t.groups.push_back({.number = 1, .devices = {{.name = "0000:00:04.0", .file_number = 0}}});
  t.groups.push_back(
      {.number = 7, .iommu = "", .devices = {{.name = "0000:81:00.0", .file_number = 1}}});
  t.groups.push_back(
      {.number = 8, .iommu = "", .devices = {{.name = "0000:82:00.0", .file_number = 2}}});
  return t;
}

template <class Profile>
struct without_iommu : machine_under_test<Profile> {
  without_iommu() : machine_under_test<Profile>(some_without()) {}

  errc open_error(const char* path) { return this->task.open(path).error(); }
  bool has(int container, std::uint64_t extension) {
    return this->task.ioctl(container, VFIO_CHECK_EXTENSION, extension).value() == 1;
  }
  kvm_vfio::result<std::int64_t> get_device(int group, const char* name) {
    const auto a =
        this->task.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, reinterpret_cast<std::uintptr_t>(name));
    return a ? kvm_vfio::result<std::int64_t>(*a) : kvm_vfio::result<std::int64_t>(a.error());
  }
  std::uint32_t status(int group) {
    vfio_group_status s{sizeof s, 0};
    REQUIRE(this->ioctl_at(group, VFIO_GROUP_GET_STATUS, s) == errc::ok);
    return s.flags;
  }
};
}  // namespace

TEMPLATE_TEST_CASE("a group without an IOMMU has a node of its own, for CAP_SYS_RAWIO", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  without_iommu<TestType> m;
  CHECK(m.open_error("/dev/vfio/7") == errc::noent);
  CHECK(m.open_error("/dev/vfio/noiommu-1") == errc::noent);
  CHECK(m.open_error("/dev/vfio/noiommu-07") == errc::noent);
  m.task.cap_sys_rawio(false);
  CHECK(m.open_error("/dev/vfio/noiommu-7") == errc::perm);
  m.task.cap_sys_rawio(true);
  const int group = m.open("/dev/vfio/noiommu-7");
  CHECK(m.open_error("/dev/vfio/noiommu-7") == errc::busy);
  m.task.cap_sys_rawio(false);
  CHECK(m.open_error("/dev/vfio/noiommu-7") == errc::perm);
  CHECK(m.open_error("/dev/vfio/noiommu-7/x") == errc::notdir);
  CHECK(std::string(m.task.file_of(group)->name()) == "/dev/vfio/noiommu-7");
  CHECK(m.status(group) == VFIO_GROUP_FLAGS_VIABLE);
}

TEMPLATE_TEST_CASE("only the no-IOMMU driver takes groups without an IOMMU", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  without_iommu<TestType> m;
  const int group = m.open("/dev/vfio/noiommu-7");
  const int container = m.open("/dev/vfio/vfio");
  CHECK(m.has(container, VFIO_NOIOMMU_IOMMU));
  CHECK(m.has(container, VFIO_TYPE1v2_IOMMU));
  m.task.cap_sys_rawio(false);
  CHECK(m.set_container(group, container) == errc::perm);
  m.task.cap_sys_rawio(true);
  REQUIRE(m.set_container(group, container) == errc::ok);
  CHECK(m.status(group) == (VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET));
  CHECK(m.has(container, VFIO_NOIOMMU_IOMMU));
  CHECK_FALSE(m.has(container, VFIO_TYPE1v2_IOMMU));
  CHECK(m.get_device(group, "0000:81:00.0").error() == errc::inval);
  CHECK(m.set_iommu(container, VFIO_TYPE1v2_IOMMU) == errc::nodev);
  m.task.cap_sys_rawio(false);
  CHECK(m.set_iommu(container, VFIO_NOIOMMU_IOMMU) == errc::perm);
  m.task.cap_sys_rawio(true);
  REQUIRE(m.set_iommu(container, VFIO_NOIOMMU_IOMMU) == errc::ok);
  CHECK(m.set_iommu(container, VFIO_NOIOMMU_IOMMU) == errc::inval);
  CHECK_FALSE(m.has(container, VFIO_TYPE1_IOMMU));
  CHECK_FALSE(m.has(container, VFIO_DMA_CC_IOMMU));
  CHECK(m.kernel.look().containers.at(0).iommu == "noiommu");
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ;
  map.size = 4096;
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::notty);
  CHECK(m.ioctl(container, VFIO_IOMMU_GET_INFO) == errc::notty);

  const auto device = m.get_device(group, "0000:81:00.0");
  REQUIRE(device);
  CHECK(m.unset_container(group) == errc::busy);
  m.task.cap_sys_rawio(false);
  const auto again = m.get_device(group, "0000:81:00.0");
  if (std::is_same_v<TestType, kvm_vfio::linux_6_1>) CHECK(again.error() == errc::perm);
  else CHECK(m.close(static_cast<int>(again.value())) == errc::ok);
  CHECK(m.ioctl(static_cast<int>(*device), VFIO_DEVICE_RESET) == errc::ok);
  REQUIRE(m.close(static_cast<int>(*device)) == errc::ok);
  CHECK(m.get_device(group, "0000:81:00.0").error() == errc::perm);
  CHECK(m.unset_container(group) == errc::ok);
  CHECK(m.has(container, VFIO_TYPE1v2_IOMMU));
}

TEMPLATE_TEST_CASE("groups with an IOMMU and groups without one do not mix", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_7_3) {
  without_iommu<TestType> m;
  const int group = m.open("/dev/vfio/noiommu-7");
  const int second = m.open("/dev/vfio/noiommu-8");
  const int translated = m.open("/dev/vfio/1");
  const int container = m.open("/dev/vfio/vfio");
  REQUIRE(m.set_container(group, container) == errc::ok);
  CHECK(m.set_container(translated, container) == errc::perm);
  CHECK(m.set_container(second, container) == errc::ok);
  REQUIRE(m.unset_container(group) == errc::ok);
  REQUIRE(m.unset_container(second) == errc::ok);
  REQUIRE(m.set_container(translated, container) == errc::ok);
  CHECK(m.set_container(group, container) == errc::perm);
  CHECK_FALSE(m.has(container, VFIO_NOIOMMU_IOMMU));
  CHECK(m.set_iommu(container, VFIO_NOIOMMU_IOMMU) == errc::nodev);
  CHECK(m.set_iommu(container) == errc::ok);
  CHECK(m.set_container(group, container) == errc::perm);
}

TEMPLATE_TEST_CASE("kvm-vfio takes a group without an IOMMU as noncoherent", "",
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  without_iommu<TestType> m;
  const int kvm_vfio = m.create_kvm_vfio(m.create_vm());
  const int group = m.open("/dev/vfio/noiommu-7");
  REQUIRE(m.add(kvm_vfio, group) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 1);
  CHECK(m.del(kvm_vfio, group) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 0);
}

TEST_CASE("a host without such groups has the no-IOMMU mode switched off") {
  machine_under_test<> m;
  const int container = m.open("/dev/vfio/vfio");
  CHECK(m.task.ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU).value() == 0);
}

TEST_CASE("an iommufd stands for the container of a group without an IOMMU") {
  without_iommu<kvm_vfio::linux_7_3> m;
  const int group = m.open("/dev/vfio/noiommu-7");
  const int translated = m.open("/dev/vfio/1");
  const int iommufd = m.open("/dev/iommu");
  CHECK(m.has(iommufd, VFIO_NOIOMMU_IOMMU));
  CHECK(m.has(iommufd, VFIO_TYPE1_IOMMU));
  REQUIRE(m.set_container(group, iommufd) == errc::ok);
  CHECK_FALSE(m.has(iommufd, VFIO_TYPE1_IOMMU));
  CHECK(m.set_container(translated, iommufd) == errc::inval);
  CHECK(m.set_iommu(iommufd, VFIO_TYPE1v2_IOMMU) == errc::inval);
  m.task.cap_sys_rawio(false);
  CHECK(m.set_iommu(iommufd, VFIO_NOIOMMU_IOMMU) == errc::perm);
  CHECK(m.get_device(group, "0000:81:00.0").error() == errc::perm);
  m.task.cap_sys_rawio(true);
  CHECK(m.set_iommu(iommufd, VFIO_NOIOMMU_IOMMU) == errc::ok);
  REQUIRE(m.get_device(group, "0000:81:00.0"));
  CHECK(m.unset_container(group) == errc::ok);  // the open device does not keep the iommufd
  const int other = m.open("/dev/iommu");
  REQUIRE(m.set_container(translated, other) == errc::ok);
  CHECK(m.set_container(group, other) == errc::inval);
  m.task.exit();
  CHECK(m.world.iommufds() == 0);
}

TEST_CASE("7.3 has device files of devices without an IOMMU") {
  without_iommu<kvm_vfio::linux_7_3> m;
  CHECK(m.open_error("/dev/vfio/devices/vfio1") == errc::noent);
  CHECK(m.open_error("/dev/vfio/devices/noiommu-vfio0") == errc::noent);
  m.task.cap_sys_rawio(false);
  CHECK(m.open_error("/dev/vfio/devices/noiommu-vfio1") == errc::perm);
  m.task.cap_sys_rawio(true);
  const int device = m.open("/dev/vfio/devices/noiommu-vfio1");
  uapi::device_bind_iommufd bind{};
  bind.argsz = sizeof bind;
  bind.iommufd = m.open("/dev/iommu");
  // Nobody can forge interrupts of a device that is not isolated anyway.
  REQUIRE(m.ioctl_at(device, uapi::request_bind_iommufd, bind) == errc::ok);
  uapi::iommu_hw_info info{};
  info.size = sizeof info;
  info.dev_id = bind.out_devid;
  CHECK(m.ioctl_at(bind.iommufd, uapi::request_get_hw_info, info) == errc::opnotsupp);
  CHECK(m.attach(device, m.alloc_ioas(bind.iommufd)) == errc::ok);
}

TEST_CASE("6.12 has no device files of devices without an IOMMU") {
  without_iommu<kvm_vfio::linux_6_12> m;
  CHECK(m.open_error("/dev/vfio/devices/vfio1") == errc::noent);
  CHECK(m.open_error("/dev/vfio/devices/noiommu-vfio1") == errc::noent);
  CHECK(m.open("/dev/vfio/devices/vfio0") >= 0);
}

TEST_CASE("a group without an IOMMU has one device, which VFIO drives") {
  sim::topology t = some_without();
  t.groups[1].devices[0].bound = sim::driver::none;
  t.groups[1].devices[0].file_number = -1;
  t.groups[2].devices[0].mediated = true;
  CHECK(to_text(sim::check(t)) ==
        "groups[1].devices: a group without an IOMMU has exactly one device, which is bound to "
        "VFIO and not a mediated device\n"
        "groups[2].devices: a group without an IOMMU has exactly one device, which is bound to "
        "VFIO and not a mediated device\n");
}

TEST_CASE("the view of sysfs names the nodes as the world opens them") {
  const auto paths = [](const sim::linux_release& release) {
    std::string all;
    for (const sim::device_node& n : sim::device_nodes(some_without(), release, {}))
      all += n.path + " ";
    return all;
  };
  CHECK(paths(sim::vfio_7_3) ==
        "/dev/vfio/vfio /dev/iommu /dev/vfio/1 /dev/vfio/noiommu-7 /dev/vfio/noiommu-8 "
        "/dev/vfio/devices/vfio0 /dev/vfio/devices/noiommu-vfio1 "
        "/dev/vfio/devices/noiommu-vfio2 ");
  CHECK(paths(sim::vfio_6_12) ==
        "/dev/vfio/vfio /dev/iommu /dev/vfio/1 /dev/vfio/noiommu-7 /dev/vfio/noiommu-8 "
        "/dev/vfio/devices/vfio0 ");
}

TEST_CASE("the reader of sysfs finds the groups without an IOMMU") {
  for (const sim::linux_release& release : {sim::vfio_6_1, sim::vfio_6_12, sim::vfio_7_3}) {
    INFO(release.name);
    const sysfs_tree tree;
    REQUIRE(sim::write_sysfs_view(some_without(), tree.root(), release).empty());
    const sim::topology_result r = sim::topology_from_sysfs(tree.root() / "sys");
    REQUIRE(r);
    REQUIRE(r.machine.groups.size() == 3);
    CHECK(r.machine.iommus.size() == 1);
    CHECK(r.machine.groups[0].iommu == "group1");
    CHECK(r.machine.groups[1].iommu.empty());
    CHECK(r.machine.groups[2].iommu.empty());
    CHECK(r.machine.groups[2].devices.at(0).file_number == 2);
  }
}
