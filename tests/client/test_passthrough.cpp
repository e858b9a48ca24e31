// SPDX-License-Identifier: BSL-1.0
// The VMM of the example, written once: on the simulator as each Linux release, on a mock, and with
// defects that must be found. tests/conformance runs the same VMM in booted kernels.
#include "example_vmm.hpp"

#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/ioas.hpp>
#include <kvm_vfio/testing/mock_system.hpp>
#include <kvm_vfio/testing/vfio_answers.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace client_tests;
namespace client = kvm_vfio::client;
namespace testing = kvm_vfio::testing;

namespace {

// What the VMM sees of edu, twice. Linux 7.3 has an error interrupt for each device; before, only a
// PCI Express device has one.
std::vector<std::string> expected(const char* error_interrupt = "irq: OK 1") {
  std::vector<std::string> lines{"start: OK 0"};
  for (int round = 0; round < 2; ++round)
    for (const char* line : {"plug: OK 0",      "identity: OK 11e81234",
                             "info: OK 2",      "region: OK 100000",
                             "region: OK 0",    "region: OK 0",
                             "region: OK 0",    "region: OK 0",
                             "region: OK 0",    "region: OK 0",
                             "region: OK 100",  "region: EINVAL 0",
                             "irq: OK 1",       "irq: OK 1",
                             "irq: OK 0",       error_interrupt,
                             "irq: OK 1",       "no interrupt yet: EAGAIN 0",
                             "raise: OK 0",     "interrupts: OK 1",
                             "reset: EINVAL 0", "unplug: OK 0"})
      lines.emplace_back(line);
  return lines;
}

template <class Profile>
void check_on_simulator(const vmm::chosen& which) {
  sim::machine<Profile> machine(edu());
  const sim::snapshot before = machine.look();
  page memory;
  const auto lines =
      vmm::report(sim::process_ref(machine.process()), which, memory.bytes, page::size);
  constexpr bool has_error = std::is_same_v<Profile, kv::linux_7_3>;
  CHECK(lines == expected(has_error ? "irq: OK 1" : "irq: EINVAL 0"));
  CHECK(difference(before, machine.look()) == "");
  CHECK(machine.finish() == "");
}

}  // namespace

TEMPLATE_TEST_CASE("The VMM plugs a group's device on the simulator", "[client]", kv::linux_6_1,
                   kv::linux_6_12, kv::linux_7_3) {
  check_on_simulator<TestType>(by_group);
}
TEMPLATE_TEST_CASE("The VMM plugs a device file on the simulator", "[client]", kv::linux_6_12,
                   kv::linux_7_3) {
  check_on_simulator<TestType>(by_file);
}
TEST_CASE("Linux 6.1 has no device files, and the VMM is told", "[client]") {
  sim::machine<kv::linux_6_1> machine(edu());
  page memory;
  const auto lines =
      vmm::report(sim::process_ref(machine.process()), by_file, memory.bytes, page::size);
  CHECK(lines == std::vector<std::string>{"start: OK 0", "plug: ENOENT 0"});
  CHECK(machine.finish() == "");
}

namespace {

// A mock that answers as edu does.
struct mock_edu {
  testing::mock_state state;
  std::map<int, int> armed;  // the eventfd of each device

  mock_edu() {
    using result = kv::result<int>;
    testing::answers_as_vfio(state);
    state.on_ioctl(VFIO_DEVICE_GET_INFO, [](int, std::uintptr_t at) {
      auto& info = *reinterpret_cast<vfio_device_info*>(at);
      info.flags = VFIO_DEVICE_FLAGS_PCI;
      info.num_regions = VFIO_PCI_NUM_REGIONS;
      info.num_irqs = VFIO_PCI_NUM_IRQS;
      return result(0);
    });
    state.on_ioctl(VFIO_DEVICE_GET_REGION_INFO, [](int, std::uintptr_t at) {
      auto& region = *reinterpret_cast<vfio_region_info*>(at);
      if (region.index > VFIO_PCI_CONFIG_REGION_INDEX) return result(errc::inval);
      region.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
      region.offset = std::uint64_t{region.index} << 40;
      region.size = region.index == 0                              ? 0x100000
                    : region.index == VFIO_PCI_CONFIG_REGION_INDEX ? 0x100
                                                                   : 0;
      return result(0);
    });
    state.on_ioctl(VFIO_DEVICE_GET_IRQ_INFO, [](int, std::uintptr_t at) {
      auto& irq = *reinterpret_cast<vfio_irq_info*>(at);
      irq.flags = VFIO_IRQ_INFO_EVENTFD;
      irq.count = irq.index != VFIO_PCI_MSIX_IRQ_INDEX;
      return result(0);
    });
    state.on_ioctl(VFIO_DEVICE_SET_IRQS, [this](int fd, std::uintptr_t at) {
      std::uint32_t head[6] = {};
      std::memcpy(head, reinterpret_cast<const void*>(at), sizeof(vfio_irq_set));
      if (head[1] & VFIO_IRQ_SET_DATA_EVENTFD) {
        std::memcpy(head, reinterpret_cast<const void*>(at), sizeof head);
        armed[fd] = static_cast<int>(head[5]);
      } else if (head[4] == 0) {
        armed.erase(fd);
      } else {
        state.signal(armed.at(fd));
      }
      return result(0);
    });
    state.on_ioctl(VFIO_DEVICE_RESET, [](int, std::uintptr_t) { return result(errc::inval); });
    const std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
    for (int i = 0; i < 4; ++i)
      state.bytes[config + static_cast<unsigned>(i)] =
          static_cast<unsigned char>(0x11e81234U >> 8 * i);
  }
};

}  // namespace

TEST_CASE("The VMM plugs devices on a mock and sees what it sees on the simulator", "[client]") {
  const auto* const which = GENERATE(&by_group, &by_file);
  mock_edu mock;
  page memory;
  CHECK(vmm::report(testing::mock_system(mock.state), *which, memory.bytes, page::size) ==
        expected());
  CHECK(mock.state.descriptors() == 0);
  CHECK(mock.state.mappings() == 0);
  CHECK(mock.armed.empty());
}

TEST_CASE("On a mock each call fails once, and the VMM leaves nothing behind", "[client]") {
  const auto* const which = GENERATE(&by_group, &by_file);
  page memory;
  mock_edu without_fault;
  (void)vmm::report(testing::mock_system(without_fault.state), *which, memory.bytes, page::size);
  const std::size_t calls = without_fault.state.calls().size();
  for (std::size_t n = 1; n <= calls; ++n) {
    mock_edu mock;
    mock.state.fail(n, errc::io);
    (void)vmm::report(testing::mock_system(mock.state), *which, memory.bytes, page::size);
    INFO("call " << n << ", " << mock.state.calls().at(n - 1).name);
    CHECK(mock.state.calls().at(n - 1).error == errc::io);
    CHECK(mock.state.descriptors() == 0);
  }
  CHECK(calls > 40);
}

TEST_CASE("With the answers of VFIO a plug succeeds on a mock at once", "[client]") {
  testing::mock_state state;
  testing::answers_as_vfio(state);
  const testing::mock_system system(state);
  using mock = testing::mock_system;
  namespace vfio = kv::native::vfio;
  {
    auto kvm = kv::native::basic_kvm_ref<mock>::open("/dev/kvm", system);
    auto files = client::vm_files<mock>::create(*kvm->create_vm());
    auto container = client::container<mock>::open(system);
    auto space = client::address_space<mock>::open(system);
    REQUIRE((files && container && space));
    auto file = client::group_file<mock>::open(1, system);
    CHECK_FALSE(file->view().in_container().value());
    auto joined = std::move(*file).join(*container);
    CHECK(joined->view().in_container().value());
    auto attached = std::move(*std::move(*joined).set_iommu()).attach(*files);
    const auto info = container->view().iommu_info();
    CHECK(info->page_sizes == 4096);
    auto d = attached->open_device("0000:00:04.0");
    auto bar = d->view().region(VFIO_PCI_BAR0_REGION_INDEX);
    CHECK(d->map(*bar, 0, 4096));
    CHECK(d->view().region(VFIO_PCI_NUM_REGIONS).error() == errc::inval);
    CHECK(d->view().irq(VFIO_PCI_NUM_IRQS).error() == errc::inval);
    CHECK(d->view().irq(VFIO_PCI_MSI_IRQ_INDEX).value().count == 1);
    CHECK(d->view().hot_reset_devices(nullptr, 0).value().count == 0);
    CHECK(d->view().reset() == errc::ok);

    auto own = client::device_file<mock>::open(0, system);
    auto bound = std::move(*std::move(*own).attach(*files)).bind(*space);
    CHECK(bound->id() != static_cast<std::uint32_t>(space->id()));
    auto in_space = std::move(*bound).attach_to_space();
    REQUIRE(in_space);
    const vfio::basic_ioas_ref<mock> ioas(space->view(), space->id());
    vfio::iova_range all;
    CHECK(ioas.iova_ranges(&all, 1).value().ranges == 1);
    CHECK(all.last == ~std::uint64_t{0});
    CHECK(ioas.iova_ranges(nullptr, 0).value().ranges == 1);
    state.fail(1, errc::io);
    CHECK(d->view().info().error() == errc::io);
  }
  CHECK(state.descriptors() == 0);
  CHECK(state.mappings() == 0);
}

// Four defects that a VMM's author has made. Each is found by the state after the unplug, or at the
// end of the process.
TEST_CASE("A VMM that leaks is found out", "[client]") {
  using ref = sim::process_ref;
  sim::machine<> machine(edu());
  const ref sys(machine.process());
  page memory;
  auto kvm = kv::native::basic_kvm_ref<ref>::open("/dev/kvm", sys);
  auto vm = kvm->create_vm();
  auto files = client::vm_files<ref>::create(*vm);
  REQUIRE(files);
  const auto attached = [&](const client::container<ref>& in) {
    auto group = client::group_file<ref>::open(7, sys);
    auto joined = std::move(*group).join(in);
    auto ready = std::move(*joined).set_iommu();
    return std::move(*ready).attach(*files);
  };

  SECTION("no UNSET_CONTAINER") {
    auto container = client::container<ref>::open(sys);
    auto group = attached(*container);
    REQUIRE(group);
    const int fd = group->release().fd();
    auto device = files->device();
    CHECK(kv::file_del(device, fd) == errc::ok);
    CHECK(sys.close(fd) == errc::ok);
    CHECK(machine.checker().count(kv::trace::rule::left_in_container) == 1);
  }
  SECTION("interrupts left armed") {
    auto container = client::container<ref>::open(sys);
    auto group = attached(*container);
    REQUIRE(group);
    auto device = group->open_device("0000:00:04.0");
    const auto event = kv::native::basic_event_ref<ref>::make(sys);
    const int fd = event->fd();
    REQUIRE(device->arm(VFIO_PCI_MSI_IRQ_INDEX, 0, &fd, 1) == errc::ok);
    CHECK(sys.close(device->release().fd()) == errc::ok);
    CHECK(machine.checker().count(kv::trace::rule::irqs_armed) == 1);
  }
  SECTION("DMA not unmapped") {
    auto container = client::container<ref>::open(sys);
    auto group = attached(*container);
    REQUIRE(group);
    const sim::snapshot before = machine.look();
    auto mapping = container->map({.iova = 0, .memory = memory.bytes, .size = page::size});
    REQUIRE(mapping);
    mapping->release();
    CHECK(difference(before, machine.look()).find("mapping") != std::string::npos);
    CHECK(machine.finish().find("mapping") != std::string::npos);
  }
  SECTION("IOAS not destroyed") {
    const sim::snapshot before = machine.look();
    auto space = client::address_space<ref>::open(sys);
    REQUIRE(space);
    CHECK(space->release().fd() >= 0);
    INFO(difference(before, machine.look()));
    CHECK(difference(before, machine.look()).find("IOAS") != std::string::npos);
    CHECK(machine.finish().find("IOAS") != std::string::npos);
  }
}

TEST_CASE("A watched system tells a checker of the VMM's calls", "[client]") {
  sim::machine<> machine(edu());
  kv::trace::timeline seen;
  kv::trace::checker checker;
  const kv::trace::watched_system told(sim::process_ref(machine.process()), seen);
  const kv::trace::watched_system checked(told, checker);
  page memory;
  CHECK(vmm::report(checked, by_group, memory.bytes, page::size) == expected());
  CHECK(seen.calls().size() == machine.timeline().calls().size());
  CHECK(checker.text().empty());
}
