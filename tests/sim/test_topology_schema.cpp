// SPDX-License-Identifier: BSL-1.0
// docs/topology.schema.json and the reader know the same topologies.
#include "support/catch.hpp"

#include <kvm_vfio/sim/topology_json.hpp>

#if KVM_VFIO_SIM_TOPOLOGY_JSON
#include "json_schema.hpp"
#include "random_topology.hpp"

#include <kvm_vfio/sim/topology/fields.hpp>
#include <kvm_vfio/sim/topology/impl/from_json.hpp>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {
namespace sim = kvm_vfio::sim;
using nlohmann::json;

const json_schema& schema() {
  static const json_schema read([] {
    std::ifstream file(SIM_SCHEMA);
    return json::parse(file);
  }());
  return read;
}

// Whether the reader takes a value for a topology, whatever the check says of it then.
bool is_readable(const json& value) {
  sim::topology_errors errors;
  sim::topology t;
  sim::detail::topology_reader(errors).read(value, t);
  return errors.empty();
}

// The schema of each struct, by where the structs are in the schema.
template <class Struct>
void check_members(const char* where) {
  const json& s = where[0] == '\0' ? schema().root() : schema().root().at("$defs").at(where);
  std::set<std::string> members, required;
  Struct object{};
  sim::visit_fields(object, [&](const char* name, auto&, sim::field_form form) {
    members.insert(name);
    if (form == sim::field_form::required || form == sim::field_form::required_hex)
      required.insert(name);
  });
  std::set<std::string> in_schema, required_in_schema;
  for (const auto& [name, unused] : s.at("properties").items())
    if (name != "$schema") in_schema.insert(name);
  for (const json& name : s.value("required", json::array()))
    required_in_schema.insert(name.get<std::string>());
  INFO(where);
  CHECK(members == in_schema);
  CHECK(required == required_in_schema);
  CHECK(s.at("additionalProperties") == false);
}

// Every place in a value, the value itself first.
void places(const json& value, const json::json_pointer& at, std::vector<json::json_pointer>& out) {
  out.push_back(at);
  if (value.is_object())
    for (const auto& [key, member] : value.items()) places(member, at / key, out);
  if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i) places(value[i], at / i, out);
}
}  // namespace

TEST_CASE("the schema has the members of the topology's structs, and no other") {
  check_members<sim::topology>("");
  check_members<sim::group_spec>("group");
  check_members<sim::device_spec>("device");
  check_members<sim::pci_spec>("pci");
  check_members<sim::capability_spec>("capability");
  check_members<sim::bar_place>("bar_place");
  check_members<sim::bar_spec>("bar");
  check_members<sim::iommu_spec>("iommu");
  check_members<sim::reserved_region>("reserved_region");
  check_members<sim::iova_range>("range");
}

TEST_CASE("what topology_to_json writes is right by the schema") {
  random_topology random(12);
  for (int i = 0; i < 50; ++i) {
    const std::string text = sim::topology_to_json(random.make());
    INFO(text);
    CHECK(schema().accepts(json::parse(text)));
  }
}

// Each place of a topology that has every member is given each of many values, and is left out.
// Where the schema refuses the whole, the reader or the check does; where the reader refuses it,
// and not only the check, the schema does.
TEST_CASE("the schema and the reader refuse the same values") {
  const std::vector<json> values{nullptr,
                                 true,
                                 "",
                                 "x",
                                 "0x",
                                 "0x0",
                                 "0x7fffffff",
                                 "0x80000000",
                                 "0xffffffffffffffff",
                                 "0x1ffffffffffffffff",
                                 "0x00000000000000000001",
                                 "0xfg",
                                 "10",
                                 "0X10",
                                 "a b",
                                 "vfio",
                                 "msi",
                                 0,
                                 1,
                                 -1,
                                 -2,
                                 255,
                                 256,
                                 65535,
                                 65536,
                                 16777215,
                                 16777216,
                                 1048575,
                                 1048576,
                                 2147483647,
                                 2147483648U,
                                 4294967295U,
                                 4294967296,
                                 18446744073709551615U,
                                 -2147483649,
                                 7.5,
                                 1e300,
                                 json::array(),
                                 json::object(),
                                 json::array({1}),
                                 json::object({{"x", 1}})};
  std::ifstream file(SIM_EVERY_MEMBER);
  const sim::topology_result every =
      sim::topology_from_json(std::string(std::istreambuf_iterator<char>(file), {}));
  REQUIRE(every);
  const json whole = json::parse(sim::topology_to_json(every.machine));
  std::vector<json::json_pointer> all;
  places(whole, json::json_pointer(), all);
  std::map<std::string, int> outcomes;
  const auto compare = [&](const json& changed, const std::string& what) {
    const bool allowed = schema().accepts(changed);
    const bool readable = is_readable(changed);
    const sim::topology_result r = sim::topology_from_json(changed.dump());
    ++outcomes[!allowed ? "refused" : r ? "right" : "refused by the check"];
    INFO(what << "\n" << to_text(r.errors));
    CHECK((readable || !allowed));
    CHECK((allowed || !r));
  };
  for (const json::json_pointer& at : all) {
    for (const json& value : values) {
      json changed = whole;
      changed[at] = value;
      compare(changed, at.to_string() + " = " + value.dump());
    }
    if (at.empty() || !whole.at(at.parent_pointer()).is_object()) continue;
    json changed = whole;
    changed.at(at.parent_pointer()).erase(at.back());
    compare(changed, at.to_string() + " is left out");
  }
  CHECK(all.size() > 80);
  CHECK(outcomes["right"] > 300);
  CHECK(outcomes["refused"] > 1000);
  CHECK(outcomes["refused by the check"] > 100);
}
#else
TEST_CASE("the schema and the reader refuse the same values") {
  skipping::skip("nlohmann's JSON is not installed");
}
#endif
