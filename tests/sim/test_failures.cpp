// SPDX-License-Identifier: BSL-1.0
// docs/failures.md: states that make a call fail and that no other test makes.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/lock.hpp>

#include <cstdint>

namespace u = kvm_vfio::uapi;

TEST_CASE("another owner of a group's DMA: SET_CONTAINER and BIND fail with EPERM") {
  machine_under_test<> m;
  const int owner = 0;
  {
    const kvm_vfio::guard held(m.world.lock());
    REQUIRE(m.world.find_group(1)->hardware.claim_dma(&owner) == errc::ok);
  }
  const int g = m.open("/dev/vfio/1");
  CHECK(m.set_container(g, m.open("/dev/vfio/vfio")) == errc::perm);
  REQUIRE(m.task.close(g));
  u::device_bind_iommufd bind{
      .argsz = sizeof bind, .flags = 0, .iommufd = m.open("/dev/iommu"), .out_devid = 0};
  CHECK(m.ioctl_at(m.open("/dev/vfio/devices/vfio0"), u::request_bind_iommufd, bind) == errc::perm);
}

TEST_CASE("a group that cannot have the container's mappings: SET_CONTAINER fails with EINVAL") {
  sim::topology t = two_groups();
  t.iommus.push_back({.name = "narrow", .reserved = {{0x10000, 0x1ffff}}});
  t.groups[1].iommu = "narrow";
  machine_under_test<> m(t);
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = 0x10000,
                               .iova = 0x10000,
                               .size = 4096};
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  CHECK(m.set_container(m.open("/dev/vfio/2"), container) == errc::inval);
}

TEST_CASE("no descriptor is free: each call that makes one fails with EMFILE") {
  machine_under_test<> m;
  const int vm = m.create_vm();
  const int g = m.group_with_iommu("/dev/vfio/1");
  m.task.limit(4);  // /dev/kvm, the VM, the group and the container
  CHECK(m.task.open("/dev/vfio/2").error() == errc::mfile);
  CHECK(m.task.open("/dev/vfio/vfio").error() == errc::mfile);
  CHECK(m.task.dup(g).error() == errc::mfile);
  CHECK(m.task.eventfd().error() == errc::mfile);
  CHECK(m.device_fd(g, "0000:00:04.0").error() == errc::mfile);
  CHECK(m.client::create_kvm_vfio(vm).error() == errc::mfile);
  m.task.limit(5);
  CHECK(m.world.find_device("0000:00:04.0")->open_count == 0);
  CHECK(m.task.open("/dev/vfio/2"));
}

TEST_CASE("VFIO is not loaded: FILE_ADD fails with EINVAL") {
  machine_under_test<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  m.kernel.vfio.load(false);
  CHECK(m.add(dev, g) == errc::inval);
  m.kernel.vfio.load(true);
  CHECK(m.add(dev, g) == errc::ok);
}

TEST_CASE("an argument that can be read only: EFAULT, and the kvm-vfio device exists") {
  machine_under_test<> m;
  const int vm = m.create_vm();
  kvm_create_device create = support::create_argument();
  m.memory.forbid(&create, sizeof create, true);
  CHECK(m.ioctl_at(vm, KVM_CREATE_DEVICE, create) == errc::fault);
  CHECK(m.client::create_kvm_vfio(vm).error() == errc::busy);
}

TEST_CASE("SET_IRQS with eventfds, but with none of them: ERANGE") {
  machine_under_test<> m;
  const int d = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  std::uint32_t none[] = {20, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                          VFIO_PCI_MSI_IRQ_INDEX, 0, 0};
  CHECK(m.ioctl_at(d, VFIO_DEVICE_SET_IRQS, none) == errc::range);
}
