// SPDX-License-Identifier: BSL-1.0
// The classes of native/ use a device of the simulator: the answers of its VFIO are understood.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/sim/process_ref.hpp>

#include <cstdint>
#include <cstring>

namespace {
namespace native = kvm_vfio::native;
namespace vfio = kvm_vfio::native::vfio;

constexpr std::uint32_t msix = VFIO_PCI_MSIX_IRQ_INDEX;

struct passed_through : machine_under_test<> {
  sim::process_ref sys{task};
  vfio::basic_container<sim::process_ref> container =
      vfio::basic_container_ref<sim::process_ref>::open("/dev/vfio/vfio", sys).value();
  vfio::basic_group<sim::process_ref> group =
      vfio::basic_group_ref<sim::process_ref>::open(1, sys).value();
  vfio::basic_device<sim::process_ref> device;

  explicit passed_through(const sim::topology& t = two_groups(),
                          const sim::world_options& options = {})
      : machine_under_test<>(t, options) {
    REQUIRE(group.set_container(container) == errc::ok);
    REQUIRE(container.set_iommu() == errc::ok);
    device = group.get_device("0000:00:04.0").value();
  }
};

TEST_CASE_METHOD(passed_through, "native: a simulated device says what it has") {
  const auto info = device.info();
  REQUIRE(info);
  CHECK(info->is_pci());
  CHECK(info->can_reset());
  CHECK(info->regions == VFIO_PCI_NUM_REGIONS);
  CHECK(info->irqs == VFIO_PCI_NUM_IRQS);
  CHECK(device.irq(msix).value().count == 8);
  CHECK(device.irq(msix).value().eventfd());
  CHECK(device.irq(VFIO_PCI_NUM_IRQS).error() == errc::inval);
  const auto bar = device.region(0);
  REQUIRE(bar);
  CHECK(bar->size == 0x4000);
  CHECK(bar->mappable());
  CHECK(device.region(VFIO_PCI_NUM_REGIONS).error() == errc::inval);
  CHECK(device.reset() == errc::ok);
  // The device is on the root bus.
  vfio::dependent_device others[4];
  CHECK(device.hot_reset_devices(others, 4).error() == errc::nodev);
}

TEST_CASE_METHOD(passed_through, "native: the regions of a simulated device are used") {
  const auto config = device.region(VFIO_PCI_CONFIG_REGION_INDEX);
  REQUIRE(config);
  const auto vendor = device.read_le<std::uint16_t>(*config, 0);
  const auto both = device.read_le<std::uint32_t>(*config, 0);
  REQUIRE(both);
  CHECK(vendor.value() == (*both & 0xffff));
  CHECK(device.write_le<std::uint16_t>(*config, 4, 6) == errc::ok);
  CHECK((device.read_le<std::uint16_t>(*config, 4).value() & 6) == 6);
  CHECK(device.read_le<std::uint32_t>(*config, config->size - 3).error() == errc::inval);

  const auto bar = device.region(0);
  REQUIRE(bar);
  auto mapped = device.map(*bar, 0x3000, 0x1000);
  REQUIRE(mapped);
  std::memcpy(static_cast<unsigned char*>(mapped->data()) + 8, "\x78\x56\x34\x12", 4);
  CHECK(device.read_le<std::uint32_t>(*bar, 0x3008).value() == 0x12345678);
  CHECK(mapped->unmap() == errc::ok);
}

TEST_CASE_METHOD(passed_through, "native: vectors of a simulated device signal eventfds") {
  const auto event = native::basic_event_ref<sim::process_ref>::make(sys);
  REQUIRE(event);
  const int eventfds[] = {-1, event->fd()};
  CHECK(device.arm(msix, 8, eventfds, 2).error() == errc::inval);
  {
    auto armed = device.arm(msix, 0, eventfds, 2);
    REQUIRE(armed);
    CHECK(device.trigger(msix, 1) == errc::ok);
    CHECK(event->take().value() == 1);
    CHECK(device.disarm(msix, 1, 1) == errc::ok);
    CHECK(device.trigger(msix, 1) == errc::ok);
    CHECK(event->take().error() == errc::again);
  }
  CHECK(device.disarm(msix) == errc::inval);  // the guard has done it
}

struct passed_through_small : passed_through {
  passed_through_small() : passed_through(topology()) {}
  static sim::topology topology() {
    sim::topology t = two_groups();
    t.groups[0].devices[0].pci.bars[2].address = 0xfebd0000;
    return t;
  }
};

TEST_CASE_METHOD(passed_through_small, "native: a BAR that is smaller than a page is mapped") {
  const auto bar = device.region(2);
  REQUIRE(bar);
  REQUIRE(bar->size == 0x100);
  REQUIRE(bar->mappable());
  CHECK(device.map(*bar, 0, 0x1000).error() == errc::inval);
  const auto mapped = device.map(*bar, 0, 0x100);
  REQUIRE(mapped);
  CHECK(device.write_le<std::uint32_t>(*bar, 0xfc, 0x12345678) == errc::ok);
  std::uint32_t last = 0;
  std::memcpy(&last, static_cast<const char*>(mapped->data()) + 0xfc, sizeof last);
  CHECK(last == 0x12345678);
}

// Without interrupt remapping a function has one vector of MSI.
struct passed_through_unsafe : passed_through {
  passed_through_unsafe() : passed_through(topology(), {.allow_unsafe_interrupts = true}) {}
  static sim::topology topology() {
    sim::topology t = two_groups();
    t.iommus[0].interrupt_remapping = false;
    return t;
  }
};

TEST_CASE_METHOD(passed_through_unsafe, "native: fewer vectors than asked for are an error") {
  constexpr std::uint32_t msi = VFIO_PCI_MSI_IRQ_INDEX;
  const auto event = native::basic_event_ref<sim::process_ref>::make(sys);
  REQUIRE(event);
  const int eventfds[] = {event->fd(), event->fd()};
  CHECK(device.set_eventfds(msi, 0, eventfds, 2) == errc::nospc);
  CHECK(device.trigger(msi, 0) == errc::inval);  // none is armed
  CHECK(device.set_eventfds(msi, 0, eventfds, 1) == errc::ok);
  CHECK(device.trigger(msi, 0) == errc::ok);
  CHECK(event->take().value() == 1);
}

TEST_CASE_METHOD(passed_through,
                 "native: a level interrupt of a simulated device is masked and unmasked") {
  const auto raised = native::basic_event_ref<sim::process_ref>::make(sys);
  REQUIRE(raised);
  const int fd = raised->fd();
  const auto armed = device.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, &fd, 1);
  REQUIRE(armed);
  CHECK(device.trigger(VFIO_PCI_INTX_IRQ_INDEX) == errc::ok);
  CHECK(raised->take().value() == 1);
  CHECK(device.mask(VFIO_PCI_INTX_IRQ_INDEX) == errc::ok);
  CHECK(device.unmask(VFIO_PCI_INTX_IRQ_INDEX) == errc::ok);
}

TEST_CASE_METHOD(passed_through, "native: the IOVAs of a simulated container are known") {
  vfio::iova_range ranges[8] = {};
  const auto info = container.iommu_info(ranges, 8);
  REQUIRE(info);
  CHECK((info->page_sizes & 0x1000) != 0);
  REQUIRE(info->ranges_known);
  REQUIRE(info->ranges > 0);
  CHECK(ranges[0].first < ranges[0].last);
  CHECK(info->available_known);
  CHECK(info->available > 0);
}

}  // namespace
