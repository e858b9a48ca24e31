// SPDX-License-Identifier: BSL-1.0
// The features of VFIO_DEVICE_FEATURE with which a process lets the host suspend a function.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>

namespace {

constexpr std::uint32_t entry = 3;
constexpr std::uint32_t with_wakeup = 4;
constexpr std::uint32_t leave = 5;
constexpr std::uint32_t get = VFIO_DEVICE_FEATURE_GET;
constexpr std::uint32_t set = VFIO_DEVICE_FEATURE_SET;
constexpr std::uint32_t probe = VFIO_DEVICE_FEATURE_PROBE;
constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;

/// A host on which a process has a device and an eventfd.
template <class Profile>
struct suspended : machine_under_test<Profile> {
  explicit suspended(const sim::topology& t = two_groups()) : machine_under_test<Profile>(t) {}
  int group = this->group_with_iommu("/dev/vfio/1");
  int device = this->device_fd(group, "0000:00:04.0").value();
  int event = static_cast<int>(this->task.eventfd().value());

  struct argument {
    std::uint32_t argsz, flags;
    std::int32_t event;
    std::uint32_t reserved;
  };
  errc feature(std::uint32_t flags, std::uint32_t argsz = 8, std::int32_t with = -1) {
    argument a{argsz, flags, with, 0};
    return this->ioctl_at(device, VFIO_DEVICE_FEATURE, a);
  }
  errc enter_with(std::int32_t with) { return feature(set | with_wakeup, 16, with); }
  /// How often the eventfd was signalled since the last call.
  std::uint64_t signals() {
    std::uint64_t count = 0;
    return this->task.read(event, &count, sizeof count) ? count : 0;
  }
  sim::answer read_config(std::size_t size = 4) {
    unsigned char bytes[4];
    return this->task.pread(device, bytes, size, config);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("the features of low power are probed and set", "", kvm_vfio::linux_6_1,
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  suspended<TestType> m;
  for (const std::uint32_t which : {entry, with_wakeup, leave}) {
    CHECK(m.feature(probe | which) == errc::ok);
    CHECK(m.feature(probe | set | which) == errc::ok);
    CHECK(m.feature(probe | get | which) == errc::inval);
    CHECK(m.feature(get | which) == errc::inval);
    CHECK(m.feature(which) == errc::inval);
    CHECK(m.feature(probe | which, 7) == errc::inval);
  }
  CHECK(m.feature(probe | 6) == errc::notty);
  CHECK(m.feature(set | leave) == errc::ok);
  CHECK(m.feature(set | entry) == errc::ok);
  CHECK(m.feature(set | entry) == errc::inval);
  CHECK(m.enter_with(m.event) == errc::inval);
  CHECK(m.feature(set | leave) == errc::ok);
  CHECK(m.feature(set | entry) == errc::ok);
}

TEST_CASE("low power with an eventfd wants an eventfd") {
  suspended<kvm_vfio::linux_7_3> m;
  CHECK(m.feature(set | with_wakeup, 15, m.event) == errc::inval);
  CHECK(m.enter_with(-1) == errc::inval);
  CHECK(m.enter_with(999) == errc::badf);
  CHECK(m.enter_with(m.group) == errc::inval);
  // A descriptor is looked at before the state.
  REQUIRE(m.feature(set | entry) == errc::ok);
  CHECK(m.enter_with(999) == errc::badf);
}

TEST_CASE("an access ends low power with an eventfd, and signals the eventfd once") {
  suspended<kvm_vfio::linux_7_3> m;
  REQUIRE(m.enter_with(m.event) == errc::ok);
  CHECK(m.signals() == 0);
  CHECK(m.read_config(0) == 0);
  unsigned char byte = 0;
  CHECK(m.task.pread(m.device, &byte, 1, std::uint64_t{9} << 40) == errc::inval);
  CHECK(m.task.mmap(0x1000, PROT_READ, m.device, 0));
  CHECK(m.signals() == 0);
  CHECK(m.read_config() == 4);
  CHECK(m.signals() == 1);
  CHECK(m.read_config() == 4);
  CHECK(m.signals() == 0);
  // Every ioctl is an access, also one that the device does not know.
  for (const unsigned long request : {static_cast<unsigned long>(VFIO_DEVICE_RESET), 0x3b99UL}) {
    REQUIRE(m.enter_with(m.event) == errc::ok);
    (void)m.task.ioctl(m.device, request, 0);
    CHECK(m.signals() == 1);
  }
  REQUIRE(m.enter_with(m.event) == errc::ok);
  CHECK(m.enter_with(m.event) == errc::ok);
  CHECK(m.signals() == 1);
  CHECK(m.feature(set | leave) == errc::ok);
  CHECK(m.signals() == 1);
}

TEST_CASE("without an eventfd low power lasts until it is left, or the device is closed") {
  suspended<kvm_vfio::linux_7_3> m;
  REQUIRE(m.feature(set | entry) == errc::ok);
  CHECK(m.read_config() == 4);
  CHECK(m.task.pwrite(m.device, "", 1, config + 0x3c) == 1);
  CHECK(m.feature(set | entry) == errc::inval);
  REQUIRE(m.close(m.device) == errc::ok);
  m.device = m.device_fd(m.group, "0000:00:04.0").value();
  CHECK(m.enter_with(m.event) == errc::ok);
  REQUIRE(m.close(m.device) == errc::ok);
  CHECK(m.signals() == 0);
}

TEST_CASE("a hot reset resumes all functions of the bus") {
  sim::topology t = two_groups();
  for (sim::group_spec& g : t.groups)
    for (sim::device_spec& d : g.devices) d.pci.bus_resets = true;
  suspended<kvm_vfio::linux_7_3> m(t);
  const int other = m.group_with_iommu("/dev/vfio/2");
  const int reset = m.device_fd(other, "0000:00:05.0").value();
  REQUIRE(m.enter_with(m.event) == errc::ok);
  // The groups do not own all functions of the bus, but Linux has resumed the functions before.
  struct {
    std::uint32_t argsz = 16, flags = 0, count = 1;
    std::int32_t group = 0;
  } a;
  a.group = other;
  CHECK(m.ioctl_at(reset, VFIO_DEVICE_PCI_HOT_RESET, a) == errc::inval);
  CHECK(m.signals() == 1);
}
