// SPDX-License-Identifier: BSL-1.0
// Topologies read from JSON and from a sysfs tree; the dumps.
#include "../catch.hpp"
#include "fixture.hpp"

#include <kvm_vfio/sim/dump.hpp>
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <unistd.h>

#include <fstream>

namespace {
namespace fs = std::filesystem;

/// A sysfs of the test's making, gone with the object.
class sysfs_tree {
 public:
  sysfs_tree() {
    char name[] = "/tmp/kvm_vfio_sysfs_XXXXXX";
    root_ = ::mkdtemp(name);
  }
  sysfs_tree(const sysfs_tree&) = delete;
  sysfs_tree& operator=(const sysfs_tree&) = delete;
  ~sysfs_tree() { fs::remove_all(root_); }
  [[nodiscard]] const fs::path& root() const noexcept { return root_; }

  void write(const fs::path& where, const std::string& what) const {
    fs::create_directories((root_ / where).parent_path());
    std::ofstream(root_ / where, std::ios::binary) << what;
  }
  /// A function in a group. \param driver empty: none
  void device(int group, const std::string& name, const std::string& driver) const {
    const fs::path at = fs::path("devices/pci0000:00") / name;
    write(at / "vendor", "0x8086\n");
    write(at / "device", "0x10d3\n");
    write(at / "class", "0x020000\n");
    write(at / "revision", "0x02\n");
    write(at / "reset", "");
    write(at / "resource",
          "0x00000000febc0000 0x00000000febdffff 0x0000000000040200\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
          "0x000000000000c040 0x000000000000c05f 0x0000000000040101\n"
          "0x00000000febe0000 0x00000000febe3fff 0x0000000000142204\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
          "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
          "0x00000000feb80000 0x00000000febbffff 0x0000000000046200\n");
    std::string config(256, '\0');
    config[0x06] = 0x10;  // capabilities
    config[0x34] = 0x40;
    config[0x3d] = 1;     // INTx
    config[0x40] = 0x10;  // PCI Express
    config[0x41] = static_cast<char>(0x80);
    config[0x80] = 0x05;  // MSI, 4 vectors
    config[0x81] = static_cast<char>(0xa0);
    config[0x82] = 0x04;
    config[0xa0] = 0x11;  // MSI-X, 5 vectors in BAR 3
    config[0xa2] = 0x04;
    config[0xa4] = 0x03;
    write(at / "config", config);
    const fs::path g = root_ / "kernel/iommu_groups" / std::to_string(group);
    fs::create_directories(g / "devices");
    fs::create_symlink(root_ / at, g / "devices" / name);
    if (driver.empty()) return;
    fs::create_directories(root_ / "bus/pci/drivers" / driver);
    fs::create_symlink(root_ / "bus/pci/drivers" / driver, root_ / at / "driver");
  }

 private:
  fs::path root_;
};
}  // namespace

TEST_CASE("a running system's groups become a world") {
  const sysfs_tree tree;
  tree.device(12, "0000:00:02.0", "vfio-pci");
  tree.device(3, "0000:00:03.1", "e1000e");
  tree.device(3, "0000:00:03.0", "");
  tree.write("kernel/iommu_groups/12/reserved_regions",
             "0x00000000000a0000 0x00000000000bffff direct-relaxable\n"
             "0x00000000fee00000 0x00000000feefffff msi\n");
  const sim::topology t = sim::topology_from_sysfs(tree.root(), false);
  REQUIRE(t.groups.size() == 2);
  CHECK(t.groups[0].number == 3);
  REQUIRE(t.groups[0].devices.size() == 2);
  CHECK(t.groups[0].devices[0].bound == sim::driver::none);
  CHECK(t.groups[0].devices[1].bound == sim::driver::other);
  const sim::device_spec& d = t.groups[1].devices.at(0);
  CHECK(d.name == "0000:00:02.0");
  CHECK(d.bound == sim::driver::vfio);
  CHECK(d.pci.vendor == 0x8086);
  CHECK(d.pci.class_code == 0x020000);
  CHECK(d.pci.bars.at(0).size == 0x20000);
  CHECK(d.pci.bars.at(2).size == 0x20);
  CHECK(d.pci.bars.at(2).io);
  CHECK(d.pci.bars.at(3).size == 0x4000);
  CHECK(d.pci.bars.at(3).is_64bit);
  CHECK(d.pci.rom_size == 0x40000);
  CHECK((d.pci.express && d.pci.intx && d.pci.resets));
  CHECK(d.pci.msi_vectors == 4);
  CHECK(d.pci.msix_vectors == 5);
  CHECK(d.pci.msix_bar == 3);

  machine_under_test<> m(t);
  int container = -1;
  const int g = m.group_with_iommu("/dev/vfio/12", &container);
  REQUIRE(g >= 0);
  CHECK(m.device_fd(g, "0000:00:02.0"));
  vfio_iommu_type1_dma_map map{.argsz = sizeof map,
                               .flags = VFIO_DMA_MAP_FLAG_READ,
                               .vaddr = 0x10000,
                               .iova = 0xa0000,
                               .size = 0x1000};
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);  // relaxable
  map.iova = 0xfee00000;
  CHECK(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::inval);
  CHECK(m.task.open("/dev/vfio/3").error() == errc::noent);  // nothing of it is VFIO's
}

TEST_CASE("a system without an IOMMU has no groups") {
  const sysfs_tree tree;
  CHECK(sim::topology_from_sysfs(tree.root()).groups.empty());
}

#if KVM_VFIO_SIM_TOPOLOGY_JSON
TEST_CASE("a topology is read from JSON; what is left out has its default") {
  const sim::parsed_topology p = sim::topology_from_json(R"({
    "iommus": [{"name": "dmar0", "snoop_control": false, "reserved": []}],
    "groups": [{"number": 7, "iommu": "dmar0", "devices": [
      {"name": "0000:aa:00.0", "needs_vm": true,
       "pci": {"vendor": 4660, "bars": [{"size": 4096}], "msix_vectors": 4}},
      {"name": "m", "driver": "none"}]}]})");
  INFO(p.error);
  REQUIRE(p);
  REQUIRE(p.machine.groups.size() == 1);
  CHECK_FALSE(p.machine.iommus.at(0).snoop_control);
  CHECK(p.machine.iommus.at(0).interrupt_remapping);
  CHECK(p.machine.iommus.at(0).reserved.empty());
  const auto& devices = p.machine.groups[0].devices;
  CHECK(devices.at(0).needs_vm);
  CHECK(devices.at(0).pci.msix_vectors == 4);
  CHECK(devices.at(0).pci.express);
  CHECK(devices.at(1).bound == sim::driver::none);
}

TEST_CASE("JSON that is no topology says what is wrong") {
  const auto [text, error] = GENERATE(table<const char*, const char*>({
      {"{", "parse error"},
      {"[]", "topology: not an object"},
      {"{}", "key 'groups' not found"},
      {R"({"groups": {}})", "not a list"},
      {R"({"groups": [], "group": []})", "unknown key \"group\""},
      {R"({"groups": [{"number": 1, "iommu": "x", "devices": []}]})", "no IOMMU \"x\""},
      {R"({"groups": [{"number": 1, "devices": [{"name": "a", "driver": "e1000"}]}]})", "e1000"},
      {R"({"groups": [{"number": 1, "devices": [{"name": "a", "pci": {"bars": [{"size": 5}]}}]}]})",
       "power of two"},
      {R"({"groups": [{"number": 1, "devices": [{"name": "a",
          "pci": {"bars": [], "msix_vectors": 1}}]}]})",
       "msix_bar"},
      {R"({"groups": [{"number": "one", "devices": []}]})", "must be number"},
  }));
  const sim::parsed_topology p = sim::topology_from_json(text);
  INFO(text << "\n" << p.error);
  CHECK_FALSE(p);
  CHECK(p.error.find(error) != std::string::npos);
}
#else
TEST_CASE("a topology is read from JSON") { skipping::skip("nlohmann's JSON is not installed"); }
#endif

TEST_CASE("the dumps say what is there, and why") {
  machine_under_test<> m(two_groups(/*snoop_control=*/false));
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.device_fd(g, "0000:00:04.0"));
  const sim::snapshot s = m.kernel.look();
  CHECK(to_text(s) ==
        "Linux 7.3\n"
        "vm0: 3 users, noncoherent DMA\n"
        "  /dev/vfio/1 (vm0): noncoherent, a device of the group cannot be enforced coherent\n"
        "container 0: groups 1, type1v2, 0 mappings\n"
        "  domain of groups 1: not enforced\n"
        "group 1: open, in container 0, of vm0\n"
        "  0000:00:04.0: opened 1 times, of vm0, holds it\n");
  const std::string dot = to_dot(s);
  CHECK(dot.find("\"vm0\" -> \"/dev/vfio/1\" [label=1, color=red];") != std::string::npos);
  CHECK(dot.find("\"/dev/vfio/1\" -> \"container 0\";") != std::string::npos);
#if KVM_VFIO_SIM_TOPOLOGY_JSON
  const auto json = nlohmann::json::parse(to_json(s));
  CHECK(json["vms"][0]["tracked"][0]["coherent"] == false);
  CHECK(json["groups"][0]["devices"][0]["holds_vm"] == true);
  CHECK(json["groups"][1]["container"] == -1);
  CHECK(json["containers"][0]["domains"][0]["groups"] == std::vector{1});
#endif
}

TEST_CASE("names with quotes and control characters stay valid JSON") {
  CHECK(sim::detail::in_quotes("a\"b\\c\n") == "\"a\\\"b\\\\c\\u000a\"");
}
