// SPDX-License-Identifier: BSL-1.0
// What a right topology is, and that no world stands on a wrong one.
#include "fixture.hpp"
#include "random_topology.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace {
using sim::topology;
using sim::topology_error;

sim::pci_spec& pci(topology& t) { return t.groups[1].devices[1].pci; }

struct wrong {
  const char* what_is_wrong;
  std::function<void(topology&)> make;
  topology_error expected;
};

const std::string in_pci = "groups[1].devices[1].pci.";

// Each makes one thing wrong in a topology that is right.
const std::vector<wrong>& all_wrong() {
  static const std::vector<wrong> all{
      {"a group number twice",
       [](topology& t) { t.groups[1].number = 1; },
       {"groups[1].number", "1 is already used by groups[0].number"}},
      {"a negative group number",
       [](topology& t) { t.groups[0].number = -4; },
       {"groups[0].number", "-4 is negative"}},
      {"a device name twice",
       [](topology& t) { t.groups[1].devices[1].name = "0000:00:04.0"; },
       {"groups[1].devices[1].name",
        "\"0000:00:04.0\" is already used by groups[0].devices[0].name"}},
      {"a name with a slash",
       [](topology& t) { t.groups[0].devices[0].name = "a/b"; },
       {"groups[0].devices[0].name",
        "\"a/b\" is not a valid name: a name has 1 to 255 printable ASCII characters without "
        "spaces and without '/'"}},
      {"no name",
       [](topology& t) { t.iommus[0].name = ""; },
       {"iommus[0].name",
        "\"\" is not a valid name: a name has 1 to 255 printable ASCII characters"}},
      {"a label with a control character",
       [](topology& t) { t.iommus[0].name = "a\n"; },
       {"iommus[0].name",
        "\"a?\" is not a valid name: a name has 1 to 255 printable ASCII characters"}},
      {"a device's name with a space",
       [](topology& t) { t.groups[0].devices[0].name = "a b"; },
       {"groups[0].devices[0].name",
        "\"a b\" is not a valid name: a name has 1 to 255 printable ASCII characters without "
        "spaces and without '/'"}},
      {"a name that is no UTF-8",
       [](topology& t) { t.groups[0].devices[0].name = "\xff\x01"; },
       {"groups[0].devices[0].name",
        "\"??\" is not a valid name: a name has 1 to 255 printable ASCII characters without spaces "
        "and without '/'"}},
      {"a virtual function of a virtual function",
       [](topology& t) {
         t.groups[0].devices[0].physical_function = t.groups[1].devices[0].name;
         t.groups[1].devices[0].physical_function = "0000:09:00.0";
       },
       {"groups[0].devices[0].physical_function",
        "\"0000:00:05.0\" is a virtual function itself, so it has no virtual functions"}},
      {"a virtual function of a mediated device",
       [](topology& t) {
         t.groups[0].devices[0].physical_function = t.groups[1].devices[0].name;
         t.groups[1].devices[0].mediated = true;
       },
       {"groups[0].devices[0].physical_function",
        "\"0000:00:05.0\" is a mediated device, so it has no virtual functions"}},
      {"a mediated device as virtual function",
       [](topology& t) {
         t.groups[0].devices[0].mediated = true;
         t.groups[0].devices[0].physical_function = "0000:09:00.0";
       },
       {"groups[0].devices[0].physical_function",
        "a mediated device is no virtual function, so it must be empty"}},
      {"a bus that can be reset only by one of its functions",
       [](topology& t) { t.groups[1].devices[0].pci.bus_resets = true; },
       {"groups[0].devices[0].pci.bus_resets",
        "is false, but groups[1].devices[0].pci.bus_resets is true, and both functions are on the "
        "bus \"0000:00:\""}},
      {"a bus reset of a function whose name has no domain",
       [](topology& t) {
         t.groups[0].devices[0].name = "00:04.0";
         t.groups[0].devices[0].pci.bus_resets = true;
       },
       {"groups[0].devices[0].pci.bus_resets",
        "is true, but the name \"00:04.0\" does not tell the bus; the address of a PCI function "
        "looks like \"0000:03:00.0\""}},
      {"an unknown IOMMU",
       [](topology& t) { t.groups[0].iommu = "dmar9"; },
       {"groups[0].iommu", "no IOMMU has the name \"dmar9\""}},
      {"an IOMMU's name twice",
       [](topology& t) { t.iommus.push_back(t.iommus[0]); },
       {"iommus[1].name", "\"iommu0\" is already used by iommus[0].name"}},
      {"no page sizes",
       [](topology& t) { t.iommus[0].page_sizes = 0; },
       {"iommus[0].page_sizes", "0 contains no page size; set one bit for each page size"}},
      {"every page size",
       [](topology& t) { t.iommus[0].page_sizes = ~std::uint64_t{0}; },
       {"iommus[0].page_sizes", "0xffffffffffffffff contains page sizes below 4096 bytes"}},
      {"an aperture that wraps",
       [](topology& t) { t.iommus[0].aperture = {2, 1}; },
       {"iommus[0].aperture", "first (0x2) is greater than last (0x1)"}},
      {"a reserved range that wraps",
       [](topology& t) { t.iommus[0].reserved.push_back({~std::uint64_t{0}, 0xfff}); },
       {"iommus[0].reserved[1]", "first (0xffffffffffffffff) is greater than last (0xfff)"}},
      {"a device file's number twice",
       [](topology& t) {
         t.groups[0].devices[0].file_number = 5;
         t.groups[1].devices[0].file_number = 5;
       },
       {"groups[1].devices[0].file_number",
        "5 is already used by groups[0].devices[0].file_number"}},
      {"a device file's number below -1",
       [](topology& t) { t.groups[0].devices[0].file_number = -2; },
       {"groups[0].devices[0].file_number",
        "-2 is negative; the only negative value is -1, which chooses the lowest free number"}},
      {"a device file's number beyond the minor numbers",
       [](topology& t) { t.groups[0].devices[0].file_number = 1 << 20; },
       {"groups[0].devices[0].file_number",
        "1048576 is more than 1048575, the largest minor number"}},
      {"a device file of a host driver's device",
       [](topology& t) {
         t.groups[0].devices[0].file_number = 5;
         t.groups[0].devices[0].bound = sim::driver::other;
       },
       {"groups[0].devices[0].file_number",
        "the device is not bound to VFIO, so it has no device file and the number must be -1"}},
      {"a class of 25 bits",
       [](topology& t) { pci(t).class_code = 1 << 24; },
       {in_pci + "class_code", "0x1000000 does not fit in 24 bits"}},
      {"seven BARs",
       [](topology& t) { pci(t).bars.resize(7); },
       {in_pci + "bars", "7 BARs are listed; a function has at most 6"}},
      {"a 64-bit BAR without its upper half",
       [](topology& t) { pci(t).bars[1] = {0x1000}; },
       {in_pci + "bars[1]",
        "is the upper half of bars[0], which is 64-bit, so it must be empty: {\"size\": 0}"}},
      {"a 64-bit BAR in the last register",
       [](topology& t) {
         pci(t).bars.resize(6);
         pci(t).bars[5] = {0x1000, true};
       },
       {in_pci + "bars[5]",
        "is the last BAR, so it cannot be 64-bit: no BAR follows for its upper half"}},
      {"a BAR without size that has an address",
       [](topology& t) { pci(t).bars[1].address = 16; },
       {in_pci + "bars[1]",
        "is the upper half of bars[0], which is 64-bit, so it must be empty: {\"size\": 0}"}},
      {"an absent BAR that is prefetchable",
       [](topology& t) { pci(t).bars.push_back({.prefetchable = true}); },
       {in_pci + "bars[3]", "has size 0, so its other members must have their defaults"}},
      {"a size that is no power of two",
       [](topology& t) { pci(t).bars[2].size = 0x180; },
       {in_pci + "bars[2].size",
        "0x180 is not a power of two from 0x10 to 0x80000000, the largest size of a 32-bit BAR"}},
      {"a size of 8",
       [](topology& t) { pci(t).bars[2].size = 8; },
       {in_pci + "bars[2].size",
        "0x8 is not a power of two from 0x10 to 0x80000000, the largest size of a 32-bit BAR"}},
      {"4 GiB in 32 bits",
       [](topology& t) { pci(t).bars[2].size = std::uint64_t{1} << 32; },
       {in_pci + "bars[2].size",
        "0x100000000 is not a power of two from 0x10 to "
        "0x80000000, the largest size of a 32-bit BAR"}},
      {"2 TiB",
       [](topology& t) { pci(t).bars[0].size = std::uint64_t{1} << 41; },
       {in_pci + "bars[0].size", "0x20000000000 is not a power of two from 0x10 to 0x10000000000"}},
      {"ports of 64 bits",
       [](topology& t) { pci(t).bars.push_back({.size = 32, .is_64bit = true, .io = true}); },
       {in_pci + "bars[3]", "has I/O ports, so it can be neither 64-bit nor prefetchable"}},
      {"an unaligned address",
       [](topology& t) { pci(t).bars[2].address = 0x80; },
       {in_pci + "bars[2].address", "0x80 is not a multiple of the size, 0x100"}},
      {"an address over 4 GiB",
       [](topology& t) { pci(t).bars[2].address = std::uint64_t{1} << 32; },
       {in_pci + "bars[2].address", "0x100000000 does not fit into a 32-bit BAR"}},
      {"a ROM of 1 KiB",
       [](topology& t) { pci(t).rom_size = 0x400; },
       {in_pci + "rom_size", "0x400 is neither 0 nor a power of two from 0x800 to 0x80000000"}},
      {"seven MSI vectors",
       [](topology& t) { pci(t).msi_vectors = 7; },
       {in_pci + "msi_vectors", "7 is not 0, 1, 2, 4, 8, 16 or 32"}},
      {"64 MSI vectors",
       [](topology& t) { pci(t).msi_vectors = 64; },
       {in_pci + "msi_vectors", "64 is not 0, 1, 2, 4, 8, 16 or 32"}},
      {"too many MSI-X vectors",
       [](topology& t) { pci(t).msix_vectors = 99999; },
       {in_pci + "msix_vectors", "99999 is more than 2048, the largest number of MSI-X vectors"}},
      {"an MSI-X table in an absent BAR",
       [](topology& t) { pci(t).msix_table.bar = 1; },
       {in_pci + "msix_table.bar",
        "BAR 1 is not a memory BAR, so it cannot contain the MSI-X table"}},
      {"an MSI-X table in a seventh BAR",
       [](topology& t) { pci(t).msix_table.bar = 6; },
       {in_pci + "msix_table.bar",
        "BAR 6 is not a memory BAR, so it cannot contain the MSI-X table"}},
      {"an MSI-X table over the BAR's end",
       [](topology& t) { pci(t).msix_table.offset = 0x3f88; },
       {in_pci + "msix_table.offset",
        "BAR 0 has 0x4000 bytes, but the MSI-X table would end at 0x4008"}},
      {"pending bits that find no room behind the table",
       [](topology& t) { pci(t).msix_table.offset = 0x3f80; },
       {in_pci + "msix_table.offset",
        "BAR 0 has 0x4000 bytes, but the pending bits of MSI-X would end at 0x4008"}},
      {"an unaligned MSI-X table",
       [](topology& t) { pci(t).msix_table.offset = 4; },
       {in_pci + "msix_table.offset", "0x4 is not a multiple of 8"}},
      {"pending bits in the table",
       [](topology& t) { pci(t).msix_pba = {0, 0x78}; },
       {in_pci + "msix_pba", "the pending bits overlap the MSI-X table"}},
      {"pending bits in an absent BAR",
       [](topology& t) { pci(t).msix_pba = {4, 0}; },
       {in_pci + "msix_pba.bar",
        "BAR 4 is not a memory BAR, so it cannot contain the pending bits of MSI-X"}},
      {"a list of capabilities without MSI",
       [](topology& t) { pci(t).capabilities.erase(pci(t).capabilities.begin() + 1); },
       {in_pci + "capabilities",
        "MSI is not listed, but msi_vectors says that the function has it: list the id 0x5"}},
      {"a list with PCI Express of a function without",
       [](topology& t) { pci(t).express = false; },
       {in_pci + "capabilities[3].offset",
        "only a PCI Express function has extended capabilities"}},
      {"MSI twice",
       [](topology& t) {
         pci(t).capabilities.insert(pci(t).capabilities.begin() + 2, {PCI_CAP_ID_MSI, 0xc0});
       },
       {in_pci + "capabilities[2]", "MSI is listed twice"}},
      {"a capability in the header",
       [](topology& t) { pci(t).capabilities[0].offset = 0x3c; },
       {in_pci + "capabilities[0].offset", "0x3c is not a multiple of 4 from 0x40 to 0xffc"}},
      {"an unaligned capability",
       [](topology& t) { pci(t).capabilities[0].offset = 0x42; },
       {in_pci + "capabilities[0].offset", "0x42 is not a multiple of 4 from 0x40 to 0xffc"}},
      {"a capability behind the end",
       [](topology& t) { pci(t).capabilities[3].offset = 0x1000; },
       {in_pci + "capabilities[3].offset", "0x1000 is not a multiple of 4 from 0x40 to 0xffc"}},
      {"a capability over the end",
       [](topology& t) { pci(t).capabilities[2].offset = 0xf8; },
       {in_pci + "capabilities[2].bytes",
        "the capability ends after 0x100, the end of its part of the configuration space"}},
      {"capabilities that overlap",
       [](topology& t) { pci(t).capabilities[2].offset = 0x88; },
       {in_pci + "capabilities[2]", "overlaps capabilities[1]"}},
      {"extended capabilities that do not start at 0x100",
       [](topology& t) { pci(t).capabilities[3].offset = 0x140; },
       {in_pci + "capabilities[3].offset",
        "the first extended capability must be at 0x100, not at 0x140"}},
      {"an ordinary capability behind an extended one",
       [](topology& t) { std::swap(pci(t).capabilities[2], pci(t).capabilities[3]); },
       {in_pci + "capabilities[3].offset",
        "an ordinary capability must be listed before the extended ones"}},
      {"a capability's number of nine bits",
       [](topology& t) { pci(t).capabilities.insert(pci(t).capabilities.begin(), {0x109, 0xf0}); },
       {in_pci + "capabilities[0].id", "0x109 does not fit in 8 bits"}},
      {"a version of five bits",
       [](topology& t) { pci(t).capabilities[3].version = 16; },
       {in_pci + "capabilities[3].version", "16 does not fit in 4 bits"}},
      {"an ordinary capability with a version",
       [](topology& t) { pci(t).capabilities[1].version = 2; },
       {in_pci + "capabilities[1].version",
        "2 is not 1: only an extended capability has a version"}},
      {"a capability that reaches over the start of the next by a byte",
       [](topology& t) {
         pci(t).capabilities[1].bytes = {0x04, 0, 0, 0, 0, 0, 0, 0,  //
                                         0,    0, 0, 0, 0, 0, 0, 0,  //
                                         0,    0, 0, 0, 0, 0, 0, 0,  //
                                         0,    0, 0, 0, 0, 0, 1};
       },
       {in_pci + "capabilities[2]", "overlaps capabilities[1]"}},
      {"an MSI capability whose registers end behind the space",
       [](topology& t) { pci(t).capabilities[1].offset = 0xf4; },
       {in_pci + "capabilities[1].bytes",
        "the capability ends after 0x100, the end of its part of the configuration space"}},
      {"pending bits behind a table at the end of 4 GiB",
       [](topology& t) {
         pci(t).bars[0] = {std::uint64_t{1} << 33, true};
         pci(t).msix_table.offset = 0xffffff80;
       },
       {in_pci + "msix_table.offset",
        "the pending bits of MSI-X follow the table and would lie beyond 4 GiB, but their offset "
        "in the capability has 32 bits"}},
      {"a driver that is none",
       [](topology& t) { t.groups[0].devices[0].bound = sim::driver{7}; },
       {"groups[0].devices[0].driver", "7 is not a value of this enumeration"}},
      {"a type of region that is none",
       [](topology& t) { t.iommus[0].reserved[0].type = sim::region_type{9}; },
       {"iommus[0].reserved[0].type", "9 is not a value of this enumeration"}},
      {"bytes of MSI that say another number",
       [](topology& t) { pci(t).capabilities[1].bytes = {0x82, 0}; },
       {in_pci + "capabilities[1].bytes", "the bytes give 0x2 for msi_vectors, but it is 0x4"}},
      {"bytes of MSI-X that say another number",
       [](topology& t) { pci(t).capabilities[2].bytes = {8, 0, 0, 0, 0, 0, 0x80}; },
       {in_pci + "capabilities[2].bytes", "the bytes give 0x9 for msix_vectors, but it is 0x8"}},
      {"bytes of MSI-X that say another place",
       [](topology& t) { pci(t).capabilities[2].bytes = {7, 0, 2, 0, 0, 0, 0x80}; },
       {in_pci + "capabilities[2].bytes",
        "the bytes give 0x2 for the place of msix_table, but it is 0x0"}},
      {"bytes of MSI-X that say another place of the pending bits",
       [](topology& t) { pci(t).capabilities[2].bytes = {7, 0, 0, 0, 0, 0, 0x88}; },
       {in_pci + "capabilities[2].bytes",
        "the bytes give 0x88 for the place of msix_pba, but it is 0x80"}},
  };
  return all;
}

topology right() {
  topology t = two_groups();
  pci(t).capabilities = {{.id = PCI_CAP_ID_EXP, .offset = 0x40},
                         {.id = PCI_CAP_ID_MSI, .offset = 0x80},
                         {.id = PCI_CAP_ID_MSIX, .offset = 0xa0},
                         {.id = PCI_EXT_CAP_ID_ERR, .offset = 0x100}};
  return t;
}
}  // namespace

TEST_CASE("what is wrong with a topology is said, and where, and no world is made of it") {
  CHECK(to_text(sim::check(right())).empty());
  for (const wrong& w : all_wrong()) {
    topology t = right();
    w.make(t);
    const sim::topology_errors errors = sim::check(t);
    INFO(w.what_is_wrong << "\n" << to_text(errors));
    REQUIRE_FALSE(errors.empty());
    CHECK(errors.front().text() == w.expected.text());
    try {
      const sim::world world(t);
      FAIL_CHECK("a world was made");
    } catch (const sim::invalid_topology& e) {
      CHECK(e.errors() == errors);
      CHECK(e.what() == to_text(errors));
    }
  }
}

TEST_CASE("everything that is wrong is said at once, in the topology's order") {
  topology t = two_groups();
  t.iommus[0].page_sizes = 1;
  t.groups[0].number = 2;
  pci(t).msi_vectors = 3;
  CHECK(to_text(sim::check(t)) ==
        "iommus[0].page_sizes: 0x1 contains page sizes below 4096 bytes\n"
        "groups[1].number: 2 is already used by groups[0].number\n"
        "groups[1].devices[1].pci.msi_vectors: 3 is not 0, 1, 2, 4, 8, 16 or 32\n");
}

TEST_CASE("an empty topology is right, and so is the largest that there is") {
  CHECK(sim::check({}).empty());
  CHECK(sim::check({.iommus = {}, .groups = {}}).empty());
  topology t = two_groups();
  t.groups[0].number = 2147483647;
  t.groups[0].devices[0].file_number = (1 << 20) - 1;
  t.iommus[0].aperture = {0, ~std::uint64_t{0}};
  sim::pci_spec& p = t.groups[0].devices[0].pci;
  p.bars = {{std::uint64_t{1} << 40, true}, {}, {std::uint64_t{1} << 31}, {.size = 4, .io = true}};
  p.rom_size = std::uint64_t{1} << 31;
  p.msi_vectors = 32;
  p.msix_vectors = 2048;
  CHECK(to_text(sim::check(t)).empty());
  machine_under_test<> m(t);
  CHECK(m.task.open("/dev/vfio/2147483647"));
  CHECK(m.task.open("/dev/vfio/devices/vfio1048575"));
}

TEST_CASE("a group without devices has no file") {
  topology t = two_groups();
  t.groups.push_back({.number = 9});
  machine_under_test<> m(t);
  CHECK(m.task.open("/dev/vfio/9").error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/1"));
}

TEST_CASE("the pending bits take eight bytes for 64 vectors, sixteen for 65") {
  topology t = two_groups();
  sim::pci_spec& p = t.groups[0].devices[0].pci;
  p.bars = {{0x800}};
  p.msix_vectors = 64;
  p.msix_table.offset = 0x3f8;  // the table's 0x400 bytes and 8 more end with the BAR
  CHECK(sim::check(t).empty());
  p.msix_vectors = 65;
  p.msix_table.offset = 0x3e0;  // 0x410 bytes and 16 more
  CHECK(sim::check(t).empty());
  p.msix_table.offset = 0x3e8;
  CHECK(sim::check(t).size() == 1);
}

// Capabilities that are listed without bytes get them when the function is made. Whatever the check
// lets pass has room for them.
TEST_CASE("a capability is refused wherever its registers do not fit") {
  struct row {
    std::uint16_t id;
    std::size_t size;
  };
  for (const row& r :
       {row{PCI_CAP_ID_EXP, 0x3c}, row{PCI_CAP_ID_MSI, 14}, row{PCI_CAP_ID_MSIX, 12}})
    for (unsigned at = 0x40; at < 0x100; at += 4) {
      topology t = two_groups();
      sim::pci_spec& p = t.groups[0].devices[0].pci;
      p.express = r.id == PCI_CAP_ID_EXP;
      p.msi_vectors = r.id == PCI_CAP_ID_MSI ? 1 : 0;
      p.msix_vectors = r.id == PCI_CAP_ID_MSIX ? 1 : 0;
      p.capabilities = {{.id = r.id, .offset = static_cast<std::uint16_t>(at)}};
      INFO(r.id << " at " << at);
      const bool fits = at + r.size <= 0x100;
      CHECK(sim::check(t).empty() == fits);
      if (fits) const sim::world w(t);
    }
}

TEST_CASE("device files that no number is given for take the lowest that are free") {
  topology t = many(3, 2);
  t.groups[0].devices[1].file_number = 0;
  t.groups[2].devices[0].file_number = 2;
  t.groups[1].devices[1].bound = sim::driver::none;
  const sim::world w(t);
  const auto number = [&w](const char* name) { return w.find_device(name)->number(); };
  CHECK(number("d0.0") == 1);
  CHECK(number("d0.1") == 0);
  CHECK(number("d1.0") == 3);
  CHECK(number("d1.1") == -1);
  CHECK(number("d2.0") == 2);
  CHECK(number("d2.1") == 4);
}

TEST_CASE("a node's number is written as Linux writes it") {
  topology t = two_groups();
  t.groups[0].number = 7;
  machine_under_test<> m(t);
  for (const char* path : {"/dev/vfio/007", "/dev/vfio/07", "/dev/vfio/+7", "/dev/vfio/7x",
                           "/dev/vfio/4294967303", "/dev/vfio/devices/vfio00"})
    CHECK(m.task.open(path).error() == errc::noent);
  CHECK(m.task.open("/dev/vfio/7"));
}

TEST_CASE("topologies at random are right, and become worlds") {
  random_topology random(11);
  for (int i = 0; i < 200; ++i) {
    const topology t = random.make();
    INFO("number " << i);
    REQUIRE(to_text(sim::check(t)).empty());
    const sim::world w(t);
    for (const auto& [number, g] : w.groups())
      for (const auto& d : g->devices) {
        const sim::pci_spec& p = d->spec().pci;
        // The chain leads through every capability, as the topology lists them.
        std::size_t at = d->pci.config().at(PCI_CAPABILITY_LIST);
        for (const sim::capability_spec& c : sim::capabilities_of(p)) {
          if (is_extended(c)) break;
          CHECK(at == c.offset);
          CHECK(d->pci.config().at(at) == c.id);
          at = d->pci.config().at(at + 1);
        }
        CHECK(at == 0);
      }
  }
}
