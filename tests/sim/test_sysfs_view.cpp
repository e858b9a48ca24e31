// SPDX-License-Identifier: BSL-1.0
// The folders /sys and /dev of a topology: read back by the reader of sysfs, by lspci, and link by
// link.
#include "random_topology.hpp"
#include "support/catch.hpp"
#include "sysfs_tree.hpp"

#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace {
namespace fs = std::filesystem;
namespace sim = kvm_vfio::sim;

// What the reader finds of a capability: all bytes up to the next one, without what the host sets.
void as_read(std::vector<sim::capability_spec>& all) {
  for (sim::capability_spec& c : all) {
    std::size_t end = sim::is_extended(c) ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
    for (const sim::capability_spec& other : all)
      if (other.offset > c.offset) end = std::min<std::size_t>(end, other.offset);
    c.bytes.resize(end - c.offset - sim::header_size(c));
    if (!sim::is_extended(c) && c.id == PCI_CAP_ID_MSI) c.bytes[0] &= 0x8e;
    while (c.bytes.size() > 1 && c.bytes.back() == 0) c.bytes.pop_back();
  }
}
sim::pci_spec as_read(const sim::pci_spec& spec) {
  sim::pci_spec pci = spec;
  pci.capabilities = sim::capabilities_of(spec);
  as_read(pci.capabilities);
  pci.bars.resize(6);
  pci.status &= static_cast<std::uint16_t>(~PCI_STATUS_CAP_LIST);
  if (pci.msix_vectors != 0) pci.msix_pba = sim::pending_bits_of(spec);
  return pci;
}
// What the reader makes of a topology: sysfs shows reserved regions of groups, the functions of PCI
// devices only, and nothing of what a driver wants.
sim::topology as_read(sim::topology t) {
  sim::topology out;
  out.iommus.clear();
  std::set<int> numbers;
  for (const sim::group_spec& g : t.groups)
    for (const sim::device_spec& d : g.devices) numbers.insert(d.file_number);
  int next = 0;
  for (sim::group_spec& g : t.groups) {
    for (sim::device_spec& d : g.devices) {
      if (d.bound == sim::driver::vfio && d.file_number < 0) {
        while (numbers.contains(next)) ++next;
        d.file_number = next++;
      }
      d.needs_vm = false;
      if (d.mediated) {
        if (d.bound == sim::driver::other) d.bound = sim::driver::vfio;
        d.pci = {.vendor = 0,
                 .device = 0,
                 .class_code = 0,
                 .revision = 0,
                 .bars = {},
                 .intx = false,
                 .express = false,
                 .resets = false};
      } else {
        d.pci = as_read(d.pci);
      }
    }
    std::sort(g.devices.begin(), g.devices.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }
  std::sort(t.groups.begin(), t.groups.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  for (sim::group_spec& g : t.groups) {
    const auto& of_group = *std::find_if(t.iommus.begin(), t.iommus.end(),
                                         [&g](const auto& i) { return i.name == g.iommu; });
    const bool shown =
        of_group.name.starts_with("dmar") && !g.devices.empty() && !g.devices.front().mediated;
    g.iommu = (shown ? "dmar" : "group") + std::to_string(g.number);
    // sysfs has the width of addresses, and five levels of page tables have 57 bits at most.
    const int width = std::min(static_cast<int>(std::bit_width(of_group.aperture.last | 1)), 57);
    const sim::iova_range aperture{0, (std::uint64_t{1} << width) - 1};
    out.iommus.push_back({.name = g.iommu,
                          .snoop_control = !shown || of_group.snoop_control,
                          .aperture = shown ? aperture : sim::iommu_spec{}.aperture,
                          .reserved = of_group.reserved});
    std::vector<sim::reserved_region>& regions = out.iommus.back().reserved;
    std::sort(regions.begin(), regions.end(), [](const auto& a, const auto& b) {
      return std::tie(a.first, a.last, a.type) < std::tie(b.first, b.last, b.type);
    });
    out.groups.push_back(std::move(g));
  }
  return out;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
std::string errors_of(const sim::topology& t, const fs::path& directory) {
  return to_text(sim::write_sysfs_view(t, directory, sim::vfio_7_3));
}

// Compares member by member, so that a failure names the member.
void check_read_back(const sim::topology& t, const fs::path& directory) {
  const sim::topology_result r = sim::topology_from_sysfs(directory / "sys");
  INFO(to_text(r.errors));
  REQUIRE(r);
  const sim::topology expected = as_read(t);
  CHECK(r.machine.iommus == expected.iommus);
  REQUIRE(r.machine.groups.size() == expected.groups.size());
  for (std::size_t i = 0; i < expected.groups.size(); ++i) {
    const sim::group_spec &read = r.machine.groups[i], &wanted = expected.groups[i];
    CHECK(read.number == wanted.number);
    REQUIRE(read.devices.size() == wanted.devices.size());
    for (std::size_t j = 0; j < wanted.devices.size(); ++j) {
      const sim::device_spec &d = read.devices[j], &w = wanted.devices[j];
      INFO(w.name);
      CHECK(d.name == w.name);
      CHECK(d.bound == w.bound);
      CHECK(d.mediated == w.mediated);
      CHECK(d.file_number == w.file_number);
      CHECK(d.pci.vendor == w.pci.vendor);
      CHECK(d.pci.device == w.pci.device);
      CHECK(d.pci.class_code == w.pci.class_code);
      CHECK(d.pci.revision == w.pci.revision);
      CHECK(d.pci.command == w.pci.command);
      CHECK(d.pci.status == w.pci.status);
      CHECK(d.pci.bars == w.pci.bars);
      CHECK(d.pci.rom_size == w.pci.rom_size);
      CHECK(d.pci.capabilities == w.pci.capabilities);
      CHECK(d.pci.resets == w.pci.resets);
      CHECK(d.pci.bus_resets == w.pci.bus_resets);
      CHECK(d.pci == w.pci);
    }
  }
  CHECK(r.machine == expected);
}
// Every link is relative and leads to something in the tree.
void check_links(const fs::path& directory) {
  const fs::path root = fs::canonical(directory);
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_symlink()) continue;
    INFO(entry.path());
    CHECK(fs::read_symlink(entry.path()).is_relative());
    std::error_code error;
    const fs::path target = fs::canonical(entry.path(), error);
    CHECK_FALSE(error);
    CHECK(target.string().starts_with(root.string() + "/"));
  }
}
// The nodes exist in the tree and in a world, with the numbers that sysfs has.
void check_nodes(const sim::topology& t, const fs::path& directory,
                 const sim::linux_release& release) {
  sim::world w(t, release);
  std::set<std::string> numbers;
  for (const sim::device_node& n : sim::device_nodes(t, release)) {
    INFO(n.path);
    const std::string number = std::to_string(n.major) + ":" + std::to_string(n.minor);
    CHECK(numbers.insert(number).second);
    CHECK(fs::is_regular_file(fs::path(directory).concat(n.path)));
    CHECK(text_of(directory / "sys/dev/char" / number / "dev") == number + "\n");
    const auto opened = w.open(n.path.c_str(), O_PATH);
    REQUIRE(opened);
    (*opened)->put();
  }
  CHECK(entries_in(directory / "sys/dev/char") == numbers.size());
}

sim::topology example() {
  sim::topology t;
  t.iommus = {{.name = "dmar0", .snoop_control = false}, {.name = "dmar1"}};
  const sim::pci_spec nic{.vendor = 0x8086,
                          .device = 0x10d3,
                          .class_code = 0x020000,
                          .subsystem_vendor = 0x1af4,
                          .subsystem = 0x1100,
                          .bars = {{.size = 0x20000, .address = 0xfebc0000},
                                   {},
                                   {.size = 0x20, .io = true, .address = 0xc040},
                                   {.size = std::uint64_t{1} << 38,
                                    .is_64bit = true,
                                    .prefetchable = true,
                                    .address = std::uint64_t{1} << 38},
                                   {}},
                          .rom_size = 0x40000,
                          .msi_vectors = 4,
                          .command = 7,
                          .interrupt_line = 11,
                          .bus_resets = true};
  sim::pci_spec plain = nic;
  plain.bus_resets = false;
  t.groups = {{.number = 12,
               .iommu = "dmar0",
               .devices = {{.name = "0000:02:00.0", .pci = nic},
                           {.name = "0000:02:00.1", .bound = sim::driver::none, .pci = nic}}},
              {.number = 3,
               .iommu = "dmar1",
               .devices = {{.name = "0000:00:1c.0", .bound = sim::driver::other, .pci = plain}}},
              {.number = 5,
               .iommu = "dmar1",
               .devices = {{.name = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001",
                            .mediated = true,
                            .file_number = 0}}},
              {.number = 9, .iommu = "dmar1", .devices = {}}};
  return t;
}
}  // namespace

TEST_CASE("the tree of a topology has the files that programs read") {
  const sysfs_tree tree;
  const fs::path at = tree.root();
  REQUIRE(errors_of(example(), at).empty());
  check_read_back(example(), at);
  check_links(at);
  check_nodes(example(), at, sim::vfio_7_3);
  CHECK(fs::read_symlink(at / "sys/bus/pci/devices/0000:02:00.0") ==
        "../../../devices/pci0000:00/0000:00:1c.1/0000:02:00.0");
  const fs::path nic = at / "sys/devices/pci0000:00/0000:00:1c.1/0000:02:00.0";
  CHECK(fs::read_symlink(nic / "driver") == "../../../../bus/pci/drivers/vfio-pci");
  CHECK(fs::read_symlink(nic / "subsystem") == "../../../../bus/pci");
  CHECK(fs::read_symlink(nic / "iommu_group") == "../../../../kernel/iommu_groups/12");
  CHECK(fs::read_symlink(nic / "iommu") == "../../../virtual/iommu/dmar0");
  CHECK(fs::read_symlink(nic / "vfio-dev/vfio1/device") == "../../../0000:02:00.0");
  CHECK(fs::read_symlink(nic / "vfio-dev/vfio1/subsystem") == "../../../../../../class/vfio-dev");
  CHECK(text_of(nic / "vfio-dev/vfio1/dev") == "510:1\n");
  CHECK(text_of(nic / "vfio-dev/vfio1/uevent") ==
        "MAJOR=510\nMINOR=1\nDEVNAME=vfio/devices/vfio1\n");
  CHECK(text_of(nic / "vendor") == "0x8086\n");
  CHECK(text_of(nic / "class") == "0x020000\n");
  CHECK(text_of(nic / "irq") == "11\n");
  CHECK(text_of(nic / "uevent") ==
        "DRIVER=vfio-pci\nPCI_CLASS=20000\nPCI_ID=8086:10D3\nPCI_SUBSYS_ID=1AF4:1100\n"
        "PCI_SLOT_NAME=0000:02:00.0\n"
        "MODALIAS=pci:v00008086d000010D3sv00001AF4sd00001100bc02sc00i00\n");
  CHECK(text_of(nic / "resource") ==
        sysfs_tree::resource(0xfebc0000, 0x20000, 0x40200) + "\n" + sysfs_tree::no_resource() +
            "\n" + sysfs_tree::resource(0xc040, 0x20, 0x40101) + "\n" +
            sysfs_tree::resource(std::uint64_t{1} << 38, std::uint64_t{1} << 38, 0x14220c) + "\n" +
            sysfs_tree::no_resource() + "\n" + sysfs_tree::no_resource() + "\n" +
            sysfs_tree::resource(0, 0x40000, 0x46200) + "\n" + [] {
              std::string rest;
              for (int i = 0; i < 6; ++i) rest += sysfs_tree::no_resource() + "\n";
              return rest;
            }());
  CHECK(fs::file_size(nic / "config") == 4096);
  CHECK(fs::file_size(nic / "resource3") == std::uint64_t{1} << 38);
  CHECK(fs::file_size(nic / "resource2") == 0x20);  // I/O ports
  CHECK(fs::file_size(nic / "resource3_wc") == std::uint64_t{1} << 38);
  CHECK_FALSE(fs::exists(nic / "resource0_wc"));  // not prefetchable
  CHECK(fs::file_size(nic / "rom") == 0x40000);
  CHECK(text_of(nic / "reset_method") == "flr\n");  // the bus has another function
  struct stat status{};
  REQUIRE(::stat((nic / "reset").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0200);
  // The bridge is a device, but is in no group.
  CHECK(text_of(nic / "../class") == "0x060400\n");
  CHECK_FALSE(fs::exists(nic / "../iommu_group"));
  CHECK(text_of(nic / "../config").at(PCI_SECONDARY_BUS) == 2);
  CHECK(fs::exists(at / "sys/bus/pci/devices/0000:00:1c.1"));

  CHECK(text_of(at / "sys/kernel/iommu_groups/12/reserved_regions") ==
        "0x00000000fee00000 0x00000000feefffff msi\n");
  CHECK(fs::is_empty(at / "sys/kernel/iommu_groups/9/devices"));
  CHECK(text_of(at / "sys/class/iommu/dmar0/intel-iommu/ecap") == "0\n");
  CHECK(text_of(at / "sys/class/iommu/dmar0/intel-iommu/cap") == "c002f0406\n");
  CHECK(fs::exists(at / "sys/class/iommu/dmar0/devices/0000:02:00.0"));
  CHECK(fs::exists(at / "sys/bus/pci/drivers/vfio-pci/0000:02:00.0"));
  CHECK(fs::exists(at / "sys/bus/pci/drivers/vfio-pci/module/parameters/disable_vga"));
  CHECK(text_of(at / "sys/class/vfio/12/dev") == "511:0\n");
  CHECK(text_of(at / "sys/class/misc/vfio/dev") == "10:196\n");
  CHECK(text_of(at / "sys/class/misc/vfio/uevent") ==
        "MAJOR=10\nMINOR=196\nDEVNAME=vfio/vfio\nDEVMODE=0666\n");
  CHECK(text_of(at / "sys/class/vfio/5/uevent") == "MAJOR=511\nMINOR=1\nDEVNAME=vfio/5\n");
  CHECK(fs::exists(at / "sys/devices/pci0000:00/uevent"));
  CHECK_FALSE(fs::exists(at / "dev/vfio/3"));
  CHECK(fs::exists(at / "dev/vfio/devices/vfio0"));
  CHECK(text_of(at / "sys/module/vfio_iommu_type1/parameters/dma_entry_limit") == "65535\n");
  CHECK(text_of(at / "sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == "N\n");
  const fs::path mdev = at / "sys/bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
  CHECK(text_of(mdev / "mdev_type/device_api") == "vfio-pci\n");
  CHECK(fs::canonical(mdev / "subsystem") == fs::canonical(at / "sys/bus/mdev"));
  CHECK(fs::canonical(mdev / "driver").filename() == "vfio_mdev");
}

TEST_CASE("the tree shows functions that no process has open as Linux does") {
  sim::topology t = example();
  sim::pci_spec& nic = t.groups[0].devices[0].pci;
  nic.capabilities = {
      {.id = PCI_CAP_ID_PM, .offset = 0x40, .bytes = {3, 0, PCI_PM_CTRL_NO_SOFT_RESET}},
      {.id = PCI_CAP_ID_EXP, .offset = 0x50, .bytes = std::vector<std::uint8_t>(0x3a)},
      {.id = PCI_CAP_ID_MSI, .offset = 0x90, .bytes = {}}};
  nic.capabilities[1].bytes[0] = 2 | PCI_EXP_TYPE_RC_END << 4;
  nic.capabilities[1].bytes[PCI_EXP_LNKCAP - 2] = 0x11;
  nic.capabilities[1].bytes[PCI_EXP_LNKSTA - 2] = 0x11;
  const sysfs_tree tree;
  REQUIRE(errors_of(t, tree.root()) == "");
  const fs::path devices = tree.root() / "sys/bus/pci/devices";
  struct row {
    const char* file;
    const char* of_vfio;    // with power management, and a part of the root complex
    const char* of_nobody;  // without a driver and without power management
    const char* of_other;
  };
  const auto [file, of_vfio, of_nobody, of_other] = GENERATE(
      row{"power/control", "auto\n", "on\n", "on\n"},
      row{"power/runtime_status", "suspended\n", "active\n", "active\n"},
      row{"power_state", "D3hot\n", "D0\n", "D0\n"}, row{"d3cold_allowed", "1\n", "0\n", "0\n"},
      row{"dma_mask_bits", "32\n", "32\n", "64\n"},
      row{"consistent_dma_mask_bits", "32\n", "32\n", "64\n"},
      row{"driver_override", "vfio-pci\n", "(null)\n", "(null)\n"},
      row{"local_cpus", "1\n", "1\n", "1\n"}, row{"local_cpulist", "0\n", "0\n", "0\n"},
      row{"max_link_speed", "Unknown\n", "Unknown\n", "Unknown\n"},
      row{"max_link_width", "255\n", "255\n", "255\n"},
      row{"current_link_speed", "Unknown\n", "Unknown\n", "Unknown\n"},
      row{"current_link_width", "0\n", "0\n", "0\n"});
  INFO(file);
  CHECK(text_of(devices / "0000:02:00.0" / file) == of_vfio);
  CHECK(text_of(devices / "0000:02:00.1" / file) == of_nobody);
  CHECK(text_of(devices / "0000:00:1c.0" / file) == of_other);
  CHECK(text_of(devices / "0000:02:00.0/config").at(0x44) ==
        static_cast<char>(PCI_PM_CTRL_NO_SOFT_RESET | 3));
  check_links(tree.root());
}

TEST_CASE("the tree shows what has no hardware as Linux does") {
  const sysfs_tree tree;
  REQUIRE(errors_of(example(), tree.root()) == "");
  const fs::path sys = tree.root() / "sys";
  const std::string folder =
      GENERATE("class/vfio/12", "class/misc/vfio", "class/iommu/dmar0", "class/vfio-dev/vfio0",
               "bus/mdev/devices/83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
  INFO(folder);
  CHECK(text_of(sys / folder / "power/control") == "auto\n");
  CHECK(text_of(sys / folder / "power/runtime_status") == "unsupported\n");
  // No IOMMU translates for the group of a mediated device.
  CHECK(text_of(sys / "kernel/iommu_groups/5/type") == "unknown\n");
  CHECK(text_of(sys / "kernel/iommu_groups/5/name") == "vfio-noiommu\n");
  CHECK(text_of(sys / "kernel/iommu_groups/12/type") == "DMA-FQ\n");
  CHECK_FALSE(fs::exists(sys / "kernel/iommu_groups/12/name"));
  CHECK(fs::file_size(sys / "bus/pci/resource_alignment") == 0);
}

TEST_CASE("the release and the options decide about device files and parameters") {
  const sysfs_tree tree;
  const fs::path at = tree.root();
  const auto written = [&](const sim::linux_release& release, const sim::world_options& options) {
    fs::remove_all(at / "sys");
    fs::remove_all(at / "dev");
    return sim::write_sysfs_view(example(), at, release, options);
  };
  REQUIRE(written(sim::vfio_6_1, {}).empty());
  check_read_back(example(), at);
  check_links(at);
  check_nodes(example(), at, sim::vfio_6_1);
  CHECK(fs::exists(at / "sys/class/vfio-dev/vfio0"));
  CHECK_FALSE(fs::exists(at / "sys/class/vfio-dev/vfio0/dev"));
  CHECK_FALSE(fs::exists(at / "dev/iommu"));
  CHECK_FALSE(fs::exists(at / "dev/vfio/devices"));
  CHECK_FALSE(fs::exists(at / "sys/module/iommufd"));

  REQUIRE(written(sim::vfio_6_12, {.device_files = false}).empty());
  CHECK_FALSE(fs::exists(at / "dev/iommu"));
  CHECK(sim::device_nodes(example(), sim::vfio_6_12, {.device_files = false}) ==
        std::vector<sim::device_node>{
            {"/dev/vfio/vfio", 10, 196}, {"/dev/vfio/12", 511, 0}, {"/dev/vfio/5", 511, 1}});
  CHECK(sim::device_nodes(example(), sim::vfio_6_12) ==
        std::vector<sim::device_node>{{"/dev/vfio/vfio", 10, 196},
                                      {"/dev/iommu", 10, 127},
                                      {"/dev/vfio/12", 511, 0},
                                      {"/dev/vfio/5", 511, 1},
                                      {"/dev/vfio/devices/vfio1", 510, 1},
                                      {"/dev/vfio/devices/vfio0", 510, 0}});

  REQUIRE(written(sim::vfio_7_3, {.allow_unsafe_interrupts = true, .dma_entry_limit = 8}).empty());
  const fs::path type1 = at / "sys/module/vfio_iommu_type1/parameters";
  CHECK(text_of(type1 / "allow_unsafe_interrupts") == "Y\n");
  CHECK(text_of(type1 / "dma_entry_limit") == "8\n");
  REQUIRE(written(sim::vfio_7_3, {.iommu = sim::iommu_kind::spapr}).empty());
  CHECK(fs::exists(at / "sys/module/vfio_iommu_spapr_tce"));
  CHECK_FALSE(fs::exists(at / "sys/module/vfio_iommu_type1"));
}

TEST_CASE("random topologies are read back from their trees") {
  random_topology random(20);
  for (int i = 0; i < 150; ++i) {
    sim::topology t = random.make();
    // Some with the addresses of a PCI bus.
    int number = 0;
    for (sim::group_spec& g : t.groups)
      for (sim::device_spec& d : g.devices) {
        if (random.coin()) continue;
        char name[16];
        std::snprintf(name, sizeof name, "0000:%02x:%02x.%d", static_cast<unsigned>(number % 3),
                      static_cast<unsigned>(number / 24 % 32), number / 3 % 8);
        ++number;
        d.name = name;
        d.pci.bus_resets = name[6] == '2';
      }
    INFO("number " << i);
    REQUIRE(check(t).empty());
    const sysfs_tree tree;
    const fs::path at = tree.root() / "new";
    REQUIRE(errors_of(t, at) == "");
    for (sim::group_spec& g : t.groups)
      for (sim::device_spec& d : g.devices)
        if (d.mediated) d.pci.bus_resets = false;
    check_read_back(t, at);
    check_links(at);
    check_nodes(t, at, sim::vfio_7_3);
  }
}

#if KVM_VFIO_SIM_TOPOLOGY_JSON
TEST_CASE("topologies in files are read back from their trees") {
  int valid = 0;
  for (const auto& file : fs::directory_iterator(fs::path(SIM_EVERY_MEMBER).parent_path())) {
    const sim::topology_result r = sim::topology_from_json(text_of(file.path()));
    if (!r) continue;
    ++valid;
    INFO(file.path());
    const sysfs_tree tree;
    REQUIRE(errors_of(r.machine, tree.root()) == "");
    check_read_back(r.machine, tree.root());
    check_links(tree.root());
  }
  CHECK(valid > 1);
}
#endif

TEST_CASE("this host is read back from its tree") {
  const sim::topology_result r = sim::topology_from_sysfs();
  REQUIRE(r);
  const sysfs_tree tree;
  REQUIRE(errors_of(r.machine, tree.root()) == "");
  check_links(tree.root());
  if (r.machine.groups.empty()) return skipping::skip("this host has no IOMMU groups");
  check_read_back(r.machine, tree.root());
}

TEST_CASE("after an error nothing of the tree is left") {
  const sysfs_tree tree;
  const fs::path at = tree.root() / "d";
  SECTION("the directory has such an entry") {
    const std::string name = GENERATE("sys", "dev");
    tree.write("d/" + name, "mine");
    CHECK(errors_of(example(), at) == "topology: " + (at / name).string() + ": File exists\n");
    CHECK(entries_in(at) == 1);
    CHECK(text_of(at / name) == "mine");
  }
  SECTION("the directory cannot be made") {
    CHECK(errors_of(example(), at / "e") ==
          "topology: " + (at / "e").string() + ": No such file or directory\n");
    tree.write("d", "a file");
    CHECK(errors_of(example(), at) == "topology: " + (at / "sys").string() + ": Not a directory\n");
    CHECK(text_of(at) == "a file");
  }
  SECTION("the directory is not writable") {
    if (::geteuid() == 0) return skipping::skip("root can write everywhere");
    fs::create_directory(at);
    fs::permissions(at, fs::perms::owner_read | fs::perms::owner_exec);
    CHECK(errors_of(example(), at) ==
          "topology: " + (at / "sys").string() + ": Permission denied\n");
  }
  SECTION("two IOMMUs have one folder") {
    sim::topology t = example();
    t.iommus.push_back({.name = "a/b"});
    t.iommus.push_back({.name = "a!b"});
    CHECK(errors_of(t, at) ==
          "topology: " + (at / "sys/devices/virtual/iommu/a!b/subsystem").string() +
              ": File exists\n");
    CHECK_FALSE(fs::exists(at));
  }
  SECTION("a file system refuses a file of this size") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{1 << 30, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    fs::create_directory(at);
    const std::string errors = errors_of(example(), at);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    std::signal(SIGXFSZ, handler);
    CHECK(errors.find("0000:02:00.0/resource3: File too large\n") != std::string::npos);
    CHECK(fs::is_empty(at));
  }
  SECTION("a name leads out of its folder") {
    sim::topology t = example();
    t.groups[0].devices[1].name = "..";
    t.groups[0].devices[1].pci.bus_resets = false;  // no address tells its bus
    CHECK(errors_of(t, at) == "groups[0].devices[1].name: \"..\" cannot be the name of a folder\n");
    t = example();
    t.iommus[1].name = ".";
    for (sim::group_spec& g : t.groups) g.iommu = "dmar0";
    CHECK(errors_of(t, at) == "iommus[1].name: \".\" cannot be the name of a folder\n");
    CHECK_FALSE(fs::exists(at));
  }
  SECTION("no address is free for a bridge") {
    sim::topology t = example();
    char name[16];
    for (unsigned i = 0; i < 256; ++i) {
      std::snprintf(name, sizeof name, "0000:00:%02x.%u", i / 8, i % 8);
      if (std::string(name) != "0000:00:1c.0") t.groups[3].devices.push_back({.name = name});
    }
    CHECK(errors_of(t, at) ==
          "groups: the bus 0000:02 needs a bridge, but no address is free on the bus 0000:00\n");
    CHECK_FALSE(fs::exists(at));
  }
}

TEST_CASE("virtual functions and links with a speed are shown") {
  sim::topology t = example();
  sim::pci_spec& physical = t.groups[0].devices[0].pci;
  physical.capabilities = {
      {.id = PCI_CAP_ID_EXP, .offset = 0x40, .bytes = std::vector<std::uint8_t>(0x3a)},
      {.id = PCI_CAP_ID_MSI, .offset = 0x80, .bytes = {}},
      {.id = PCI_EXT_CAP_ID_SRIOV, .offset = 0x100, .bytes = std::vector<std::uint8_t>(0x3c)}};
  physical.capabilities[0].bytes[PCI_EXP_LNKCAP - 2] = 0x43;  // 8 GT/s, 4 lanes
  physical.capabilities[0].bytes[PCI_EXP_LNKSTA - 2] = 0x22;  // 5 GT/s, 2 lanes
  std::vector<std::uint8_t>& sriov = physical.capabilities[2].bytes;
  sriov[PCI_SRIOV_TOTAL_VF - 4] = 8;
  sriov[PCI_SRIOV_NUM_VF - 4] = 2;
  sriov[PCI_SRIOV_VF_OFFSET - 4] = 1;
  sriov[PCI_SRIOV_VF_STRIDE - 4] = 1;
  sriov[PCI_SRIOV_VF_DID - 4] = 0xed;
  const sysfs_tree tree;
  REQUIRE(errors_of(t, tree.root()) == "");
  const fs::path at = tree.root() / "sys/bus/pci/devices/0000:02:00.0";
  CHECK(text_of(at / "sriov_totalvfs") == "8\n");
  CHECK(text_of(at / "sriov_numvfs") == "2\n");
  CHECK(text_of(at / "sriov_vf_device") == "ed\n");
  CHECK(fs::read_symlink(at / "virtfn0") == "../0000:02:00.1");
  CHECK_FALSE(fs::exists(at / "virtfn1"));  // the topology does not have it
  CHECK(fs::read_symlink(at / "../0000:02:00.1/physfn") == "../0000:02:00.0");
  CHECK(text_of(at / "max_link_speed") == "8.0 GT/s PCIe\n");
  CHECK(text_of(at / "max_link_width") == "4\n");
  CHECK(text_of(at / "current_link_speed") == "5.0 GT/s PCIe\n");
  CHECK(text_of(at / "reset_method") == "device_specific\n");
  check_links(tree.root());
}

TEST_CASE("lspci lists the devices of the topology") {
  if (std::system("lspci --version >/dev/null 2>&1") != 0)  // NOLINT(cert-env33-c)
    return skipping::skip("lspci is not installed");
  const sysfs_tree tree;
  REQUIRE(errors_of(example(), tree.root()) == "");
  const std::string command = "lspci -O sysfs.path=" + (tree.root() / "sys/bus/pci").string() +
                              " -D -nn -vv >" + (tree.root() / "out").string() + " 2>" +
                              (tree.root() / "errors").string();
  REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c)
  // lspci also warns of a host without modules.
  CHECK(text_of(tree.root() / "errors").find("pcilib") == std::string::npos);
  const std::string out = text_of(tree.root() / "out");
  INFO(out);
  for (const std::string device : {"0000:00:1c.0", "0000:02:00.0", "0000:02:00.1"}) {
    const std::size_t from = out.find(device);
    REQUIRE(from != std::string::npos);
    const std::string line = out.substr(from, out.find('\n', from) - from);
    CHECK(line.find("[0200]") != std::string::npos);
    CHECK(line.find("[8086:10d3] (rev 01)") != std::string::npos);
  }
  CHECK(out.find("[1b36:000c]") != std::string::npos);
  CHECK(out.find("primary=00, secondary=02, subordinate=02") != std::string::npos);
  CHECK(out.find("Express (v2) Root Port") != std::string::npos);
  CHECK(out.find("Kernel driver in use: vfio-pci") != std::string::npos);
  CHECK(out.find("IOMMU group: 12") != std::string::npos);
  CHECK(out.find("[size=256G]") != std::string::npos);
}
