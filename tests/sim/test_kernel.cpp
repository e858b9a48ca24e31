// SPDX-License-Identifier: BSL-1.0
// kvm-vfio on the simulated world: coherency by release, who sees the VM, who keeps it alive.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

TEMPLATE_TEST_CASE("a noncoherent group registers the VM, and its going unregisters it", "",
                   kvm_vfio::linux_7_3, kvm_vfio::linux_6_12, kvm_vfio::linux_6_1) {
  machine_under_test<TestType> m(two_groups(/*snoop_control=*/false));
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 1);
  CHECK(m.kernel.vm(0).assigned() == (TestType::counts_assignments ? 1 : 0));
  REQUIRE(m.del(dev, g) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 0);
  CHECK(m.kernel.vm(0).assigned() == 0);
}

TEST_CASE("on 6.1 a group added before its container has an IOMMU misleads, silently") {
  machine_under_test<kvm_vfio::linux_6_1> m(two_groups(/*snoop_control=*/false));
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.open("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 0);  // no container: reads as coherent
  const int c = m.open("/dev/vfio/vfio");
  REQUIRE(m.set_container(g, c) == errc::ok);
  REQUIRE(m.set_iommu(c) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 0);  // wrong, and nobody asks again …
  CHECK_FALSE(m.kernel.vms().at(0).tracked.at(0).coherent);
  CHECK(m.del(dev, dev) == errc::noent);
  CHECK(m.kernel.vm(0).noncoherent() == 1);  // … until the next ADD or DEL
}

TEST_CASE("on 6.1 a group in a container without an IOMMU counts as noncoherent") {
  machine_under_test<kvm_vfio::linux_6_1> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.open("/dev/vfio/1");
  const int c = m.open("/dev/vfio/vfio");
  REQUIRE(m.set_container(g, c) == errc::ok);
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 1);
  REQUIRE(m.set_iommu(c) == errc::ok);
  CHECK(m.kernel.vm(0).noncoherent() == 1);
  CHECK(m.del(dev, dev) == errc::noent);
  CHECK(m.kernel.vm(0).noncoherent() == 0);
}

TEST_CASE("6.1 has neither iommufd nor devices' character devices") {
  machine_under_test<kvm_vfio::linux_6_1> m;
  CHECK(m.task.open("/dev/iommu").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/devices/vfio0").error() == errc::noent);
}

TEMPLATE_TEST_CASE("a driver that needs the VM opens only after FILE_ADD", "", kvm_vfio::linux_7_3,
                   kvm_vfio::linux_6_12, kvm_vfio::linux_6_1) {
  sim::topology t = two_groups();
  t.groups[0].devices[0].needs_vm = true;
  machine_under_test<TestType> m(t);
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  CHECK(m.device_fd(g, "0000:00:04.0").error() == errc::srch);
  CHECK(m.world.find_device("0000:00:04.0")->open_count == 0);
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.device_fd(g, "0000:00:04.0"));
  CHECK(m.world.find_device("0000:00:04.0")->vm == &m.kernel.vm(0));
}

TEMPLATE_TEST_CASE("whether an opened device keeps the VM alive depends on the release", "",
                   kvm_vfio::linux_7_3, kvm_vfio::linux_6_12, kvm_vfio::linux_6_1) {
  machine_under_test<TestType> m;
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  const int d = m.device_fd(g, "0000:00:04.0").value();
  REQUIRE(m.task.close(vm));
  REQUIRE(m.task.close(dev));
  CHECK(m.kernel.vm(0).users() == (TestType::group_without_container_is_coherent ? 0 : 1));
  REQUIRE(m.task.close(d));
  CHECK(m.kernel.vm(0).users() == 0);
}

TEST_CASE("a device file must be added before it is bound, if its driver needs the VM") {
  namespace u = kvm_vfio::uapi;
  sim::topology t = two_groups();
  t.groups[0].devices[0].needs_vm = true;
  machine_under_test<> m(t);
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int d = m.open("/dev/vfio/devices/vfio0");
  u::device_bind_iommufd b{
      .argsz = sizeof b, .flags = 0, .iommufd = m.open("/dev/iommu"), .out_devid = 0};
  CHECK(m.ioctl_at(d, u::request_bind_iommufd, b) == errc::srch);
  REQUIRE(m.add(dev, d) == errc::ok);
  CHECK(m.ioctl_at(d, u::request_bind_iommufd, b) == errc::ok);
}

TEST_CASE("of two VMs that track one group, the group has the last") {
  machine_under_test<> m;
  const int dev0 = m.create_kvm_vfio(m.create_vm());
  const int dev1 = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev0, g) == errc::ok);
  REQUIRE(m.add(dev1, g) == errc::ok);
  CHECK(m.world.find_group(1)->vm == &m.kernel.vm(1));
}

// docs/guide.md, "When the VM's descriptor changes".
TEST_CASE("a new VM takes over the files: the old tracking must end before the new one begins") {
  machine_under_test<> m(two_groups(/*snoop_control=*/false));
  const int old_dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(old_dev, g) == errc::ok);
  const int d = m.device_fd(g, "0000:00:04.0").value();
  const int new_dev = m.create_kvm_vfio(m.create_vm());
  const auto* const group = m.world.find_group(1);
  const auto* const device = m.world.find_device("0000:00:04.0");

  SECTION("the old tracking ends first") {
    REQUIRE(m.task.close(old_dev));
    CHECK(group->vm == nullptr);
    CHECK(m.kernel.vm(0).noncoherent() == 0);
    REQUIRE(m.add(new_dev, g) == errc::ok);
    CHECK(group->vm == &m.kernel.vm(1));
    CHECK(m.kernel.vm(1).noncoherent() == 1);
  }
  SECTION("the old tracking ends last: the new VM is lost") {
    REQUIRE(m.add(new_dev, g) == errc::ok);
    REQUIRE(m.task.close(old_dev));
    CHECK(group->vm == nullptr);
  }
  CHECK(device->vm == &m.kernel.vm(0));  // what the open device learned does not change
  REQUIRE(m.task.close(d));
  CHECK(device->vm == nullptr);
}

TEST_CASE("a FILE_DEL for the first of two devices of a group takes the VM from the second") {
  machine_under_test<> m(two_groups(/*snoop_control=*/false));
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/2");
  REQUIRE(m.add(dev, g) == errc::ok);
  const int first = m.device_fd(g, "0000:00:05.0").value();
  REQUIRE(m.device_fd(g, "0000:00:05.1"));
  REQUIRE(m.task.close(first));
  REQUIRE(m.del(dev, g) == errc::ok);
  CHECK(m.world.find_group(2)->vm == nullptr);
  CHECK(m.kernel.vm(0).noncoherent() == 0);
  CHECK(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::busy);
  CHECK(m.del(dev, g) == errc::noent);
}

TEST_CASE("a VM's file says EIO to another address space, and its device once the VM is dead") {
  machine_under_test<> m;
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  sim::process child(m.kernel, m.memory, 2);
  m.task.fork_into(child);
  CHECK(child.ioctl(vm, KVM_CREATE_DEVICE, 0).error() == errc::io);
  m.kernel.kill(0);
  CHECK(m.ioctl(dev, 0) == errc::io);
}

TEST_CASE("the request number is 32 bits wide: a sign-extended one is the same") {
  machine_under_test<> m;
  const int vm = m.create_vm();
  kvm_create_device create = support::create_argument();
  const auto wide = static_cast<std::uint64_t>(
      static_cast<std::int64_t>(static_cast<std::int32_t>(KVM_CREATE_DEVICE)));
  CHECK(m.ioctl_at(vm, wide, create) == errc::ok);
}

TEST_CASE("VFIO is not loaded: nothing is a VFIO file") {
  machine_under_test<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  m.kernel.vfio.load(false);
  CHECK(m.add(dev, g) == errc::inval);
  m.kernel.vfio.load(true);
  CHECK(m.add(dev, g) == errc::ok);
}

TEST_CASE("an address that no program has is none that can be read") {
  sim::memory memory;
  const std::uint32_t there = 5;
  std::uint32_t value = 0;
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(&there);
  REQUIRE(memory.read(address, &value, sizeof value));
  CHECK(value == there);
  CHECK_FALSE(memory.read(0, &value, sizeof value));
  CHECK_FALSE(memory.read(~std::uint64_t{0} - 1, &value, sizeof value));
  CHECK_FALSE(memory.read(address | std::uint64_t{1} << 63, &value, sizeof value));
  std::uint32_t mine = 6;
  const std::uint64_t read_only = support::address_of(mine);
  memory.forbid(&mine, sizeof mine, /*readable=*/true);
  CHECK(memory.read(read_only, &value, sizeof value));
  CHECK(value == 6);
  CHECK_FALSE(memory.write(read_only, &there, sizeof there));
  CHECK(mine == 6);
  // A pointer of 32 bits would lose what sets it apart.
  if (sizeof(void*) < 8)
    CHECK_FALSE(memory.read(address | std::uint64_t{1} << 32, &value, sizeof value));
}

namespace {
using spapr = machine_under_test<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>;

int make_table(spapr& m, int vm, std::uint32_t page_shift, std::uint64_t pages,
               std::uint64_t offset = 0) {
  static std::uint64_t number = 0;
  kvm_vfio::uapi::create_spapr_tce_64 c{
      .liobn = ++number, .page_shift = page_shift, .flags = 0, .offset = offset, .size = pages};
  return static_cast<int>(m.task
                              .ioctl(vm, kvm_vfio::uapi::request_create_spapr_tce_64,
                                     reinterpret_cast<std::uintptr_t>(&c))
                              .value());
}
}  // namespace

TEST_CASE("sPAPR: which table fits which group, and when") {
  spapr m(two_groups(), {.iommu = sim::iommu_kind::spapr, .device_files = false});
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int fits_4k = make_table(m, vm, 12, 1 << 18);
  const int fits_64k = make_table(m, vm, 16, 1 << 14);
  const int smaller = make_table(m, vm, 12, 1 << 17);
  const int too_large = make_table(m, vm, 12, (1 << 18) + 1);
  const int elsewhere = make_table(m, vm, 12, 1 << 18, 16);
  const int others = make_table(m, m.create_vm(), 12, 1 << 18);
  const int g = m.open("/dev/vfio/1");
  CHECK(m.set_spapr_tce(dev, -1, fits_4k) == errc::badf);
  CHECK(m.set_spapr_tce(dev, g, -1) == errc::noent);  // before the table is looked at
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, -1) == errc::badf);
  CHECK(m.set_spapr_tce(dev, g, vm) == errc::inval);
  CHECK(m.set_spapr_tce(dev, g, smaller) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, too_large) == errc::inval);
  CHECK(m.set_spapr_tce(dev, g, elsewhere) == errc::inval);
  CHECK(m.set_spapr_tce(dev, g, others) == errc::inval);
  CHECK(m.set_spapr_tce(dev, g, fits_4k) == errc::ok);  // no container: the host's window
  CHECK(m.set_spapr_tce(dev, g, fits_4k) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, fits_64k) == errc::ok);
  CHECK(m.world.find_group(1)->hardware.references == 1);

  const int c = m.open("/dev/vfio/vfio");
  REQUIRE(m.set_container(g, c) == errc::ok);
  CHECK(m.set_iommu(c, VFIO_TYPE1v2_IOMMU) == errc::nodev);
  REQUIRE(m.set_iommu(c, VFIO_SPAPR_TCE_IOMMU) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, fits_4k) == errc::inval);  // before the first mapping
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = 0x10000,
                               .iova = 0,
                               .size = 4096};
  CHECK(m.ioctl_at(c, VFIO_IOMMU_MAP_DMA, map) == errc::perm);
  REQUIRE(m.ioctl(c, VFIO_IOMMU_ENABLE) == errc::ok);
  REQUIRE(m.ioctl_at(c, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, fits_4k) == errc::ok);

  m.world.find_group(1)->hardware.has_table_data = false;
  CHECK(m.set_spapr_tce(dev, g, fits_4k) == errc::fault);
  const int d = m.device_fd(g, "0000:00:04.0").value();
  REQUIRE(m.add(dev, d) == errc::ok);
  CHECK(m.set_spapr_tce(dev, d, fits_4k) == errc::io);
  using kvm_vfio::spapr_warning;
  CHECK(m.kernel.arch.warnings(spapr_warning::attach_without_iommu_group) == 1);
  REQUIRE(m.task.close(dev));
  CHECK(m.kernel.arch.warnings(spapr_warning::release_without_iommu_group) == 1);
  CHECK(m.world.find_group(1)->hardware.references == 0);
}

TEST_CASE("sPAPR: which tables KVM makes") {
  namespace u = kvm_vfio::uapi;
  constexpr std::uint64_t most = ~std::uint64_t{0};
  const struct {
    const char* what;
    u::create_spapr_tce_64 c;
    errc answer;
  } all[] = {
      {"the host's window", {1, 12, 0, 0, 1 << 18}, errc::ok},
      {"the same number", {1, 16, 0, 0, 16}, errc::busy},
      {"the same number, without pages", {1, 12, 0, 0, 0}, errc::inval},
      {"a flag", {2, 12, 1, 0, 16}, errc::inval},
      {"no pages", {2, 12, 0, 0, 0}, errc::inval},
      {"small pages", {2, 11, 0, 0, 16}, errc::inval},
      {"the largest pages", {2, 34, 0, 0, 1}, errc::ok},
      {"larger pages", {3, 35, 0, 0, 1}, errc::inval},
      {"up to the last address", {3, 12, 0, (most >> 12) - 16, 16}, errc::ok},
      {"over the last address", {4, 12, 0, (most >> 12) - 16, 17}, errc::inval},
      {"a sum that wraps", {4, 12, 0, most - 15, 16}, errc::ok},
      {"a number of 64 bits", {most, 12, 0, 0, 16}, errc::ok},
  };
  spapr m(two_groups(), {.iommu = sim::iommu_kind::spapr, .device_files = false});
  const int vm = m.create_vm();
  const auto make = [&](int of, u::create_spapr_tce_64 c) {
    return m.task.ioctl(of, u::request_create_spapr_tce_64, reinterpret_cast<std::uintptr_t>(&c));
  };
  for (const auto& row : all) {
    INFO(row.what);
    CHECK(make(vm, row.c).error() == row.answer);
  }
  CHECK(m.task.ioctl(vm, u::request_create_spapr_tce_64, 0).error() == errc::fault);
  // Each VM has numbers of its own, and a closed table gives its number back.
  const auto of_other = make(m.create_vm(), all[0].c);
  REQUIRE(of_other);
  const auto second = make(vm, {9, 12, 0, 0, 16});
  REQUIRE(second);
  REQUIRE(m.task.close(static_cast<int>(*second)));
  CHECK(make(vm, {9, 12, 0, 0, 16}));
  char byte = 0;
  CHECK(m.task.pread(static_cast<int>(*of_other), &byte, 1, 0).error() == errc::spipe);
  CHECK(m.task.pwrite(static_cast<int>(*of_other), &byte, 1, 0).error() == errc::spipe);
}

TEST_CASE("sPAPR: the older request for a table counts bytes") {
  namespace u = kvm_vfio::uapi;
  spapr m(two_groups(), {.iommu = sim::iommu_kind::spapr, .device_files = false});
  const int vm = m.create_vm();
  const auto make = [&](std::uint64_t number, std::uint32_t bytes) {
    u::create_spapr_tce c{.liobn = number, .window_size = bytes};
    return m.task.ioctl(vm, u::request_create_spapr_tce, reinterpret_cast<std::uintptr_t>(&c));
  };
  const auto whole = make(1, 1U << 30);
  REQUIRE(whole);
  CHECK(make(1, 1U << 30).error() == errc::busy);
  CHECK(make(2, 0xfff).error() == errc::inval);
  CHECK(make(2, 0xffffffff));
  CHECK(m.task.ioctl(vm, u::request_create_spapr_tce, 0).error() == errc::fault);
  const int dev = m.create_kvm_vfio(vm);
  const int g = m.open("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, static_cast<int>(*whole)) == errc::ok);
}

TEST_CASE("sPAPR: the group of a mediated device has no table data") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].mediated = true;
  spapr m(t, {.iommu = sim::iommu_kind::spapr, .device_files = false});
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int table = make_table(m, vm, 12, 1 << 18);
  const int g = m.open("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.set_spapr_tce(dev, g, table) == errc::fault);
}

TEST_CASE("a kernel forgets destroyed VMs, but neither the last ones nor one that a device knows") {
  machine_under_test<kvm_vfio::linux_6_1> m;
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.device_fd(g, "0000:00:04.0"));
  REQUIRE(m.task.close(vm));
  REQUIRE(m.task.close(dev));
  const int lives = m.create_vm();
  constexpr std::size_t count = 1000;
  for (std::size_t i = 2; i < count; ++i) REQUIRE(m.task.close(m.create_vm()));
  // On 6.1 the device does not keep the VM alive.
  REQUIRE(m.kernel.vm(0).users() == 0);
  CHECK(m.world.find_device("0000:00:04.0")->vm == &m.kernel.vm(0));
  CHECK(m.world.knows(m.kernel.vm(0)));
  CHECK(m.kernel.vm(1).users() == 1);
  for (std::size_t i = count - 64; i < count; ++i) CHECK(m.kernel.vm(i).users() == 0);
  CHECK(m.kernel.vm(count - 1).name() == "vm999");
  CHECK_FALSE(m.world.knows(m.kernel.vm(count - 1)));
  CHECK_THROWS_AS(m.kernel.vm(count / 2), std::out_of_range);
  REQUIRE(m.kernel.vms().size() == 1);
  CHECK(m.kernel.vms().at(0).name == "vm1");
  REQUIRE(m.task.close(lives));
}
