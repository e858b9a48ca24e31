// SPDX-License-Identifier: BSL-1.0
// Virtual functions (SR-IOV), and the token that they share with their physical function.
#include "support/catch.hpp"

#include "sim/fixture.hpp"
#include "sim/registers.hpp"
#include "sim/sysfs_tree.hpp"

#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
const std::string right = " vf_token=0a1b2c3d-4e5f-6789-abcd-000000000001";
const std::string wrong = " vf_token=0a1b2c3d-4e5f-6789-abcd-000000000002";
const char* const physical_name = "0000:01:00.0";
const char* const virtual_name = "0000:01:00.1";
const char* const sibling_name = "0000:01:00.2";

/// A physical function in the group 1, and its two virtual functions in the groups 2 and 3.
sim::topology functions(sim::driver of_physical = sim::driver::vfio) {
  sim::topology t;
  const sim::pci_spec pci{.bars = {{0x4000, true, false, false, 0xfe004000}, {}},
                          .msix_vectors = 2,
                          .bus_resets = true};
  const auto add = [&](int number, const char* name, const char* physical, sim::driver bound) {
    t.groups.push_back(
        {.number = number,
         .devices = {{.name = name, .bound = bound, .physical_function = physical, .pci = pci}}});
  };
  add(1, physical_name, "", of_physical);
  add(2, virtual_name, physical_name, sim::driver::vfio);
  add(3, sibling_name, physical_name, sim::driver::vfio);
  return t;
}

/// A process that has all groups of the machine in one container.
template <class Profile>
struct with_functions : machine_under_test<Profile> {
  using base = machine_under_test<Profile>;
  explicit with_functions(const sim::topology& t = functions()) : base(t) {
    for (int n = 1; n <= 3; ++n) {
      const auto fd = base::client::open(("/dev/vfio/" + std::to_string(n)).c_str());
      groups.push_back(fd ? *fd : -1);
      if (fd) (void)this->set_container(*fd, container);
    }
    (void)this->set_iommu(container);
  }
  int container = base::open("/dev/vfio/vfio");
  std::vector<int> groups;
  int last = -1;  // the descriptor that the last call of `get` made

  errc get(const std::string& name, const std::string& options = "") {
    const char* const all[] = {physical_name, virtual_name, sibling_name};
    int group = -1;
    for (std::size_t i = 0; i < 3; ++i)
      if (name == all[i]) group = groups[i];
    const auto fd = this->device_fd(group, (name + options).c_str());
    last = fd ? *fd : -1;
    return fd.error();
  }
  errc token(int device, std::uint32_t how, std::uint32_t size = 24, unsigned char end = 1) {
    unsigned char argument[24] = {};
    const std::uint32_t head[] = {size, how};
    std::memcpy(argument, head, sizeof head);
    const unsigned char bytes[] = {0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x67, 0x89, 0xab, 0xcd};
    std::memcpy(argument + 8, bytes, sizeof bytes);
    argument[23] = end;
    return this->ioctl_at(device, VFIO_DEVICE_FEATURE, argument);
  }
  std::uint32_t read(std::uint64_t at, std::size_t size) {
    std::uint32_t value = 0;
    REQUIRE(this->task.pread(last, &value, size, config + at));
    return registers::little_endian(value);
  }
};

#define EVERY_RELEASE kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3

}  // namespace

TEMPLATE_TEST_CASE("a virtual function needs the token of its physical function", "",
                   EVERY_RELEASE) {
  with_functions<TestType> m;
  for (const std::string& token : {std::string(), right, wrong})
    CHECK(m.get(virtual_name, token) == errc::access);
  REQUIRE(m.get(physical_name, right) == errc::ok);
  const int physical = m.last;
  CHECK(m.get(virtual_name) == errc::access);
  CHECK(m.get(virtual_name, wrong) == errc::access);
  CHECK(m.get(virtual_name, right) == errc::ok);
  CHECK(m.get(sibling_name, right) == errc::ok);
  // The token stays when the physical function is closed.
  REQUIRE(m.task.close(physical));
  CHECK(m.get(virtual_name, right) == errc::ok);
}

TEMPLATE_TEST_CASE("a physical function needs its token while a virtual function is open", "",
                   EVERY_RELEASE) {
  with_functions<TestType> m;
  REQUIRE(m.get(physical_name, right) == errc::ok);
  CHECK(m.get(physical_name) == errc::ok);
  REQUIRE(m.get(virtual_name, right) == errc::ok);
  const int first = m.last;
  REQUIRE(m.get(virtual_name, right) == errc::ok);
  const int second = m.last;
  const auto in_use = [&] {
    return m.get(physical_name) == errc::access && m.get(physical_name, wrong) == errc::access &&
           m.get(physical_name, right) == errc::ok;
  };
  CHECK(in_use());
  REQUIRE(m.task.close(first));
  CHECK(in_use());
  REQUIRE(m.get(sibling_name, right) == errc::ok);
  const int sibling = m.last;
  REQUIRE(m.task.close(second));
  CHECK(in_use());
  REQUIRE(m.task.close(sibling));
  CHECK(m.get(physical_name) == errc::ok);
  CHECK(m.get(physical_name, wrong) == errc::ok);  // which is the token from now on
  CHECK(m.get(virtual_name, right) == errc::access);
  CHECK(m.get(virtual_name, wrong) == errc::ok);
}

TEST_CASE("the token counts although the open fails") {
  machine_under_test<> m(functions());
  const int group = m.open("/dev/vfio/1");
  CHECK(m.device_fd(group, (physical_name + right).c_str()).error() == errc::inval);
  const int other = m.group_with_iommu("/dev/vfio/2");
  CHECK(m.device_fd(other, (virtual_name + right).c_str()).error() == errc::ok);
}

TEST_CASE("a text behind the name is one token, or it is wrong") {
  with_functions<kvm_vfio::linux_7_3> m;
  REQUIRE(m.get(physical_name, right) == errc::ok);
  const std::string uuid = right.substr(10);
  for (const std::string& text :
       std::vector<std::string>{"  vf_token=" + uuid, right + "   ",
                                std::string(" vf_token=0A1B2C3D-4E5F-6789-abcd-"
                                            "000000000001")})
    CHECK(m.get(virtual_name, text) == errc::ok);
  for (const std::string& text : std::vector<std::string>{
           right + right, right + "0", right + "\n", right + " other", " other" + right,
           std::string(" vf_token="), " vf_token" + uuid, " vf_token= " + uuid,
           " vf_token=" + uuid.substr(0, 35), " vf_token=" + uuid.substr(0, 35) + "g",
           " vf_token=0a1b2c3d_4e5f-6789-abcd-000000000001",
           std::string(" vf_token=0a1b2c3d4e5f6789abcd000000000001    ")}) {
    INFO(text);
    CHECK(m.get(virtual_name, text) == errc::inval);
    CHECK(m.get(physical_name, text) == errc::inval);
  }
  CHECK(m.get(virtual_name, right.substr(1)) == errc::nodev);
}

TEMPLATE_TEST_CASE("without VFIO on the physical function a virtual function takes no token", "",
                   EVERY_RELEASE) {
  sim::topology missing = functions();
  missing.groups.erase(missing.groups.begin());
  for (const sim::topology& t : {functions(sim::driver::other), missing}) {
    with_functions<TestType> m(t);
    CHECK(m.get(virtual_name, right) == errc::inval);
    CHECK(m.get(virtual_name) == errc::ok);
    CHECK(m.token(m.last, VFIO_DEVICE_FEATURE_SET) == errc::notty);
  }
}

TEST_CASE("a capability for virtual functions makes a device a physical function") {
  sim::topology t = functions();
  t.groups.resize(1);
  with_functions<kvm_vfio::linux_7_3> none(t);
  CHECK(none.get(physical_name, right) == errc::inval);
  std::vector<std::uint8_t> bytes(0x3c);
  t.groups[0].devices[0].pci.capabilities = {
      {.id = PCI_CAP_ID_EXP, .offset = 0x40},
      {.id = PCI_CAP_ID_MSIX, .offset = 0x80},
      {.id = PCI_EXT_CAP_ID_SRIOV, .offset = 0x100, .bytes = bytes}};
  with_functions<kvm_vfio::linux_7_3> for_none(t);
  CHECK(for_none.get(physical_name, right) == errc::inval);
  t.groups[0].devices[0].pci.capabilities[2].bytes[PCI_SRIOV_TOTAL_VF - 4] = 2;
  with_functions<kvm_vfio::linux_7_3> for_two(t);
  CHECK(for_two.get(physical_name, right) == errc::ok);
  CHECK(for_two.token(for_two.last, VFIO_DEVICE_FEATURE_SET) == errc::ok);
}

TEMPLATE_TEST_CASE("a feature of the physical function sets the token", "", EVERY_RELEASE) {
  constexpr std::uint32_t get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET,
                          probe = VFIO_DEVICE_FEATURE_PROBE;
  with_functions<TestType> m;
  REQUIRE(m.get(physical_name, wrong) == errc::ok);
  const int physical = m.last;
  CHECK(m.token(physical, get) == errc::inval);
  CHECK(m.token(physical, get | probe) == errc::inval);
  CHECK(m.token(physical, 0) == errc::inval);
  CHECK(m.token(physical, probe, 8) == errc::ok);
  CHECK(m.token(physical, set | probe, 8) == errc::ok);
  CHECK(m.token(physical, set, 23) == errc::inval);
  CHECK(m.get(virtual_name, right) == errc::access);  // nothing was set
  CHECK(m.token(physical, set) == errc::ok);
  CHECK(m.get(virtual_name, wrong) == errc::access);
  CHECK(m.get(virtual_name, right) == errc::ok);
  for (const std::uint32_t how : {get, set, probe, probe | set})
    CHECK(m.token(m.last, how) == errc::notty);
  // Also while a virtual function is open.
  CHECK(m.token(physical, set, 24, 2) == errc::ok);
  CHECK(m.get(virtual_name, right) == errc::access);
  CHECK(m.get(physical_name, wrong) == errc::ok);
}

TEST_CASE("a device file is bound with the token") {
  namespace u = kvm_vfio::uapi;
  const unsigned char token[] = {0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x67, 0x89,
                                 0xab, 0xcd, 0,    0,    0,    0,    0,    1};
  const unsigned char other[16] = {1};
  const auto bind = [](auto& m, int n, const unsigned char* with) {
    const int device = m.open(("/dev/vfio/devices/vfio" + std::to_string(n)).c_str());
    u::device_bind_iommufd_token argument{{.argsz = sizeof argument,
                                           .flags = with ? u::bind_flag_token : 0,
                                           .iommufd = m.open("/dev/iommu"),
                                           .out_devid = 0},
                                          reinterpret_cast<std::uintptr_t>(with)};
    const errc e = m.ioctl_at(device, u::request_bind_iommufd, argument);
    if (e != errc::ok) REQUIRE(m.task.close(device));
    return e;
  };
  machine_under_test<> m(functions());
  CHECK(bind(m, 1, nullptr) == errc::access);
  CHECK(bind(m, 1, token) == errc::access);
  CHECK(bind(m, 0, token) == errc::ok);
  CHECK(bind(m, 1, other) == errc::access);
  CHECK(bind(m, 1, token) == errc::ok);
  // In 6.12 a device file needs no token.
  machine_under_test<kvm_vfio::linux_6_12> old(functions());
  CHECK(bind(old, 1, nullptr) == errc::ok);
}

TEST_CASE("a virtual function has no INTx, and its memory is always there") {
  with_functions<kvm_vfio::linux_7_3> m(functions(sim::driver::none));
  REQUIRE(m.get(virtual_name) == errc::ok);
  CHECK(m.read(PCI_VENDOR_ID, 4) == 0x11e81234);
  CHECK(m.read(PCI_INTERRUPT_PIN, 1) == 0);
  CHECK(m.read(PCI_BASE_ADDRESS_0, 4) == PCI_BASE_ADDRESS_MEM_TYPE_64);
  CHECK(m.read(PCI_COMMAND, 2) == PCI_COMMAND_MEMORY);
  vfio_irq_info info{.argsz = sizeof info, .flags = 0, .index = 0, .count = 9};
  REQUIRE(m.ioctl_at(m.last, VFIO_DEVICE_GET_IRQ_INFO, info) == errc::ok);
  CHECK(info.count == 0);
  const std::uint16_t off = 0;
  REQUIRE(m.task.pwrite(m.last, &off, sizeof off, config + PCI_COMMAND));
  CHECK(m.read(PCI_COMMAND, 2) == 0);
  std::uint32_t word = 0;
  CHECK(m.task.pread(m.last, &word, sizeof word, 0x3000));
}

namespace {
struct bus_info {
  std::uint32_t argsz, flags, count;
  std::uint32_t devices[6];
};
}  // namespace

TEMPLATE_TEST_CASE("virtual functions are on the bus of a hot reset", "", EVERY_RELEASE) {
  with_functions<TestType> m;
  REQUIRE(m.get(physical_name, right) == errc::ok);
  const int physical = m.last;
  REQUIRE(m.get(virtual_name, right) == errc::ok);
  for (const int device : {physical, m.last}) {
    bus_info i{.argsz = sizeof i, .flags = 0, .count = 0, .devices = {}};
    REQUIRE(m.ioctl_at(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, i) == errc::ok);
    CHECK(i.count == 3);
    CHECK((i.devices[0] == 1 && i.devices[2] == 2 && i.devices[4] == 3));
    std::uint32_t reset[6] = {24, 0, 3};
    for (std::size_t g = 0; g < 3; ++g) reset[3 + g] = static_cast<std::uint32_t>(m.groups[g]);
    CHECK(m.ioctl_at(device, VFIO_DEVICE_PCI_HOT_RESET, reset) == errc::inval);
  }
}

TEST_CASE("virtual functions are shown in sysfs, and read from there") {
  const sysfs_tree tree;
  REQUIRE(write_sysfs_view(functions(), tree.root(), sim::release_of<kvm_vfio::linux_7_3>(), {})
              .empty());
  const std::filesystem::path at = tree.root() / "sys/bus/pci/devices" / physical_name;
  CHECK(std::filesystem::read_symlink(at / "virtfn0").filename() == virtual_name);
  CHECK(std::filesystem::read_symlink(at / "virtfn1").filename() == sibling_name);
  CHECK(std::filesystem::read_symlink(at / "virtfn0/physfn").filename() == physical_name);
  const sim::topology_result read = sim::topology_from_sysfs(tree.root() / "sys");
  REQUIRE(read);
  REQUIRE(read.machine.groups.size() == 3);
  CHECK(read.machine.groups[0].devices[0].physical_function.empty());
  const sim::device_spec& function = read.machine.groups[1].devices[0];
  CHECK(function.physical_function == physical_name);
  CHECK((function.pci.vendor == 0x1234 && function.pci.device == 0x11e8));
  CHECK(function.pci.bars[0].address == 0);
  CHECK_FALSE(function.pci.intx);
}
