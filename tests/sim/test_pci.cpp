// SPDX-License-Identifier: BSL-1.0
// The generic PCI function: what the scenarios, which must run on any device, cannot look at.
#include "fixture.hpp"
#include "registers.hpp"
#include "support/catch.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace {
constexpr const char* device_name = "0000:00:04.0";

template <class Profile>
struct plugged_of : machine_under_test<Profile> {
  using base = machine_under_test<Profile>;
  using base::task, base::world;

  explicit plugged_of(const sim::topology& t = two_groups(), const sim::world_options& options = {})
      : base(t, options) {
    device = static_cast<int>(base::device_fd(group, device_name).value());
  }
  int group = base::group_with_iommu("/dev/vfio/1");
  int device = -1;

  static constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
  template <class T = std::uint32_t>
  T get(std::uint64_t where) {
    T v{};
    REQUIRE(task.pread(device, &v, sizeof v, where));
    return registers::little_endian(v);
  }
  template <class T = std::uint32_t>
  void put(std::uint64_t where, T v) {
    v = registers::little_endian(v);
    REQUIRE(task.pwrite(device, &v, sizeof v, where));
  }
  // Where a capability is; 0: nowhere.
  std::uint64_t capability(std::uint8_t id) {
    std::uint8_t at = get<std::uint8_t>(config + PCI_CAPABILITY_LIST);
    while (at != 0 && get<std::uint8_t>(config + at) != id) at = get<std::uint8_t>(config + at + 1);
    return at;
  }
  // SET_IRQS with the action TRIGGER, and one vector for each descriptor.
  long arm_answer(std::uint32_t index, std::uint32_t start, const std::vector<std::int32_t>& fds,
                  std::uint32_t data = VFIO_IRQ_SET_DATA_EVENTFD) {
    std::vector<std::uint32_t> words{static_cast<std::uint32_t>(20 + 4 * fds.size()),
                                     data | VFIO_IRQ_SET_ACTION_TRIGGER, index, start,
                                     static_cast<std::uint32_t>(fds.size())};
    for (const std::int32_t fd : fds) words.push_back(static_cast<std::uint32_t>(fd));
    const sim::answer a =
        task.ioctl(device, VFIO_DEVICE_SET_IRQS, reinterpret_cast<std::uintptr_t>(words.data()));
    return a ? static_cast<long>(*a) : kvm_vfio::kernel_return(a.error());
  }
  errc arm(std::uint32_t index, std::uint32_t start, const std::vector<std::int32_t>& fds) {
    const long a = arm_answer(index, start, fds);
    return a < 0 ? static_cast<errc>(-a) : errc::ok;
  }
  const sim::pci_irqs& irqs() { return world.find_device(device_name)->pci.irqs; }
  std::uint64_t count(int event) {
    std::uint64_t n = 0;
    return task.pread(event, &n, 8, 0) ? n : 0;
  }
};
using plugged = plugged_of<kvm_vfio::linux_7_3>;
}  // namespace

TEST_CASE("a 64-bit BAR is sized over both registers, an absent one reads as nothing") {
  plugged p;
  p.put(p.config + PCI_BASE_ADDRESS_0, ~0U);
  p.put(p.config + PCI_BASE_ADDRESS_1, ~0U);
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_0) == 0xffffc00c);  // 16 KiB, 64-bit, prefetchable
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_1) == 0xffffffff);
  p.put(p.config + PCI_BASE_ADDRESS_3, ~0U);
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_3) == 0);
}

TEST_CASE("the header type says whether the device has several functions") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].pci.multifunction = GENERATE(false, true);
  plugged p(t);
  CHECK(p.get<std::uint8_t>(p.config + PCI_HEADER_TYPE) ==
        (t.groups[0].devices[0].pci.multifunction ? 0x80 : 0));
}

TEST_CASE("the capabilities are chained and say what was asked for") {
  plugged p;
  const std::uint64_t msi = p.capability(PCI_CAP_ID_MSI);
  const std::uint64_t msix = p.capability(PCI_CAP_ID_MSIX);
  REQUIRE(msi != 0);
  REQUIRE(msix != 0);
  CHECK(p.capability(PCI_CAP_ID_EXP) != 0);
  CHECK(p.capability(PCI_CAP_ID_AGP) == 0);
  CHECK((p.get<std::uint16_t>(p.config + msi + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QMASK) == 2 << 1);
  CHECK(p.get<std::uint16_t>(p.config + msix + PCI_MSIX_FLAGS) == 8 - 1);
  CHECK(p.get(p.config + msix + PCI_MSIX_PBA) == 8 * 16);
}

TEST_CASE(
    "a process sets the MSI enable bit while MSI is armed, and SET_IRQS leaves the bit alone") {
  plugged p;
  const std::uint64_t flags = p.config + p.capability(PCI_CAP_ID_MSI) + PCI_MSI_FLAGS;
  const auto enabled = [&] { return (p.get<std::uint16_t>(flags) & PCI_MSI_FLAGS_ENABLE) != 0; };
  p.put<std::uint16_t>(flags, PCI_MSI_FLAGS_ENABLE);
  CHECK_FALSE(enabled());
  const int event = static_cast<int>(p.task.eventfd().value());
  REQUIRE(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {event}) == errc::ok);
  CHECK_FALSE(enabled());
  p.put<std::uint16_t>(flags, PCI_MSI_FLAGS_ENABLE);
  CHECK(enabled());
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
  CHECK(enabled());
  p.put<std::uint16_t>(flags, PCI_MSI_FLAGS_ENABLE);
  CHECK_FALSE(enabled());
}

TEST_CASE("each vector signals its event, and a bad descriptor undoes the call") {
  plugged p;
  const int a = static_cast<int>(p.task.eventfd().value());
  const int b = static_cast<int>(p.task.eventfd().value());
  sim::vfio_device& d = *p.world.find_device(device_name);
  REQUIRE(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 0, {a, -1, b}) == errc::ok);
  CHECK(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 0));
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 1));
  CHECK(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 2));
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_MSI_IRQ_INDEX, 0));
  CHECK(p.count(a) == 1);
  CHECK(p.count(b) == 1);
  CHECK(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 1, {a, p.group}) == errc::inval);
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 1));
  CHECK(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 0));
  // The device holds the events; its last close lets them go.
  CHECK(p.task.file_of(a)->references() == 2);
  REQUIRE(p.task.close(p.device));
  CHECK(p.task.file_of(a)->references() == 1);
}

TEST_CASE("without interrupt remapping a function gets one MSI vector, and is told so") {
  sim::topology t = two_groups();
  t.iommus[0].interrupt_remapping = false;
  plugged p(t, {.allow_unsafe_interrupts = true});
  const int event = static_cast<int>(p.task.eventfd().value());
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {event, event, event}) == 1);
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 1, {event}) == 1);
  CHECK(p.irqs().armed() == VFIO_PCI_NUM_IRQS);
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {event}) == 0);
  CHECK(p.irqs().armed() == VFIO_PCI_MSI_IRQ_INDEX);
  // MSI-X has as many as the function has.
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
  CHECK(p.arm_answer(VFIO_PCI_MSIX_IRQ_INDEX, 0, std::vector<std::int32_t>(8, event)) == 0);
}

TEST_CASE("with interrupt remapping a function has several MSI vectors") {
  plugged p;
  const int a = static_cast<int>(p.task.eventfd().value());
  const int b = static_cast<int>(p.task.eventfd().value());
  const auto counts = [&] { return p.count(a) * 10 + p.count(b); };
  const auto loop_back = [&](std::uint32_t first, std::uint32_t vectors) {
    std::uint32_t words[] = {20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                             VFIO_PCI_MSI_IRQ_INDEX, first, vectors};
    return p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, words);
  };
  REQUIRE(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {a, -1, b}) == errc::ok);
  CHECK(p.irqs().armed_vectors() == 3);
  CHECK(loop_back(0, 3) == errc::ok);
  CHECK(counts() == 11);
  CHECK(loop_back(1, 1) == errc::ok);
  CHECK(counts() == 0);
  // While MSI is armed, each of its vectors can get another eventfd, or none.
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {b, a}) == errc::ok);
  CHECK(loop_back(0, 2) == errc::ok);
  CHECK(counts() == 11);
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 2, {-1}) == errc::ok);
  CHECK(loop_back(2, 1) == errc::ok);
  CHECK(counts() == 0);
  // The fourth vector is no vector of the armed interrupt. The call empties the vectors before it.
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 1, {b, b, b}) == errc::inval);
  CHECK(loop_back(0, 3) == errc::ok);
  CHECK(counts() == 1);
  CHECK(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 0, {a}) == errc::inval);
  // Disarmed, MSI can be armed with another number of vectors, up to those of the function.
  CHECK(p.arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {a, a, a, a, a}) == errc::inval);
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 3, {b}) == errc::ok);
  CHECK(p.irqs().armed_vectors() == 4);
  CHECK(loop_back(0, 4) == errc::ok);
  CHECK(counts() == 1);
}

TEST_CASE("armed MSI-X gets more vectors from 6.12 on, armed MSI never") {
  const auto look = [](auto& p, bool grows) {
    const int event = static_cast<int>(p.task.eventfd().value());
    vfio_irq_info info{
        .argsz = sizeof info, .flags = 0, .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 0};
    REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_GET_IRQ_INFO, info) == errc::ok);
    CHECK(((info.flags & VFIO_IRQ_INFO_NORESIZE) == 0) == grows);
    REQUIRE(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 0, {event, event}) == errc::ok);
    CHECK(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 2, {event}) == (grows ? errc::ok : errc::inval));
    CHECK(p.irqs().connected(VFIO_PCI_MSIX_IRQ_INDEX, 2) == grows);
    // Vectors that are not there are triggered in vain, or may not be named.
    CHECK(p.arm_answer(VFIO_PCI_MSIX_IRQ_INDEX, 3, {0}, VFIO_IRQ_SET_DATA_NONE) ==
          (grows ? 0 : -EINVAL));
    REQUIRE(p.arm_answer(VFIO_PCI_MSIX_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
    REQUIRE(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {event, event}) == errc::ok);
    CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 2, {event}) == errc::inval);
    CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 2, {-1}) == (grows ? errc::ok : errc::inval));
  };
  plugged_of<kvm_vfio::linux_6_1> old;
  look(old, false);
  plugged_of<kvm_vfio::linux_6_12> newer;
  look(newer, true);
  plugged newest;
  look(newest, true);
}

TEST_CASE("the number of enabled MSI vectors is at most what armed MSI last") {
  plugged p;
  const std::uint64_t flags = p.config + p.capability(PCI_CAP_ID_MSI) + PCI_MSI_FLAGS;
  const auto most = [&] {
    p.put<std::uint16_t>(flags, PCI_MSI_FLAGS_QSIZE);
    return (p.get<std::uint16_t>(flags) & PCI_MSI_FLAGS_QSIZE) >> 4;
  };
  CHECK(most() == 0);
  const int event = static_cast<int>(p.task.eventfd().value());
  REQUIRE(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, {event, event, event}) == errc::ok);
  CHECK(most() == 2);
  REQUIRE(p.task.close(p.device));
  p.device = static_cast<int>(p.device_fd(p.group, device_name).value());
  CHECK(most() == 2);
}

namespace {
// A device whose flags of MSI are looked at.
struct with_msi_flags : plugged {
  explicit with_msi_flags(bool resets) : plugged(machine(resets)) {}
  static sim::topology machine(bool resets) {
    sim::topology t = two_groups();
    t.groups[0].devices[0].pci.resets = resets;
    return t;
  }
  void reopen() {
    REQUIRE(task.close(device));
    device = static_cast<int>(device_fd(group, device_name).value());
  }
  // The binary logarithm of the number of enabled vectors.
  unsigned enabled() { return (get<std::uint16_t>(flags) & PCI_MSI_FLAGS_QSIZE) >> 4; }
  void enable(unsigned log2) { put<std::uint16_t>(flags, static_cast<std::uint16_t>(log2 << 4)); }
  errc arm_vectors(std::size_t n) {
    return arm(VFIO_PCI_MSI_IRQ_INDEX, 0, std::vector<std::int32_t>(n, event));
  }
  void disarm() { REQUIRE(arm_answer(VFIO_PCI_MSI_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0); }
  const int event = static_cast<int>(task.eventfd().value());
  const std::uint64_t flags = config + capability(PCI_CAP_ID_MSI) + PCI_MSI_FLAGS;
};
}  // namespace

TEST_CASE("a function keeps the number of enabled MSI vectors after the last close") {
  with_msi_flags p(false);
  REQUIRE(p.arm_vectors(3) == errc::ok);
  CHECK(p.enabled() == 0);  // the process that has the device open does not see the number
  p.disarm();
  CHECK(p.enabled() == 0);
  p.reopen();
  CHECK(p.enabled() == 2);
  // A number that a process writes reaches the function.
  p.enable(1);
  CHECK(p.enabled() == 1);
  p.reopen();
  CHECK(p.enabled() == 1);
  // When a vector gets an eventfd, and when MSI is disarmed, Linux writes the number of armed
  // vectors again.
  REQUIRE(p.arm_vectors(4) == errc::ok);
  p.enable(1);
  p.reopen();
  CHECK(p.enabled() == 2);
  // A SET_IRQS that fails has armed MSI for a moment.
  REQUIRE(p.arm_vectors(1) == errc::ok);
  p.disarm();
  p.enable(2);
  CHECK(p.enabled() == 0);
  CHECK(p.arm(VFIO_PCI_MSI_IRQ_INDEX, 1, {p.event, 9999}) == errc::badf);
  p.enable(2);
  CHECK(p.enabled() == 2);
}

TEST_CASE("a reset of the function clears the number of enabled MSI vectors") {
  with_msi_flags p(true);
  REQUIRE(p.arm_vectors(4) == errc::ok);
  p.reopen();  // the last close resets the function
  CHECK(p.enabled() == 0);
  p.enable(2);
  CHECK(p.enabled() == 2);  // the limit stays
  REQUIRE(p.ioctl(p.device, VFIO_DEVICE_RESET, 0) == errc::ok);
  CHECK(p.enabled() == 2);  // the process sees what it wrote
}

TEST_CASE("the counter of an eventfd stops at its largest value") {
  plugged p;
  const int event = static_cast<int>(p.task.eventfd().value());
  sim::vfio_device& d = *p.world.find_device(device_name);
  REQUIRE(p.arm(VFIO_PCI_MSIX_IRQ_INDEX, 0, {event}) == errc::ok);
  // A process can write at most this number. Signals can reach one more.
  std::uint64_t number = ~std::uint64_t{0} - 1;
  REQUIRE(p.task.write(event, &number, sizeof number));
  for (int i = 0; i < 3; ++i) CHECK(p.world.raise(d, VFIO_PCI_MSIX_IRQ_INDEX, 0));
  number = 0;
  CHECK(p.task.write(event, &number, sizeof number).error() == errc::again);
  CHECK(p.count(event) == ~std::uint64_t{0});
  CHECK(p.count(event) == 0);
}

TEST_CASE("INTx masks itself until it is unmasked") {
  plugged p;
  const int event = static_cast<int>(p.task.eventfd().value());
  sim::vfio_device& d = *p.world.find_device(device_name);
  REQUIRE(p.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, {event}) == errc::ok);
  CHECK(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  std::uint32_t unmask[] = {20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 0, 1};
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, unmask) == errc::ok);
  CHECK(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  CHECK(p.count(event) == 2);
}

TEST_CASE("a write to an eventfd unmasks INTx, and the eventfd does not count it") {
  plugged p;
  const auto made = [&p] { return static_cast<int>(p.task.eventfd().value()); };
  const int event = made();
  const int unmask = made();
  const auto write = [&p](int fd) {
    const std::uint64_t one = 1;
    REQUIRE(p.task.write(fd, &one, sizeof one));
  };
  const auto connect = [&p](std::int32_t fd, std::uint32_t action = VFIO_IRQ_SET_ACTION_UNMASK) {
    std::uint32_t set[] = {24, VFIO_IRQ_SET_DATA_EVENTFD | action, 0, 0,
                           1,  static_cast<std::uint32_t>(fd)};
    return p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, set);
  };
  sim::vfio_device& d = *p.world.find_device(device_name);
  CHECK(connect(unmask) == errc::inval);  // INTx is not armed
  REQUIRE(p.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, {event}) == errc::ok);
  CHECK(connect(unmask, VFIO_IRQ_SET_ACTION_MASK) == errc::notty);
  CHECK(connect(p.group) == errc::inval);
  CHECK(connect(99) == errc::badf);
  REQUIRE(connect(unmask) == errc::ok);
  CHECK(connect(unmask) == errc::busy);
  REQUIRE(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  CHECK(p.irqs().masked());
  write(unmask);
  CHECK_FALSE(p.irqs().masked());
  CHECK(p.count(unmask) == 0);
  CHECK(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  // Disconnected, the eventfd counts again.
  REQUIRE(connect(-1) == errc::ok);
  write(unmask);
  CHECK(p.irqs().masked());
  // A count that is there unmasks, but stays.
  REQUIRE(connect(unmask) == errc::ok);
  CHECK_FALSE(p.irqs().masked());
  CHECK(p.count(unmask) == 1);
  // The end of the connection sets the count to 0.
  REQUIRE(connect(-1) == errc::ok);
  CHECK(p.count(unmask) == 0);
  REQUIRE(connect(unmask) == errc::ok);
  // The last close of the eventfd disconnects it.
  REQUIRE(p.task.close(unmask));
  const int another = made();
  CHECK(connect(another) == errc::ok);
  // So does the end of INTx.
  REQUIRE(p.arm_answer(VFIO_PCI_INTX_IRQ_INDEX, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
  write(another);
  CHECK(p.count(another) == 1);
}

TEST_CASE("a process can trigger masked INTx, but not if the command register disables INTx") {
  plugged p;
  const int event = static_cast<int>(p.task.eventfd().value());
  sim::vfio_device& d = *p.world.find_device(device_name);
  REQUIRE(p.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, {event}) == errc::ok);
  std::uint32_t trigger[] = {20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, 1};
  std::uint32_t unmask[] = {20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 0, 1};
  for (int i = 0; i < 2; ++i)
    REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, trigger) == errc::ok);
  CHECK(p.count(event) == 2);
  CHECK_FALSE(p.irqs().masked());
  p.put<std::uint16_t>(p.config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
  CHECK(p.irqs().masked());
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, unmask) == errc::ok);
  CHECK(p.irqs().masked());
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, trigger) == errc::ok);
  CHECK_FALSE(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
  CHECK(p.count(event) == 0);
  p.put<std::uint16_t>(p.config + PCI_COMMAND, PCI_COMMAND_MEMORY);
  CHECK_FALSE(p.irqs().masked());
  CHECK(p.world.raise(d, VFIO_PCI_INTX_IRQ_INDEX));
}

TEST_CASE("BAR memory keeps what is written, but for the MSI-X table") {
  plugged p;
  p.put<std::uint16_t>(p.config + PCI_COMMAND, PCI_COMMAND_MEMORY);
  p.put(0, 0x12345678U);  // the table
  CHECK(p.get(0) == 0xffffffff);
  p.put(0x1000, 0x12345678U);
  CHECK(p.get(0x1000) == 0x12345678);
  CHECK(p.world.find_device(device_name)->pci.bar(0)[0x1000] == 0x78);
  std::uint64_t v = 0;
  CHECK(p.task.pread(p.device, &v, 8, 0x3ffc).value() == 4);  // as far as the BAR goes
}

TEST_CASE("a descriptor that is wrong leaves INTx its eventfd") {
  plugged p;
  const int event = static_cast<int>(p.task.eventfd().value());
  REQUIRE(p.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, {event}) == errc::ok);
  CHECK(p.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, {p.group}) == errc::inval);
  std::uint32_t trigger[] = {20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, 1};
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, trigger) == errc::ok);
  CHECK(p.count(event) == 1);
}

TEST_CASE("the MSI-X table and its pending bits are where the topology says") {
  // As an NVMe drive has them, whose registers start the BAR.
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  pci.bars = {{0x8000, true}, {}};
  pci.msix_table = {.bar = 0, .offset = 0x5200};
  pci.msix_pba = {.bar = 0, .offset = 0x5008};
  plugged p(t);
  const std::uint64_t msix = p.config + p.capability(PCI_CAP_ID_MSIX);
  CHECK(p.get(msix + PCI_MSIX_TABLE) == 0x5200);
  CHECK(p.get(msix + PCI_MSIX_PBA) == 0x5008);
  // One write over the table and both its neighbours; one read.
  const std::size_t table_size = 8 * 16;
  std::vector<unsigned char> bytes(table_size + 8);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(i + 1);
  REQUIRE(p.task.pwrite(p.device, bytes.data(), bytes.size(), 0x51fc).value() ==
          static_cast<std::int64_t>(bytes.size()));
  std::vector<unsigned char> seen(bytes.size());
  REQUIRE(p.task.pread(p.device, seen.data(), seen.size(), 0x51fc));
  std::fill(bytes.begin() + 4, bytes.end() - 4, static_cast<unsigned char>(0xff));
  CHECK(seen == bytes);
  CHECK(p.get(0x0) == 0);  // a register, not the table
  CHECK(p.get(0x5204) == 0xffffffff);
  p.put(0x5204, 0U);
  CHECK(p.get(0x5204) == 0xffffffff);
}

TEST_CASE("VFIO answers for the MSI-X table while memory is disabled") {
  plugged p;  // the table is the start of BAR 0
  p.put<std::uint16_t>(p.config + PCI_COMMAND, 0);
  std::uint64_t v = 0;
  CHECK(p.task.pread(p.device, &v, 8, 4).value() == 8);
  CHECK(v == ~std::uint64_t{0});
  CHECK(p.task.pwrite(p.device, &v, 4, 0).value() == 4);
  const std::uint64_t end = 16 * std::uint64_t{p.world.find_device(device_name)->pci.irqs.count(2)};
  v = 0;
  CHECK(p.task.pread(p.device, &v, 8, end - 4).error() == errc::io);
  CHECK(v == 0xffffffff);  // what is in front of the error arrives
  CHECK(p.task.pread(p.device, &v, 4, end).error() == errc::io);
}

TEST_CASE("a BAR of a terabyte costs memory only where it is written") {
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  constexpr std::uint64_t size = std::uint64_t{1} << 40;
  pci.bars = {{size, true, true}, {}, {0x1000}};
  pci.msix_table = {.bar = 2};
  plugged p(t);
  vfio_region_info info{};
  info.argsz = sizeof info;
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_GET_REGION_INFO, info) == errc::ok);
  CHECK(info.size == size);
  sim::sparse_bytes& memory = p.world.find_device(device_name)->pci.bar(0);
  CHECK(p.get(0) == 0);
  CHECK(p.get(size - 4) == 0);
  CHECK(memory.resident() == 0);  // reading takes none
  p.put(size - 4, 0x12345678U);
  p.put(size / 2 - 2, 0x9abcdef0U);  // over the border of two chunks
  CHECK(p.get(size - 4) == 0x12345678);
  CHECK(p.get(size / 2 - 2) == 0x9abcdef0);
  CHECK(p.get(size / 2 + 2) == 0);
  CHECK(memory.resident() == 3 * sim::sparse_bytes::chunk_size);
  p.put(p.config + PCI_BASE_ADDRESS_0, ~0U);
  p.put(p.config + PCI_BASE_ADDRESS_1, ~0U);
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_0) == 0xc);
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_1) == 0xffffff00);
}

TEST_CASE("capabilities are where the topology lists them, with its bytes") {
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  pci.capabilities = {{.id = PCI_CAP_ID_PM, .offset = 0xc8, .bytes = {0x22, 0xc8}},
                      {.id = PCI_CAP_ID_MSI, .offset = 0xd0, .bytes = {0x04, 0x00}},
                      {.id = PCI_CAP_ID_EXP, .offset = 0x60},
                      {.id = PCI_CAP_ID_MSIX, .offset = 0xa0},
                      {.id = PCI_EXT_CAP_ID_ERR, .offset = 0x100, .version = 2},
                      {.id = PCI_EXT_CAP_ID_DSN, .offset = 0x140, .bytes = {1, 2, 3, 4}}};
  plugged p(t);
  CHECK(p.get<std::uint8_t>(p.config + PCI_CAPABILITY_LIST) == 0xc8);
  CHECK(p.get(p.config + 0xc8) == 0xc822d001);
  CHECK(p.get(p.config + 0xd0) == 0x00046005);
  CHECK(p.get(p.config + 0x60) == 0x0002a010);
  CHECK(p.get(p.config + 0xa0) == 0x00070011);
  CHECK(p.get(p.config + 0x100) == 0x14020001);
  CHECK(p.get(p.config + 0x140) == 0x00010003);
  CHECK(p.get(p.config + 0x144) == 0x04030201);
  // MSI without a 64-bit address: the data follow it directly.
  p.put(p.config + 0xd4, 0xfee00003U);
  p.put(p.config + 0xd8, 0x12345678U);
  CHECK(p.get(p.config + 0xd4) == 0xfee00003);
  CHECK(p.get(p.config + 0xd8) == 0x5678);
  p.put(p.config + 0xcc, 0xffffffffU);  // of power management only the state can be written
  CHECK(p.get(p.config + 0xcc) == 3);
}

TEST_CASE("a process changes the power state of a function, and D3hot has no memory") {
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  const bool deep = GENERATE(false, true);  // whether the function has D1 and D2
  const std::uint8_t states = deep ? 0x06 : 0;
  pci.capabilities = {{.id = PCI_CAP_ID_PM, .offset = 0x40, .bytes = {0x03, states, 0x03, 0}},
                      {.id = PCI_CAP_ID_MSI, .offset = 0x50},
                      {.id = PCI_CAP_ID_EXP, .offset = 0x60},
                      {.id = PCI_CAP_ID_MSIX, .offset = 0xa0}};
  plugged p(t);
  const auto state = [&] { return p.get<std::uint16_t>(p.config + 0x44); };
  const auto change = [&](std::uint16_t to) {
    p.put(p.config + 0x44, to);
    return state();
  };
  const auto reads = [&] {
    std::uint32_t word = 0;
    return p.task.pread(p.device, &word, sizeof word, 0x2000).error();  // behind the MSI-X table
  };
  CHECK(state() == 0);  // the topology says D3hot, and the open wakes the function up
  CHECK(change(1) == (deep ? 1 : 0));
  CHECK(change(2) == (deep ? 2 : 0));
  CHECK(change(1) == (deep ? 2 : 0));  // only deeper, or to D0
  CHECK(reads() == errc::ok);
  CHECK(change(3) == 3);
  CHECK(reads() == errc::io);
  CHECK(change(2) == 3);
  CHECK(change(0) == 0);
  CHECK(reads() == errc::ok);
  // A reset wakes the function up.
  CHECK(change(3) == 3);
  CHECK(p.task.ioctl(p.device, VFIO_DEVICE_RESET, 0).value() == 0);
  CHECK(state() == 0);
  CHECK(reads() == errc::ok);
}

TEST_CASE("a hot reset wakes the functions of the bus up, and a reset that fails does not") {
  sim::topology t = two_groups();
  sim::device_spec& d = t.groups[0].devices[0];
  d.pci.bus_resets = true;
  d.pci.resets = false;
  d.pci.capabilities = {{.id = PCI_CAP_ID_PM, .offset = 0x40, .bytes = {0x03, 0}}};
  d.pci.express = false;
  d.pci.msi_vectors = 0;
  d.pci.msix_vectors = 0;
  t.groups.resize(1);
  plugged p(t);
  const std::uint16_t d3hot = 3;
  p.put(p.config + 0x44, d3hot);
  CHECK(p.task.ioctl(p.device, VFIO_DEVICE_RESET, 0).error() == errc::inval);
  CHECK(p.get<std::uint16_t>(p.config + 0x44) == 3);
  std::int32_t groups[] = {16, 0, 1, p.group};
  CHECK(p.ioctl_at(p.device, VFIO_DEVICE_PCI_HOT_RESET, groups) == errc::ok);
  CHECK(p.get<std::uint16_t>(p.config + 0x44) == 0);
}

TEST_CASE("in D3hot neither MSI nor MSI-X is armed, but INTx is") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].pci.capabilities = {
      {.id = PCI_CAP_ID_PM, .offset = 0x40, .bytes = {0x03, 0}},
      {.id = PCI_CAP_ID_MSI, .offset = 0x50},
      {.id = PCI_CAP_ID_EXP, .offset = 0x60},
      {.id = PCI_CAP_ID_MSIX, .offset = 0xa0}};
  plugged p(t);
  const int event = static_cast<int>(p.task.eventfd().value());
  for (const std::uint32_t index :
       {VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX}) {
    INFO("index " << index);
    p.put<std::uint16_t>(p.config + 0x44, 3);
    const bool intx = index == VFIO_PCI_INTX_IRQ_INDEX;
    CHECK(p.arm(index, 0, {event}) == (intx ? errc::ok : errc::inval));
    CHECK(p.irqs().armed() == (intx ? index : std::uint32_t{VFIO_PCI_NUM_IRQS}));
    p.put<std::uint16_t>(p.config + 0x44, 0);
    if (!intx) CHECK(p.arm(index, 0, {event}) == errc::ok);
    CHECK(p.arm_answer(index, 0, {}, VFIO_IRQ_SET_DATA_NONE) == 0);
  }
}

TEST_CASE("MSI with masks has a register that can be written for them, and one that cannot") {
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  const bool wide = GENERATE(true, false);
  pci.capabilities = {{.id = PCI_CAP_ID_EXP, .offset = 0x40},
                      {.id = PCI_CAP_ID_MSI,
                       .offset = 0x80,
                       .bytes = {static_cast<std::uint8_t>(wide ? 0x84 : 0x04), 0x01}},
                      {.id = PCI_CAP_ID_MSIX, .offset = 0xa0}};
  plugged p(t);
  const std::uint64_t masks = p.config + 0x80 + (wide ? 0x10 : 0x0c);
  p.put(masks, 0xffffffffU);
  p.put(masks + 4, 0xffffffffU);  // pending
  CHECK(p.get(masks) == 0xffffffff);
  CHECK(p.get(masks + 4) == 0);
  // The capability has these registers, so none can begin in them.
  pci.capabilities[2].offset = static_cast<std::uint16_t>(0x80 + (wide ? 0x14 : 0x10));
  CHECK(sim::check(t).size() == 1);
  pci.capabilities[2].offset = static_cast<std::uint16_t>(0x80 + (wide ? 0x18 : 0x14));
  CHECK(sim::check(t).empty());
}

TEST_CASE("the configuration space ends where it ends") {
  plugged p;
  std::uint64_t v = 0;
  CHECK(p.task.pread(p.device, &v, 4, p.config + 0xffc).value() == 4);
  CHECK(p.task.pread(p.device, &v, 8, p.config + 0xffc).error() == errc::fault);
  CHECK(p.task.pwrite(p.device, &v, 8, p.config + 0xffc).error() == errc::fault);
  CHECK(p.task.pread(p.device, &v, 1, p.config + 0x1000).error() == errc::fault);
  // Nothing is read of nothing, wherever it goes.
  CHECK(p.task.pread(p.device, nullptr, 0, 0).value() == 0);
}

TEST_CASE("the last close puts the configuration space back as it was") {
  plugged p;
  const std::uint64_t msi = p.config + p.capability(PCI_CAP_ID_MSI);
  const auto before = p.get(msi + PCI_MSI_ADDRESS_LO);
  p.put(msi + PCI_MSI_ADDRESS_LO, 0xfee01000U);
  p.put(p.config + PCI_BASE_ADDRESS_0, 0xe0000000U);
  REQUIRE(p.task.close(p.device));
  p.device = static_cast<int>(p.device_fd(p.group, device_name).value());
  CHECK(p.get(msi + PCI_MSI_ADDRESS_LO) == before);
  CHECK(p.get(p.config + PCI_BASE_ADDRESS_0) == 0xc);
}

TEST_CASE("the region with the MSI-X table says that it can be mapped whole") {
  plugged p;
  struct {
    vfio_region_info info;
    vfio_info_cap_header cap;
  } r{};
  r.info.argsz = sizeof r.info;
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_GET_REGION_INFO, r) == errc::ok);
  CHECK(r.info.argsz == sizeof r);
  CHECK(r.info.cap_offset == 0);
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_GET_REGION_INFO, r) == errc::ok);
  CHECK(r.info.flags == (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
                         VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS));
  CHECK(r.info.cap_offset == sizeof r.info);
  CHECK(r.cap.id == VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
}

TEST_CASE("the memory of a BAR can be mapped as a file, and is the memory of the device") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].pci.bars[2] = {.size = 0x2000};
  plugged p(t);
  sim::device_file& f = *sim::device_of(*p.task.file_of(p.device));
  CHECK(f.share(0x4000, 0x1000).error() == errc::inval);
  CHECK(f.share(0x1000, std::uint64_t{3} << 40).error() == errc::inval);
  CHECK(f.share(0x1000, p.config).error() == errc::inval);
  const auto part = f.share(0x2000, 0x1000);
  REQUIRE(part);
  CHECK(part->offset == 0x1000);
  const std::uint32_t written = 0x12345678;
  REQUIRE(::pwrite(part->file, &written, sizeof written, 0x1010) == sizeof written);
  CHECK(p.get(0x1010) == written);
  CHECK(f.share(0x1000, 0).value().file == part->file);
  // All BARs are in one file, at their offsets in the device's file.
  constexpr std::uint64_t second = std::uint64_t{2} << 40;
  const auto other = f.share(0x1000, second + 0x1000);
  REQUIRE(other);
  CHECK(other->file == part->file);
  CHECK(other->offset == second + 0x1000);
  REQUIRE(::pwrite(part->file, &written, sizeof written, second + 0x1004) == sizeof written);
  CHECK(p.get(second + 0x1004) == written);
  // The program's address holds the device, and so its group.
  constexpr std::uint64_t address = 0x7000000;
  REQUIRE(p.task.map_at(address, 0x1000, PROT_READ, p.device, 0x1000));
  CHECK(p.task.maps_file(address, 1));
  CHECK(p.task.map_at(address, 0x1000, PROT_READ, p.device, p.config).error() == errc::inval);
  CHECK(p.task.mappings() == 1);
  constexpr std::uint64_t moved = 0x8000000;
  CHECK_FALSE(p.task.move_mapping(moved, address));
  CHECK(p.task.move_mapping(address, moved));
  CHECK_FALSE(p.task.maps_file(address, 1));
  CHECK(p.task.maps_file(moved, 1));
  CHECK(p.task.move_mapping(moved, address));
  CHECK(p.task.munmap(reinterpret_cast<void*>(address), 0x1000));
  // A part of a mapping moves, and the rest stays.
  REQUIRE(p.task.map_at(address, 0x3000, PROT_READ, p.device, 0));
  CHECK(p.task.move_mapping(address + 0x1000, moved, 0x1000));
  CHECK_FALSE(p.task.move_mapping(address, moved, 0x2000));
  CHECK(p.task.maps_file(address, 0x1000));
  CHECK_FALSE(p.task.maps_file(address + 0x1000, 0x1000));
  CHECK(p.task.maps_file(address + 0x2000, 0x1000));
  CHECK(p.task.mappings() == 3);
  for (const std::uint64_t at : {address, moved, address + 0x2000})
    CHECK(p.task.munmap(reinterpret_cast<void*>(at), 0x1000));
  CHECK_FALSE(p.task.maps_file(address, 1));
}

TEST_CASE("a BAR that was mapped as memory is no file any more") {
  plugged p;
  sim::device_file& f = *sim::device_of(*p.task.file_of(p.device));
  REQUIRE(p.task.mmap(0x1000, PROT_READ, p.device, 0));
  CHECK(f.share(0x1000, 0).error() == errc::nomem);
}

TEST_CASE("a memory BAR of less than a page is mapped if the page has no other BAR") {
  sim::topology t = two_groups();
  const auto maps = [&t] {
    plugged p(t);
    const sim::answer at = p.task.mmap(0x1000, 3, p.device, std::uint64_t{2} << 40);
    if (!at) CHECK(at.error() == errc::inval);
    return at.has_value();
  };
  CHECK_FALSE(maps());  // nothing is known of the address
  sim::bar_spec& small = t.groups[0].devices[0].pci.bars[2];
  small.address = 0xfe300000;
  CHECK(maps());
  small.address = 0xfe300100;
  CHECK_FALSE(maps());
  small.address = 0xfe300000;
  t.groups[1].devices[0].pci.bars[2].address = 0xfe300100;
  CHECK_FALSE(maps());
  t.groups[1].devices[0].pci.bars[2].address = 0xfe301000;
  CHECK(maps());
  small.io = true;
  CHECK_FALSE(maps());
}

TEST_CASE("nothing is written of nothing, wherever it goes") {
  plugged p;
  CHECK(p.task.pwrite(p.device, nullptr, 0, std::uint64_t{8} << 40).value() == 0);
  CHECK(p.task.pwrite(p.device, nullptr, 0, 0x4000).value() == 0);
  CHECK(p.task.pread(p.device, nullptr, 0, std::uint64_t{9} << 40).value() == 0);
  CHECK(p.task.pread(p.device, nullptr, 0, p.config + 0x2000).value() == 0);
}

namespace {
// Two functions behind a bridge, each in a group of its own, and one on the root bus.
sim::topology behind_a_bridge() {
  sim::topology t = two_groups();
  t.groups[0].devices[0].name = "0000:02:01.0";
  t.groups[1].devices[0].name = "0000:02:1f.7";
  t.groups[0].devices[0].pci.bus_resets = t.groups[1].devices[0].pci.bus_resets = true;
  return t;
}
struct hot_reset_info {
  std::uint32_t argsz, flags, count;
  struct {
    std::int32_t number;
    std::uint16_t segment;
    std::uint8_t bus, devfn;
  } devices[2];
};
template <class Profile>
struct bridged : machine_under_test<Profile> {
  using base = machine_under_test<Profile>;
  explicit bridged(const sim::topology& t = behind_a_bridge()) : base(t) {}
  int group = base::group_with_iommu("/dev/vfio/1");
  int device = static_cast<int>(base::device_fd(group, "0000:02:01.0").value());
  int other = base::group_with_iommu("/dev/vfio/2");

  errc info(int fd, hot_reset_info& i, std::uint32_t argsz = sizeof(hot_reset_info)) {
    i.argsz = argsz;
    return base::ioctl_at(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i);
  }
  errc reset(int fd, std::vector<std::int32_t> groups) {
    std::vector<std::int32_t> words{static_cast<std::int32_t>(12 + 4 * groups.size()), 0,
                                    static_cast<std::int32_t>(groups.size())};
    words.insert(words.end(), groups.begin(), groups.end());
    return base::ioctl(fd, VFIO_DEVICE_PCI_HOT_RESET,
                       reinterpret_cast<std::uintptr_t>(words.data()));
  }
  int resets(const char* name) { return base::world.find_device(name)->pci.resets(); }
};
}  // namespace

TEST_CASE("a hot reset names the functions of the bus and resets them together") {
  bridged<kvm_vfio::linux_7_3> p;
  hot_reset_info i{};
  CHECK(p.info(p.device, i, 8) == errc::inval);
  CHECK(p.info(p.device, i, 20) == errc::nospc);
  CHECK(i.count == 2);
  CHECK(i.devices[0].number == 0);  // nothing is written but the count
  REQUIRE(p.info(p.device, i) == errc::ok);
  CHECK((i.flags == 0 && i.count == 2));
  CHECK((i.devices[0].number == 1 && i.devices[0].bus == 2 && i.devices[0].devfn == 8));
  CHECK((i.devices[1].number == 2 && i.devices[1].bus == 2 && i.devices[1].devfn == 0xff));
  CHECK(p.reset(p.device, {}) == errc::inval);
  CHECK(p.reset(p.device, {p.group}) == errc::inval);  // the other function is in another group
  CHECK(p.reset(p.device, {p.group, p.other, p.other}) == errc::inval);
  CHECK(p.reset(p.device, {p.group, -1}) == errc::badf);
  CHECK(p.reset(p.device, {p.group, p.device}) == errc::inval);
  CHECK(p.resets("0000:02:1f.7") == 0);
  CHECK(p.reset(p.device, {p.group, p.other}) == errc::ok);
  CHECK((p.resets("0000:02:01.0") == 1 && p.resets("0000:02:1f.7") == 1));
  CHECK(p.resets("0000:00:05.1") == 0);
  // A root bus cannot be reset.
  const int alone = static_cast<int>(p.device_fd(p.other, "0000:00:05.1").value());
  CHECK(p.info(alone, i) == errc::nodev);
  CHECK(p.reset(alone, {p.other}) == errc::nodev);
  CHECK(p.reset(alone, {}) == errc::inval);
}

TEST_CASE("the last close of a function on a bus resets the bus") {
  sim::topology t = behind_a_bridge();
  for (int i : {0, 1}) t.groups[static_cast<std::size_t>(i)].devices[0].pci.resets = false;
  bridged<kvm_vfio::linux_7_3> p(t);
  const auto& function = p.world.find_device("0000:02:01.0")->pci;
  const auto enabled = [&] {
    return (function.config().at16(function.config().msi() + PCI_MSI_FLAGS) &
            PCI_MSI_FLAGS_QSIZE) >>
           4;
  };
  const int event = static_cast<int>(p.task.eventfd().value());
  std::uint32_t arm[] = {28,
                         VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                         VFIO_PCI_MSI_IRQ_INDEX,
                         0,
                         2,
                         static_cast<std::uint32_t>(event),
                         static_cast<std::uint32_t>(event)};
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_SET_IRQS, arm) == errc::ok);
  const int neighbour = static_cast<int>(p.device_fd(p.other, "0000:02:1f.7").value());
  REQUIRE(p.task.close(p.device));
  CHECK(enabled() == 1);
  REQUIRE(p.task.close(neighbour));
  CHECK(enabled() == 0);
}

TEST_CASE("a function without a VFIO driver prevents the hot reset of its bus") {
  sim::topology t = behind_a_bridge();
  t.groups[1].devices[0].bound = sim::driver::none;
  bridged<kvm_vfio::linux_7_3> p(t);
  CHECK(p.reset(p.device, {p.group, p.other}) == errc::inval);
}

TEMPLATE_TEST_CASE("a hot reset names the bridges of its bus and what is behind them", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  sim::topology t = behind_a_bridge();
  const auto add = [&t](int group, const char* name, std::uint8_t behind, bool resets) {
    t.groups.push_back({.number = group, .devices = {{.name = name}}});
    sim::device_spec& d = t.groups.back().devices[0];
    if (behind != 0) d.bound = sim::driver::none;
    d.pci.secondary_bus = behind;
    d.pci.bus_resets = resets;
  };
  add(20, "0000:02:03.0", 4, true);
  add(30, "0000:04:00.0", 0x1b, true);
  add(40, "0000:1b:00.0", 0, true);
  add(50, "0000:04:01.0", 0, true);
  add(60, "0001:04:00.0", 0, true);  // another domain
  bridged<TestType> p(t);
  struct {
    std::uint32_t argsz, flags, count;
    struct {
      std::int32_t number;
      std::uint16_t segment;
      std::uint8_t bus, devfn;
    } devices[6];
  } i{};
  i.argsz = sizeof i - 1;
  CHECK(p.ioctl_at(p.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i) == errc::nospc);
  CHECK(i.count == 6);
  i.argsz = sizeof i;
  REQUIRE(p.ioctl_at(p.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i) == errc::ok);
  CHECK(i.count == 6);
  const std::int32_t groups[] = {1, 20, 30, 40, 50, 2};
  const int buses[] = {2, 2, 4, 0x1b, 4, 2};
  for (std::size_t n = 0; n < 6; ++n)
    CHECK((i.devices[n].number == groups[n] && i.devices[n].bus == buses[n]));
  CHECK(p.reset(p.device, {p.group, p.other}) == errc::inval);
  // The bus behind the last bridge has no bridge.
  const int last = p.group_with_iommu("/dev/vfio/40");
  const int device = static_cast<int>(p.device_fd(last, "0000:1b:00.0").value());
  CHECK(p.reset(device, {last}) == errc::ok);
}

TEST_CASE("Linux 6.1 looks for the bus before it looks at the number of groups") {
  bridged<kvm_vfio::linux_6_1> p;
  const int alone = static_cast<int>(p.device_fd(p.other, "0000:00:05.1").value());
  CHECK(p.reset(alone, {}) == errc::nodev);
  CHECK(p.reset(p.device, {}) == errc::inval);
  CHECK(p.reset(p.device, {p.group, p.other}) == errc::ok);
}

TEST_CASE("a device file resets its bus if its iommufd owns all functions of the bus") {
  machine_under_test<> p(behind_a_bridge());
  const auto bound = [&p](const char* path, int iommufd) {
    const int fd = p.open(path);
    std::uint32_t bind[] = {16, 0, static_cast<std::uint32_t>(iommufd), 0};
    REQUIRE(p.ioctl_at(fd, kvm_vfio::uapi::request_bind_iommufd, bind) == errc::ok);
    return fd;
  };
  const int iommufd = p.open("/dev/iommu");
  const int device = bound("/dev/vfio/devices/vfio0", iommufd);
  hot_reset_info i{.argsz = sizeof i, .flags = 0, .count = 0, .devices = {}};
  REQUIRE(p.ioctl_at(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i) == errc::ok);
  CHECK(i.flags == 1);  // numbers of the iommufd; it does not own all
  CHECK((i.devices[0].number == 1 && i.devices[1].number == -1));
  std::uint32_t reset[] = {12, 0, 0};
  CHECK(p.ioctl_at(device, VFIO_DEVICE_PCI_HOT_RESET, reset) == errc::inval);
  // Of the second group the iommufd gets the other device: the group is enough.
  const int neighbour = bound("/dev/vfio/devices/vfio2", iommufd);
  REQUIRE(p.ioctl_at(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i) == errc::ok);
  CHECK(i.flags == 3);
  CHECK((i.devices[0].number == 1 && i.devices[1].number == 0));
  CHECK(p.ioctl_at(device, VFIO_DEVICE_PCI_HOT_RESET, reset) == errc::ok);
  // Another iommufd.
  REQUIRE(p.task.close(neighbour));
  (void)bound("/dev/vfio/devices/vfio1", p.open("/dev/iommu"));
  CHECK(p.ioctl_at(device, VFIO_DEVICE_PCI_HOT_RESET, reset) == errc::inval);
  std::uint32_t groups[] = {16, 0, 1, static_cast<std::uint32_t>(iommufd)};
  CHECK(p.ioctl_at(device, VFIO_DEVICE_PCI_HOT_RESET, groups) == errc::inval);
}

TEST_CASE("the registers of a function for itself can be read, but not written") {
  sim::topology t = two_groups();
  sim::pci_spec& pci = t.groups[0].devices[0].pci;
  pci.capabilities = {{.id = PCI_CAP_ID_EXP, .offset = 0x48},
                      {.id = PCI_CAP_ID_MSI, .offset = 0x90},
                      {.id = PCI_CAP_ID_MSIX, .offset = 0xb0}};
  pci.own_registers = {1, 2, 3, 4, 5, 6, 7, 8};
  REQUIRE(check(t).empty());
  machine_under_test<> m(t);
  const int device = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  const std::uint64_t at = (std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40) + 0x40;
  std::uint32_t word = ~0U;
  REQUIRE(m.task.pwrite(device, &word, sizeof word, at + 4));
  REQUIRE(m.task.pread(device, &word, sizeof word, at + 4));
  CHECK(word == 0x08070605);
  pci.own_registers.push_back(9);
  CHECK(to_text(check(t)).find("own_registers: the registers end after 0x48") != std::string::npos);
}

TEST_CASE("Linux 6.1 accepts a descriptor below -1 for the request interrupt") {
  const auto arm = [](auto& m, std::int32_t fd) {
    int container = -1;
    const int group = m.group_with_iommu("/dev/vfio/1", &container);
    const int device = m.device_fd(group, "0000:00:04.0").value();
    const std::int32_t argument[] = {
        24, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, 1,
        fd};
    return m.ioctl_at(device, VFIO_DEVICE_SET_IRQS, argument);
  };
  machine_under_test<kvm_vfio::linux_6_1> old;
  CHECK(arm(old, -2) == errc::ok);
  machine_under_test<kvm_vfio::linux_6_12> later;
  CHECK(arm(later, -2) == errc::inval);
}
