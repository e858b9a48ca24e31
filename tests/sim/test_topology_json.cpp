// SPDX-License-Identifier: BSL-1.0
// Topologies from JSON, and back.
#include "support/catch.hpp"

#include <kvm_vfio/sim/topology_json.hpp>

#if KVM_VFIO_SIM_TOPOLOGY_JSON
#include "fixture.hpp"
#include "random_topology.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace {
// A topology with one device, whose members these are.
std::string device(const std::string& members) {
  return R"({"groups": [{"number": 1, "devices": [{"name": "a", )" + members + "}]}]}";
}
std::string pci(const std::string& members) { return device("\"pci\": {" + members + "}"); }
const std::string in_device = "groups[0].devices[0]";
const std::string in_pci = in_device + ".pci";
}  // namespace

TEST_CASE("a topology is read from JSON, and what is left out has its default") {
  const sim::topology_result r = sim::topology_from_json(R"({
    "iommus": [{"name": "dmar0", "snoop_control": false, "reserved": []}],
    "groups": [{"number": 7, "iommu": "dmar0", "devices": [
      {"name": "0000:aa:00.0", "needs_vm": true,
       "pci": {"vendor": 4660, "bars": [{"size": 4096}], "msix_vectors": 4}},
      {"name": "m", "driver": "none"}]}]})");
  INFO(to_text(r.errors));
  REQUIRE(r);
  REQUIRE(r.machine.groups.size() == 1);
  CHECK_FALSE(r.machine.iommus.at(0).snoop_control);
  CHECK(r.machine.iommus.at(0).interrupt_remapping);
  CHECK(r.machine.iommus.at(0).reserved.empty());
  const auto& devices = r.machine.groups[0].devices;
  CHECK(devices.at(0).needs_vm);
  CHECK(devices.at(0).pci.msix_vectors == 4);
  CHECK(devices.at(0).pci.express);
  CHECK(devices.at(1).bound == sim::driver::none);
  const sim::world w(r.machine);
}

TEST_CASE("JSON can say every member") {
  const sim::topology_result r = sim::topology_from_json(R"({
    "iommus": [{"name": "i", "snoop_control": false, "interrupt_remapping": false,
      "page_sizes": "0x1000", "aperture": {"first": "0x1000", "last": 1048575},
      "reserved": [{"first": 8, "last": "0x10", "type": "direct-relaxable"},
                   {"first": 0, "last": 1}]}],
    "groups": [{"number": "0x7", "iommu": "i", "devices": [
      {"name": "d", "driver": "vfio", "needs_vm": true, "mediated": true, "file_number": 3,
       "pci": {"vendor": "0x8086", "device": "0x10D3", "class_code": "0x020000", "revision": 2,
         "subsystem_vendor": 3, "subsystem": 4,
         "bars": [{"size": "0x8000", "is_64bit": true, "prefetchable": true, "io": false,
                   "address": "0x100000000"}, {}, {"size": 32, "io": true, "address": 64}],
         "rom_size": 2048, "intx": false, "msi_vectors": 8, "msix_vectors": 5,
         "msix_table": {"bar": 0, "offset": "0x5200"}, "msix_pba": {"bar": 0},
         "command": "0x7", "status": 16, "interrupt_line": 11, "express": true, "resets": false,
         "bus_resets": true, "multifunction": true,
         "capabilities": [{"id": 5, "offset": "0x50"}, {"id": 17, "offset": 112},
           {"id": 16, "offset": 128, "bytes": "02000080FF"},
           {"id": 3, "offset": 256, "version": 2, "bytes": ""}],
         "own_registers": "01A0"}}]}]})");
  INFO(to_text(r.errors));
  REQUIRE(r);
  using namespace kvm_vfio::sim;
  topology expected{.iommus = {{.name = "i",
                                .snoop_control = false,
                                .interrupt_remapping = false,
                                .page_sizes = 0x1000,
                                .aperture = {0x1000, 0xfffff},
                                .reserved = {{8, 16, region_type::direct_relaxable}, {0, 1}}}},
                    .groups = {{.number = 7, .iommu = "i", .devices = {{}}}}};
  expected.groups[0].devices[0] = {
      .name = "d", .bound = driver::vfio, .needs_vm = true, .mediated = true, .file_number = 3};
  expected.groups[0].devices[0].pci = {
      .vendor = 0x8086,
      .device = 0x10d3,
      .class_code = 0x020000,
      .revision = 2,
      .subsystem_vendor = 3,
      .subsystem = 4,
      .bars = {{.size = 0x8000,
                .is_64bit = true,
                .prefetchable = true,
                .address = std::uint64_t{1} << 32},
               {},
               {.size = 32, .io = true, .address = 64}},
      .rom_size = 2048,
      .intx = false,
      .msi_vectors = 8,
      .msix_vectors = 5,
      .msix_table = {0, 0x5200},
      .msix_pba = bar_place{0, 0},
      .command = 7,
      .status = 16,
      .interrupt_line = 11,
      .multifunction = true,
      .express = true,
      .resets = false,
      .bus_resets = true,
      .capabilities = {{.id = 5, .offset = 0x50},
                       {.id = 17, .offset = 0x70},
                       {.id = 16, .offset = 0x80, .bytes = {2, 0, 0, 0x80, 0xff}},
                       {.id = 3, .offset = 0x100, .version = 2}},
      .own_registers = {1, 0xa0}};
  CHECK(r.machine == expected);
}

TEST_CASE("what is wrong with JSON is said, and where") {
  struct row {
    std::string text;
    std::string expected;
  };
  const std::vector<row> rows{
      {"{",
       "line 1, column 2: the text is not JSON: syntax error while parsing object key - unexpected "
       "end of input; expected string literal"},
      {"{\"groups\":\n\n  nil}",
       "line 3, column 4: the text is not JSON: syntax error while parsing value - invalid "
       "literal; last read: '\"groups\":<U+000A><U+000A>  ni'"},
      {"\"\xff\"",
       "line 1, column 2: the text is not JSON: syntax error while parsing value - invalid string: "
       "ill-formed UTF-8 byte; last read: '\"?'"},
      {"[]", "topology: must be an object, not a list"},
      {"7", "topology: must be an object, not the number 7"},
      {"null", "topology: must be an object, not null"},
      {"{}", "groups: is missing"},
      {R"({"groups": {}})", "groups: must be a list, not an object"},
      {R"({"groups": [7]})", "groups[0]: must be an object, not the number 7"},
      {R"({"groups": [], "group": []})",
       "topology: has no member \"group\"; its members are iommus, groups"},
      {R"({"groups": [{"number": 1, "iommu": "x", "devices": []}]})",
       "groups[0].iommu: no IOMMU has the name \"x\""},
      {R"({"groups": [{"devices": [{"name": "a"}]}]})", "groups[0].number: is missing"},
      {R"({"groups": [{"number": 1, "devices": [{}]}]})", "groups[0].devices[0].name: is missing"},
      {R"({"groups": [{"number": 7.5, "devices": [{"name": "a"}]}]})",
       "groups[0].number: 7.5 is not a whole number of at most 64 bits, written without a fraction "
       "and without an exponent"},
      {R"({"groups": [{"number": -7, "devices": [{"name": "a"}]}]})",
       "groups[0].number: -7 is negative"},
      {R"({"groups": [{"number": 4294967297, "devices": [{"name": "a"}]}]})",
       "groups[0].number: 4294967297 does not fit in 32 bits"},
      {R"({"groups": [{"number": "one", "devices": [{"name": "a"}]}]})",
       "groups[0].number: \"one\" is not a number; a hexadecimal number looks like \"0x8086\""},
      {R"({"groups": [{"number": true, "devices": [{"name": "a"}]}]})",
       "groups[0].number: must be a number, not true"},
      {R"({"iommus": [{}, {"reserved": [{"first": 1e400}]}]})",
       "iommus[1].reserved[0].first: the number is too large"},
      {R"({"iommus": [{}, 10e48575, 1]})", "iommus[1]: the number is too large"},
      {"1e400", "topology: the number is too large"},
      {R"({"": 1, "": 2})", "topology: is given twice in one object"},
      {R"({"groups": [], "\u0067roups": []})", "groups: is given twice in one object"},
      {R"({"groups": [], "groups": []})", "groups: is given twice in one object"},
      {R"({"iommus": [{}, {"aperture": {"first": 1, "first": 1, "last": 2}}], "groups": []})",
       "iommus[1].aperture.first: is given twice in one object"},
      {R"({"iommus": [{"page_sizes": -1}], "groups": []})", "iommus[0].page_sizes: -1 is negative"},
      {R"({"iommus": [{"page_sizes": "0x10000000000000000"}], "groups": []})",
       "iommus[0].page_sizes: 0x10000000000000000 does not fit in 64 bits"},
      {R"({"iommus": [{"page_sizes": 18446744073709551616}], "groups": []})",
       "iommus[0].page_sizes: 1.8446744073709552e+19 is not a whole number of at most 64 bits, "
       "written without a fraction and without an exponent"},
      {R"({"iommus": [{"reserved": [{"first": 0, "last": 1, "type": "none"}]}], "groups": []})",
       "iommus[0].reserved[0].type: must be one of \"reserved\", \"direct\", \"direct-relaxable\", "
       "\"msi\", not the string \"none\""},
      {device(R"("driver": "e1000")"),
       in_device + ".driver: must be one of \"vfio\", \"none\", \"other\", not the string "
                   "\"e1000\""},
      {device(R"("needs_vm": 1)"),
       in_device + ".needs_vm: must be true or false, not the number 1"},
      {pci(R"("vendor": 70000)"), in_pci + ".vendor: 70000 does not fit in 16 bits"},
      {pci(R"("vendor": "8086")"),
       in_pci + ".vendor: \"8086\" is a string: write the number without quotes"},
      {pci(R"("vendor": "0x18086")"), in_pci + ".vendor: 0x18086 does not fit in 16 bits"},
      {pci(R"("msi_vectors": 7)"), in_pci + ".msi_vectors: 7 is not 0, 1, 2, 4, 8, 16 or 32"},
      {pci(R"("msix_vectors": 99999)"),
       in_pci + ".msix_vectors: 99999 is more than 2048, the largest number of MSI-X vectors"},
      {pci(R"("bars": [], "msix_vectors": 1)"),
       in_pci + ".msix_table.bar: BAR 0 is not a memory BAR, so it cannot contain the MSI-X table"},
      {pci(R"("bars": [{"size": 4096, "is_64bit": true}, {"size": 4096}])"),
       in_pci + ".bars[1]: is the upper half of bars[0], which is 64-bit, so it must be empty: "
                "{\"size\": 0}"},
      {pci(R"("capabilities": [{"id": 9, "offset": 64, "bytes": "123"}])"),
       in_pci +
           ".capabilities[0].bytes: \"123\" does not have two hexadecimal digits for each byte"},
      {pci(R"("capabilities": [{"id": 9, "offset": 64, "bytes": "0g"}])"),
       in_pci +
           ".capabilities[0].bytes: \"0g\" does not have two hexadecimal digits for each byte"},
      {std::string(100000, '['), "topology: is nested more than 16 levels deep"},
      {"{\"groups\": \"" + std::string(100, '\t') + "\"}",
       "line 1, column 13: the text is not JSON: syntax error while parsing value - invalid "
       "string: control character U+0009 (HT) must be escaped to \\u0009 or \\t; last read: "
       "'\"<U+0009>'"},
      {R"({"groups": "\u0000\n\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"})",
       "groups: must be a list, not the string "
       "\"??\\\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"..."},
  };
  for (const row& r : rows) {
    const sim::topology_result read = sim::topology_from_json(r.text);
    INFO(r.text.substr(0, 200));
    REQUIRE_FALSE(read);
    CHECK(read.errors.front().text() == r.expected);
  }
}

TEST_CASE("a topology may name its schema, for editors") {
  CHECK(sim::topology_from_json(R"({"$schema": "topology.schema.json", "groups": []})"));
  CHECK(to_text(sim::topology_from_json(R"({"$schema": 7, "groups": []})").errors) ==
        "$schema: must be a string, not the number 7\n");
}

TEST_CASE("all errors of a text are said at once") {
  const sim::topology_result r = sim::topology_from_json(
      pci(R"("vendor": 70000, "device": "8086", "bars": [{"size": true}, {"size": 0, "x": 1}])"));
  CHECK(to_text(r.errors) == in_pci + ".vendor: 70000 does not fit in 16 bits\n" + in_pci +
                                 ".device: \"8086\" is a string: write the number without "
                                 "quotes\n" +
                                 in_pci + ".bars[0].size: must be a number, not true\n" + in_pci +
                                 ".bars[1]: has no member \"x\"; its members are size, is_64bit, "
                                 "prefetchable, io, address\n");
}

TEST_CASE("a text with more errors than anybody reads takes little memory") {
  // A long name, around very many errors.
  std::string text = "{\"" + std::string(50000, 'k') + "\": {";
  for (int i = 0; i < 8000; ++i) text += "\"a\":1,";
  const sim::topology_result r = sim::topology_from_json(text + "\"a\":1}}");
  CHECK(r.errors.size() == 1001);
  CHECK(r.errors.back().text() == "topology: has more errors, which are not listed here");
  CHECK(to_text(r.errors).size() < 200000);
  std::string groups = "{\"groups\": [{}";
  for (int i = 0; i < 8000; ++i) groups += ", {}";
  CHECK(sim::topology_from_json(groups + "]}").errors.size() == 1001);
}

TEST_CASE("a group of 5,000 devices is read") {
  sim::topology t;
  t.groups.push_back({.number = 1});
  for (int i = 0; i < 5000; ++i) t.groups[0].devices.push_back({.name = "d" + std::to_string(i)});
  const sim::topology_result r = sim::topology_from_json(sim::topology_to_json(t));
  REQUIRE(r);
  CHECK(r.machine == t);
}

TEST_CASE("a topology that is written as JSON and read again is equal") {
  random_topology random(14);
  int groups = 0;
  for (int i = 0; i < 1000; ++i) {
    const sim::topology t = random.make();
    const std::string text = sim::topology_to_json(t);
    const sim::topology_result r = sim::topology_from_json(text);
    INFO("number " << i << "\n" << to_text(r.errors));
    REQUIRE(r);
    REQUIRE(r.machine == t);
    REQUIRE(sim::topology_to_json(r.machine) == text);
    groups += static_cast<int>(t.groups.size());
  }
  CHECK(groups > 1000);
}

TEST_CASE("a topology with a name that is no UTF-8 can be written, but reading it is an error") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].name = "\xff";
  const sim::topology_result r = sim::topology_from_json(sim::topology_to_json(t));
  REQUIRE(r.errors.size() == 1);
  CHECK(r.errors[0].where == "groups[0].devices[0].name");
}
#else
TEST_CASE("a topology is read from JSON") { skipping::skip("nlohmann's JSON is not installed"); }
#endif
