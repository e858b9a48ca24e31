// SPDX-License-Identifier: BSL-1.0
// Topologies read from folders like Linux's /sys, made as people's machines have them.
#include "fixture.hpp"
#include "registers.hpp"
#include "support/catch.hpp"
#include "sysfs_tree.hpp"

#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace {
namespace fs = std::filesystem;

std::string header() {
  std::string config(256, '\0');
  sysfs_tree::put(config, PCI_COMMAND, {0x06, 0x04, 0x10, 0x00});  // and: there are capabilities
  sysfs_tree::put(config, PCI_CAPABILITY_LIST, {0x40});
  sysfs_tree::put(config, PCI_INTERRUPT_LINE, {0x0b, 0x01});
  return config;
}

// An e1000e: PCI Express, MSI, MSI-X in BAR 3, I/O ports, a ROM.
sysfs_tree::function network_card() {
  std::string config = header();
  sysfs_tree::put(config, 0x40, {PCI_CAP_ID_EXP, 0x80, 0x02, 0x00});
  sysfs_tree::put(config, 0x80, {PCI_CAP_ID_MSI, 0xa0, 0x04});                        // 4 vectors
  sysfs_tree::put(config, 0xa0, {PCI_CAP_ID_MSIX, 0, 0x04, 0, 3, 0, 0, 0, 3, 0x20});  // 5 vectors
  return {
      .group = 12,
      .name = "0000:00:02.0",
      .driver = "vfio-pci",
      .resource = {sysfs_tree::resource(0xfebc0000, 0x20000, 0x40200), sysfs_tree::no_resource(),
                   sysfs_tree::resource(0xc040, 0x20, 0x40101),
                   sysfs_tree::resource(0xfebe0000, 0x4000, 0x142204), sysfs_tree::no_resource(),
                   sysfs_tree::no_resource(), sysfs_tree::resource(0xfeb80000, 0x40000, 0x46200)},
      .config = config};
}

// The text of what is not known about one member.
std::string unknown_of(const sim::topology_result& r, const std::string& where) {
  for (const sim::topology_error& e : r.unknown)
    if (e.where == where) return e.what;
  return {};
}
const sim::device_spec& only_device(const sim::topology_result& r) {
  REQUIRE(r.machine.groups.size() == 1);
  return r.machine.groups[0].devices.at(0);
}
}  // namespace

TEST_CASE("a running system's groups become a world") {
  const sysfs_tree tree;
  tree.add(network_card());
  sysfs_tree::function in_use = network_card();
  in_use.group = 3;
  in_use.name = "0000:00:03.1";
  in_use.driver = "e1000e";
  tree.add(in_use);
  in_use.name = "0000:00:03.0";
  in_use.driver = "";
  tree.add(in_use);
  tree.write("kernel/iommu_groups/12/reserved_regions",
             "0x00000000000a0000 0x00000000000bffff direct-relaxable\n"
             "0x00000000fee00000 0x00000000feefffff msi\n");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root(), false);
  INFO(to_text(r.errors));
  REQUIRE(r);
  const sim::topology& t = r.machine;
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
  CHECK(d.pci.subsystem_vendor == 0x1af4);
  CHECK(d.pci.command == 0x0406);
  CHECK(d.pci.status == 0);
  CHECK(d.pci.interrupt_line == 11);
  CHECK(d.pci.bars.at(0) == sim::bar_spec{.size = 0x20000});
  CHECK(d.pci.bars.at(1) == sim::bar_spec{});
  CHECK(d.pci.bars.at(2) == sim::bar_spec{.size = 0x20, .io = true});
  CHECK(d.pci.bars.at(3) == sim::bar_spec{.size = 0x4000, .is_64bit = true, .prefetchable = true});
  CHECK(d.pci.rom_size == 0x40000);
  CHECK((d.pci.express && d.pci.intx && d.pci.resets));
  CHECK(d.pci.msi_vectors == 4);
  CHECK(d.pci.msix_vectors == 5);
  CHECK(d.pci.msix_table == sim::bar_place{3, 0});
  CHECK(d.pci.msix_pba == sim::bar_place{3, 0x2000});
  CHECK(t.iommus.at(1).reserved ==
        std::vector<sim::reserved_region>{{0xa0000, 0xbffff, sim::region_type::direct_relaxable},
                                          {0xfee00000, 0xfeefffff, sim::region_type::msi}});

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

TEST_CASE("what is no copy of sysfs is an error") {
  const sysfs_tree tree;
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r.errors.size() == 1);
  CHECK(r.errors[0].text() == "groups: " + tree.root().string() +
                                  " is neither /sys nor a copy of it: it has no folder \"kernel\"");
  CHECK_FALSE(sim::topology_from_sysfs(tree.root() / "nothing"));
}

TEST_CASE("a copy of sysfs that lost its links is an error") {
  const sysfs_tree tree;
  tree.add(network_card());
  const fs::path driver = tree.root() / "devices/pci0000:00/0000:00:02.0/driver";
  fs::remove(driver);
  fs::create_directory(driver);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r.errors.size() == 1);
  CHECK(r.errors[0].text() ==
        "groups[0].devices[0].driver: \"driver\" is not a symbolic link, so the name of the driver "
        "is lost: copy /sys with its links (cp -a)");
}

TEST_CASE("a system without an IOMMU has no groups, which is said") {
  const sysfs_tree tree;
  fs::create_directories(tree.root() / "kernel");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  CHECK(r);
  CHECK(r.machine.groups.empty());
  CHECK(unknown_of(r, "groups") ==
        "the host has no groups: it has no IOMMU, or its IOMMU is not enabled");
}

TEST_CASE("every type of reserved region is kept") {
  const sysfs_tree tree;
  tree.add(network_card());
  tree.write("kernel/iommu_groups/12/reserved_regions",
             "0x000000007b800000 0x000000007fffffff direct\n"
             "0x0000000000001000 0x0000000000001000 reserved\n"
             "0x00000000000a0000 0x00000000000bffff direct-relaxable\n"
             "0x00000000fee00000 0x00000000feefffff msi\n"
             "0x0000000100000000 0x0000000100000fff new\n");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  using type = sim::region_type;
  CHECK(r.machine.iommus.at(0).reserved ==
        std::vector<sim::reserved_region>{{0x7b800000, 0x7fffffff, type::direct},
                                          {0x1000, 0x1000, type::reserved},
                                          {0xa0000, 0xbffff, type::direct_relaxable},
                                          {0xfee00000, 0xfeefffff, type::msi},
                                          {0x100000000, 0x100000fff, type::reserved}});
  CHECK(unknown_of(r, "iommus[0].reserved[4]") ==
        "the type \"new\" is not known: reserved is assumed");
}

TEST_CASE("an NVMe drive's MSI-X table lies in the middle of its registers") {
  const sysfs_tree tree;
  sysfs_tree::function nvme = network_card();
  nvme.class_code = "0x010802";
  nvme.resource = {sysfs_tree::resource(0xfebd0000, 0x8000, 0x140204)};
  nvme.config = header();
  sysfs_tree::put(nvme.config, PCI_BASE_ADDRESS_0, {0x04, 0x00, 0xbd, 0xfe});
  sysfs_tree::put(nvme.config, 0x40, {PCI_CAP_ID_MSIX, 0, 0x20, 0x80});  // 33 vectors, enabled
  sysfs_tree::put(nvme.config, 0x44, {0x00, 0x52, 0, 0, 0x00, 0x50, 0, 0});
  tree.add(nvme);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  const sim::pci_spec& pci = only_device(r).pci;
  CHECK(pci.bars.at(0).address == 0xfebd0000);
  CHECK(pci.msix_vectors == 33);
  CHECK(pci.msix_table == sim::bar_place{0, 0x5200});
  CHECK(pci.msix_pba == sim::bar_place{0, 0x5000});
  machine_under_test<> m(r.machine);
  const int d = m.device_fd(m.group_with_iommu("/dev/vfio/12"), "0000:00:02.0").value();
  std::uint32_t value = 1;
  REQUIRE(m.task.pread(d, &value, sizeof value, 0));
  CHECK(value == 0);  // a register
  REQUIRE(m.task.pread(d, &value, sizeof value, 0x5200));
  CHECK(value == 0xffffffff);
  const std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
  REQUIRE(m.task.pread(d, &value, sizeof value, config + 0x40));
  CHECK(registers::little_endian(value) == 0x00200011);  // not enabled
}

TEST_CASE("a GPU has a BAR of 256 GiB, and reading it costs nothing") {
  const sysfs_tree tree;
  sysfs_tree::function gpu = network_card();
  gpu.class_code = "0x030200";
  gpu.resource = {sysfs_tree::resource(0xf6000000, 0x1000000, 0x40200),
                  sysfs_tree::resource(0x4000000000, std::uint64_t{1} << 38, 0x14220c),
                  sysfs_tree::no_resource(), sysfs_tree::resource(0xf4000000, 0x2000000, 0x14220c)};
  sysfs_tree::put(gpu.config, 0xa4, {0, 0, 0xb9, 0, 0, 0, 0xba, 0});
  tree.add(gpu);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  INFO(to_text(r.unknown));
  REQUIRE(r);
  const sim::pci_spec& pci = only_device(r).pci;
  CHECK(pci.bars.at(1).size == std::uint64_t{1} << 38);
  CHECK(pci.msix_table == sim::bar_place{0, 0xb90000});
  machine_under_test<> m(r.machine);
  const int d = m.device_fd(m.group_with_iommu("/dev/vfio/12"), "0000:00:02.0").value();
  std::uint32_t value = 1;
  REQUIRE(m.task.pread(d, &value, sizeof value, (std::uint64_t{1} << 40) + (1ULL << 37)));
  CHECK(value == 0);
  CHECK(m.world.find_device("0000:00:02.0")->pci.bar(1).resident() == 0);
}

TEST_CASE("whatever its driver is called, a device with a VFIO node is VFIO's") {
  const sysfs_tree tree;
  sysfs_tree::function vf = network_card();
  vf.driver = "vendor_vf_migration";
  vf.vfio_number = 5;
  tree.add(vf);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  CHECK(only_device(r).bound == sim::driver::vfio);
  CHECK(only_device(r).file_number == 5);
  machine_under_test<> m(r.machine);
  CHECK(m.task.open("/dev/vfio/12"));
  CHECK(m.task.open("/dev/vfio/devices/vfio5"));
}

TEST_CASE("capabilities stay where they are, in their order, with their bytes") {
  const sysfs_tree tree;
  sysfs_tree::function f = network_card();
  f.config = header();
  f.config.resize(4096);
  sysfs_tree::put(f.config, PCI_CAPABILITY_LIST, {0xc8});
  sysfs_tree::put(f.config, 0xc8, {PCI_CAP_ID_PM, 0xd0, 0x22, 0xc8});
  sysfs_tree::put(f.config, 0xd0, {PCI_CAP_ID_MSI, 0xe0, 0x80, 0, 0, 0, 0xe0, 0xfe});
  sysfs_tree::put(f.config, 0xe0, {PCI_CAP_ID_EXP, 0xa0, 0x91, 0x00});
  sysfs_tree::put(f.config, 0xa0, {PCI_CAP_ID_MSIX, 0x50, 4, 0, 3, 0, 0, 0, 3, 0x20});
  sysfs_tree::put(f.config, 0x50, {0xfe, 0, 1, 2, 3});  // one that nobody knows
  sysfs_tree::put(f.config, 0x42, {7, 0, 8});           // registers of the function itself
  sysfs_tree::put(f.config, 0x100, {0x01, 0, 0x02, 0x14, 9});
  sysfs_tree::put(f.config, 0x140, {0x03, 0, 0x01, 0, 1, 2, 3, 4});
  tree.add(f);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  INFO(to_text(r.unknown));
  REQUIRE(r);
  const sim::pci_spec& pci = only_device(r).pci;
  CHECK(pci.msi_vectors == 1);
  CHECK(pci.own_registers == std::vector<std::uint8_t>{0, 0, 7, 0, 8});
  CHECK(pci.capabilities ==
        std::vector<sim::capability_spec>{
            {.id = PCI_CAP_ID_PM, .offset = 0xc8, .bytes = {0x22, 0xc8}},
            {.id = PCI_CAP_ID_MSI, .offset = 0xd0, .bytes = {0x80, 0, 0, 0, 0xe0, 0xfe}},
            {.id = PCI_CAP_ID_EXP, .offset = 0xe0, .bytes = {0x91}},
            {.id = PCI_CAP_ID_MSIX, .offset = 0xa0, .bytes = {4, 0, 3, 0, 0, 0, 3, 0x20}},
            {.id = 0xfe, .offset = 0x50, .bytes = {1, 2, 3}},
            {.id = PCI_EXT_CAP_ID_ERR, .offset = 0x100, .version = 2, .bytes = {9}},
            {.id = PCI_EXT_CAP_ID_DSN, .offset = 0x140, .bytes = {1, 2, 3, 4}}});
  // The simulated function shows the same bytes.
  const sim::world w(r.machine);
  const sim::pci_config& seen = w.find_device("0000:00:02.0")->pci.config();
  for (std::size_t at = 0x40; at < 4096; ++at) {
    const auto byte = static_cast<unsigned char>(f.config[at]);
    INFO(at);
    REQUIRE(seen.at(at) == byte);
  }
}

TEST_CASE("what an ordinary user cannot read is said, and not made up") {
  const sysfs_tree tree;
  sysfs_tree::function f = network_card();
  f.config.resize(64);
  tree.add(f);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  const sim::pci_spec& pci = only_device(r).pci;
  CHECK(pci.msi_vectors == 0);
  CHECK(pci.msix_vectors == 0);
  CHECK_FALSE(pci.express);
  CHECK(pci.capabilities.empty());
  CHECK(unknown_of(r, "groups[0].devices[0].pci.capabilities") ==
        "only 64 bytes of the configuration space can be read (root can read all): a function with "
        "neither PCI Express, MSI nor MSI-X is assumed");
  CHECK(unknown_of(r, "iommus[0].snoop_control") ==
        "sysfs does not show it for this IOMMU: true is assumed");
  CHECK(unknown_of(r, "iommus[0].reserved") ==
        "the file \"reserved_regions\" cannot be read: no reserved regions are assumed");
  CHECK(unknown_of(r, "iommus") ==
        "sysfs does not show page sizes, address widths "
        "and interrupt remapping: the defaults are assumed");
}

TEST_CASE("files that are missing are said") {
  const sysfs_tree tree;
  tree.add(network_card());
  for (const char* name : {"vendor", "resource", "config"})
    fs::remove(tree.root() / "devices/pci0000:00/0000:00:02.0" / name);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  const std::string where = "groups[0].devices[0].pci.";
  CHECK(unknown_of(r, where + "vendor") == "the file \"vendor\" cannot be read: 0 is assumed");
  CHECK(unknown_of(r, where + "bars") ==
        "the file \"resource\" cannot be read: no BARs are assumed");
  CHECK(unknown_of(r, where + "capabilities").substr(0, 12) == "only 0 bytes");
}

TEST_CASE("what is in place of a file, or of a number, is said, and does no harm") {
  const std::string at = "devices/pci0000:00/0000:00:02.0";
  const std::string where = "groups[0].devices[0].pci.";
  SECTION("folders, a link to itself, a file without end") {
    const sysfs_tree tree;
    tree.add(network_card());
    for (const char* name : {"vendor", "resource", "config", "device"})
      fs::remove(tree.root() / at / name);
    for (const char* name : {"vendor", "config"}) fs::create_directory(tree.root() / at / name);
    fs::create_symlink("resource", tree.root() / at / "resource");
    fs::create_symlink("/dev/zero", tree.root() / at / "device");
    fs::create_directory(tree.root() / "kernel/iommu_groups/12/reserved_regions");
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    REQUIRE(r);
    CHECK(unknown_of(r, where + "vendor") == "the file \"vendor\" cannot be read: 0 is assumed");
    CHECK(unknown_of(r, where + "device") == "the file \"device\" cannot be read: 0 is assumed");
    CHECK(unknown_of(r, where + "bars") ==
          "the file \"resource\" cannot be read: no BARs are assumed");
    CHECK(unknown_of(r, where + "command") ==
          "only 0 bytes of the configuration space can be read: if the command, the status, the "
          "interrupt pin or line or the address of a BAR is missing, it is 0");
    CHECK(unknown_of(r, "iommus[0].reserved") ==
          "the file \"reserved_regions\" cannot be read: no reserved regions are assumed");
  }
  SECTION("numbers that are too large, and lines that are none") {
    const sysfs_tree tree;
    sysfs_tree::function f = network_card();
    f.vendor = "0x18086";
    f.device = "0x";
    f.resource.insert(f.resource.begin(), "garbage");
    tree.add(f);
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    REQUIRE(r);
    CHECK(only_device(r).pci.vendor == 0);
    CHECK(unknown_of(r, where + "vendor") ==
          "the file \"vendor\" contains a number that is too large: 0 is assumed");
    CHECK(unknown_of(r, where + "bars[0]") ==
          "the file \"resource\" has no valid line for it: it is left out");
    CHECK(only_device(r).pci.bars.at(0) == sim::bar_spec{});
    CHECK(only_device(r).pci.bars.at(1).size == 0x20000);  // where it was
  }
  SECTION("chains that lead into the header, back, or nowhere") {
    const sysfs_tree tree;
    sysfs_tree::function f = network_card();
    f.config.resize(4097);
    sysfs_tree::put(f.config, 0x80, {PCI_CAP_ID_MSI, 0x23});
    sysfs_tree::put(f.config, 0x100, {0x01, 0, 0x02, 0x41});  // low bits of a link mean nothing
    f.config[0x102] = 0x32;
    sysfs_tree::put(f.config, 0x410, {0x02, 0, 0x01, 0x04});
    tree.add(f);
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    REQUIRE(r);
    CHECK(unknown_of(r, where + "capabilities") ==
          "a list of capabilities leads to 0x20, which cannot be an offset or was read before: the "
          "list ends there");
    CHECK(r.unknown.size() == 5);  // also: the second list, and what no host tells
    REQUIRE(only_device(r).pci.capabilities.size() == 4);
    CHECK(only_device(r).pci.capabilities[2].offset == 0x100);
    CHECK(only_device(r).pci.capabilities[3].offset == 0x410);
  }
  SECTION("a BAR of ports that says that it is prefetchable, and others that cannot be") {
    const sysfs_tree tree;
    sysfs_tree::function f = network_card();
    f.resource = {sysfs_tree::resource(0x1000, 0x20, 0x2101),
                  sysfs_tree::resource(0xfe000000, 0x4000, 0x100200),
                  sysfs_tree::resource(0xfd000000, 0x4000, 0x200),
                  sysfs_tree::no_resource(),
                  sysfs_tree::no_resource(),
                  sysfs_tree::resource(0xfc000000, 0x4000, 0x100200)};
    tree.add(f);
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    REQUIRE(r);
    CHECK(unknown_of(r, where + "bars[0]") ==
          "a BAR of I/O ports is neither 64-bit nor prefetchable: it is left out");
    CHECK(unknown_of(r, where + "bars[2]") ==
          "the BAR before it is 64-bit and needs it as upper half: it is left out");
    CHECK(unknown_of(r, where + "bars[5]") == "the last BAR cannot be 64-bit: it is left out");
    // Its MSI-X table is in BAR 3, which is not there; MSI and PCI Express stay.
    CHECK(unknown_of(r, where + "msix_table.bar") ==
          "BAR 3 is not a memory BAR, so it cannot contain the MSI-X table: MSI-X is left out");
    CHECK(only_device(r).pci.msix_vectors == 0);
    CHECK(only_device(r).pci.msi_vectors == 4);
    CHECK(only_device(r).pci.express);
  }
}

TEST_CASE("a group whose devices cannot be read is an error, and not lost") {
  const sysfs_tree tree;
  tree.add(network_card());
  fs::create_directories(tree.root() / "kernel/iommu_groups/4");
  tree.write("kernel/iommu_groups/5/devices", "no folder");
  fs::create_directories(tree.root() / "kernel/iommu_groups/x");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r.machine.groups.size() == 3);
  CHECK(r.machine.groups[2].devices.size() == 1);
  REQUIRE(r.errors.size() == 2);
  CHECK(r.errors[0].where == "groups[0].devices");
  CHECK(r.errors[0].what.find("No such file or directory") != std::string::npos);
  CHECK(r.errors[1].where == "groups[1].devices");
  CHECK(r.errors[1].what.find("Not a directory") != std::string::npos);
  CHECK(unknown_of(r, "groups") == "\"x\" is not the number of a group: it is left out");

  const sysfs_tree other;
  other.write("kernel/iommu_groups", "no folder");
  CHECK(sim::topology_from_sysfs(other.root()).errors.at(0).where == "groups");
}

TEST_CASE("a folder that cannot be read is an error where it is, and nothing is lost in silence") {
  const sysfs_tree tree;
  tree.add(network_card());
  const fs::path device = tree.root() / "devices/pci0000:00/0000:00:02.0";
  const auto errors = [&] {
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    std::string text;
    for (const sim::topology_error& e : r.errors) text += e.text() + "\n";
    return text;
  };
  const auto loop = [](const fs::path& at) {
    fs::remove_all(at);
    fs::create_symlink(at.filename(), at);
  };
  const std::string why = ": Too many levels of symbolic links\n";
  SECTION("the folder of VFIO's node") {
    loop(device / "vfio-dev");
    CHECK(errors().find("groups[0].devices[0].file_number: ") == 0);
    CHECK(errors().find("vfio-dev" + why) != std::string::npos);
  }
  SECTION("a device") {
    loop(device);
    CHECK(errors().find("groups[0].devices[0]: ") == 0);
    CHECK(errors().find(why) != std::string::npos);
  }
  SECTION("a device that is gone") {
    fs::remove_all(device);
    CHECK(errors().find("groups[0].devices[0]: ") == 0);
    CHECK(errors().find("No such file or directory\n") != std::string::npos);
  }
  SECTION("a driver") {
    loop(device / "driver");
    CHECK(errors().find("groups[0].devices[0]: ") == 0);
  }
  SECTION("all groups") {
    loop(tree.root() / "kernel");
    CHECK(errors() == "groups: " + (tree.root() / "kernel").string() + why);
  }
}

TEST_CASE("what no BAR can be is left out, which is said") {
  const sysfs_tree tree;
  sysfs_tree::function ide = network_card();
  ide.resource = {sysfs_tree::resource(0x1f0, 8, 0x110), sysfs_tree::resource(0x3f6, 1, 0x110),
                  sysfs_tree::resource(0x1000, 24, 0x200)};
  ide.config.resize(64);
  tree.add(ide);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  CHECK(only_device(r).pci.bars.at(0) == sim::bar_spec{.size = 8, .io = true});
  CHECK(only_device(r).pci.bars.at(1) == sim::bar_spec{});
  CHECK(only_device(r).pci.bars.at(2) == sim::bar_spec{});
  CHECK(unknown_of(r, "groups[0].devices[0].pci.bars[1]") ==
        "0x1 is not a valid size of a BAR: it is left out");
  CHECK(unknown_of(r, "groups[0].devices[0].pci.bars[2]") ==
        "0x18 is not a valid size of a BAR: it is left out");
}

TEST_CASE("Intel's IOMMU shows whether it has snoop control") {
  const bool has_it = GENERATE(true, false);
  const sysfs_tree tree;
  tree.add(network_card());
  tree.write("devices/pci0000:00/0000:00:02.0/iommu/intel-iommu/ecap",
             has_it ? "f020df\n" : "f0205f\n");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  CHECK(r.machine.iommus.at(0).snoop_control == has_it);
  CHECK(unknown_of(r, "iommus[0].snoop_control").empty());
  CHECK(sim::topology_from_sysfs(tree.root(), !has_it).machine.iommus.at(0).snoop_control !=
        has_it);
}

TEST_CASE("Intel's IOMMU shows the addresses that it translates") {
  const sysfs_tree tree;
  tree.add(network_card());
  const auto last = [&tree](const char* cap) {
    tree.write("devices/pci0000:00/0000:00:02.0/iommu/intel-iommu/cap", cap);
    return sim::topology_from_sysfs(tree.root()).machine.iommus.at(0).aperture.last;
  };
  CHECK(last("c00260206\n") == 0x7fffffffff);       // 39 bits, tables of 3 levels
  CHECK(last("d2008c40660462\n") == 0x7fffffffff);  // 39 bits, tables of 4 levels
  CHECK(last("c002f0406\n") == 0xffffffffffff);
  CHECK(last("c003f0406\n") == 0xffffffffffff);  // the tables have 4 levels
  CHECK(last("nothing\n") == sim::iommu_spec{}.aperture.last);
  CHECK(last("c002f0406\n") == 0xffffffffffff);
  CHECK(sim::topology_from_sysfs(tree.root()).machine.iommus.at(0).name.starts_with("dmar"));
}

TEST_CASE("a mediated device shows what its driver makes up, which is said") {
  const sysfs_tree tree;
  const fs::path at = "devices/virtual/mtty/mtty/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
  tree.write(at / "mdev_type/name", "Single port serial\n");
  fs::create_directories(tree.root() / at / "vfio-dev/vfio0");
  fs::create_directories(tree.root() / "kernel/iommu_groups/1/devices");
  fs::create_symlink(tree.root() / at,
                     tree.root() / "kernel/iommu_groups/1/devices" / at.filename());
  // VFIO gives this name to groups of mediated devices, too.
  tree.write("kernel/iommu_groups/1/name", "vfio-noiommu\n");
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  REQUIRE(r);
  CHECK(only_device(r).mediated);
  CHECK_FALSE(r.machine.groups.at(0).iommu.empty());
  CHECK(only_device(r).bound == sim::driver::vfio);
  CHECK(only_device(r).pci.bars.empty());
  CHECK(unknown_of(r, "groups[0].devices[0].pci") ==
        "sysfs does not show the PCI function of a mediated device: an empty one is assumed");
}

// Whatever a device's configuration space holds, a world can be made of what is read.
TEST_CASE("configuration spaces at random") {
  std::mt19937_64 random(15);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  int with_capabilities = 0;
  for (int i = 0; i < 300; ++i) {
    const sysfs_tree tree;
    sysfs_tree::function f = network_card();
    f.config.resize(below(2) != 0 ? 256 : 4096);
    const std::size_t first = below(2) != 0 ? 0x40 : 0;
    for (std::size_t n = below(60); n > 0; --n)
      f.config[first + below(f.config.size() - first)] = static_cast<char>(random());
    for (std::size_t n = below(5); n > 0; --n)  // capabilities, chained or not
      sysfs_tree::put(f.config, 0x40 + 4 * below(45),
                      {static_cast<unsigned>(below(0x15)), static_cast<unsigned>(below(0xfc)),
                       static_cast<unsigned>(below(0x100))});
    tree.add(f);
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    INFO("number " << i << "\n" << to_text(r.errors));
    REQUIRE(r);
    const sim::world w(r.machine);
    with_capabilities += !only_device(r).pci.capabilities.empty();
#if KVM_VFIO_SIM_TOPOLOGY_JSON
    const sim::topology_result again = sim::topology_from_json(sim::topology_to_json(r.machine));
    REQUIRE(again);
    REQUIRE(again.machine == r.machine);
#endif
  }
  CHECK(with_capabilities > 50);
}

TEST_CASE("this host's topology is right, and the same after it was written and read") {
  const sim::topology_result r = sim::topology_from_sysfs();
  INFO(to_text(r.errors));
  REQUIRE(r);
  const sim::world w(r.machine);
#if KVM_VFIO_SIM_TOPOLOGY_JSON
  const sim::topology_result again = sim::topology_from_json(sim::topology_to_json(r.machine));
  REQUIRE(again);
  CHECK(again.machine == r.machine);
#endif
}

TEST_CASE("a reset of the bus is no reset of a function that has neighbours") {
  const sysfs_tree tree;
  sysfs_tree::function card = network_card();
  tree.add(card);
  const auto resets = [&tree] {
    return sim::topology_from_sysfs(tree.root()).machine.groups.at(0).devices.at(0).pci.resets;
  };
  const std::string methods = "devices/pci0000:00/0000:00:02.0/reset_method";
  tree.write(methods, "bus\n");
  CHECK(resets());
  card.name = "0000:00:03.0";
  tree.add(card);
  CHECK_FALSE(resets());
  tree.write(methods, "flr bus\n");
  CHECK(resets());
}

TEST_CASE("the header type of a function with neighbours in its slot is read") {
  const sysfs_tree tree;
  sysfs_tree::function card = network_card();
  sysfs_tree::put(card.config, PCI_HEADER_TYPE, {0x80});
  tree.add(card);
  CHECK(only_device(sim::topology_from_sysfs(tree.root())).pci.multifunction);
}

TEST_CASE("a bus behind a bridge can be reset") {
  const sysfs_tree tree;
  tree.add(network_card());
  const auto resets = [&tree] {
    return sim::topology_from_sysfs(tree.root()).machine.groups.at(0).devices.at(0).pci.bus_resets;
  };
  CHECK_FALSE(resets());
  tree.write("devices/pci0000:00/config", "");  // the folder is a bridge's
  CHECK(resets());
}

TEST_CASE("the message of enabled MSI is left out, and a message that stayed is kept") {
  for (const bool enabled : {true, false}) {
    const sysfs_tree tree;
    sysfs_tree::function card = network_card();
    const std::size_t at = 0x80;
    sysfs_tree::put(card.config, at + PCI_MSI_FLAGS, {enabled ? 0x81U : 0x80U, 1});
    sysfs_tree::put(card.config, at + PCI_MSI_ADDRESS_LO, {0, 0, 0xe0, 0xfe, 4});
    sysfs_tree::put(card.config, at + PCI_MSI_DATA_64, {0x41, 0x13});
    sysfs_tree::put(card.config, at + PCI_MSI_MASK_64, {1});
    sysfs_tree::put(card.config, at + PCI_MSI_PENDING_64, {2});
    tree.add(card);
    const sim::topology_result r = sim::topology_from_sysfs(tree.root());
    REQUIRE(r);
    const sim::world w(r.machine);
    const sim::pci_config& seen = w.find_device("0000:00:02.0")->pci.config();
    CHECK(seen.at16(at + PCI_MSI_FLAGS) == 0x180);
    // The kernel clears what it wrote. On POWER, the firmware leaves its message when MSI is
    // disabled.
    CHECK(seen.at32(at + PCI_MSI_ADDRESS_LO) == (enabled ? 0 : 0xfee00000));
    CHECK(seen.at32(at + PCI_MSI_ADDRESS_HI) == (enabled ? 0 : 4));
    CHECK(seen.at16(at + PCI_MSI_DATA_64) == (enabled ? 0 : 0x1341));
    CHECK(seen.at32(at + PCI_MSI_MASK_64) == (enabled ? 0 : 1));
    CHECK(seen.at32(at + PCI_MSI_PENDING_64) == 2);
  }
}

TEST_CASE("the power state of a function that sleeps is left out") {
  const sysfs_tree tree;
  sysfs_tree::function card = network_card();
  sysfs_tree::put(card.config, 0xa1, {0xc8});
  sysfs_tree::put(card.config, 0xc8, {PCI_CAP_ID_PM, 0, 0x02, 0, 0x0b, 0x20});  // D3hot
  tree.add(card);
  const sim::topology_result r = sim::topology_from_sysfs(tree.root());
  const sim::capability_spec& power = only_device(r).pci.capabilities.back();
  REQUIRE(power.id == PCI_CAP_ID_PM);
  CHECK(power.bytes == std::vector<std::uint8_t>{0x02, 0, 0x08, 0x20});
}
