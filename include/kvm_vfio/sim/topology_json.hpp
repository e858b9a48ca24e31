// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A topology from JSON, and back. Opt-in: needs nlohmann's JSON (3.x); without it this header is
/// empty and KVM_VFIO_SIM_TOPOLOGY_JSON is 0.
///
/// {"iommus": [{"name": "dmar0", "snoop_control": false}],
///  "groups": [{"number": 7, "iommu": "dmar0", "devices": [
///    {"name": "0000:aa:00.0", "driver": "vfio",
///     "pci": {"vendor": "0x8086", "bars": [{"size": "0x4000"}]}}]}]}
///
/// The members are those of topology.hpp, with their names and their defaults; `bound` is called
/// "driver". A number is written as a JSON number or as hexadecimal digits in a string; `bytes` are
/// a string of two hexadecimal digits each. docs/topology.schema.json is a JSON Schema of it.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/topology_from_json.hpp>
#include <kvm_vfio/sim/topology_to_json.hpp>

#if !__has_include(<nlohmann/json.hpp>)
#define KVM_VFIO_SIM_TOPOLOGY_JSON 0
#else
#define KVM_VFIO_SIM_TOPOLOGY_JSON 1

#include <string>
#include <string_view>

namespace kvm_vfio::sim {

/// Reads a topology and checks it.
/// \return the topology, or everything that is wrong with it. An error names the member by its path
///         ("groups[0].devices[1].pci.vendor: 70000 does not fit in 16 bits"), or the line and the
///         column of text that is no JSON. Never throws for what the text holds.
[[nodiscard]] inline topology_result topology_from_json(std::string_view text) {
  topology_result r;
  const nlohmann::json value = detail::parse_json(text, r.errors);
  if (r.errors.empty()) detail::topology_reader(r.errors).read(value, r.machine);
  if (r.errors.empty()) r.errors = check(r.machine);
  return r;
}

/// Writes a topology, with every member, two spaces deep.
/// \return what topology_from_json reads as an equal topology, if this one is right
[[nodiscard]] inline std::string topology_to_json(const topology& t) {
  return detail::to_value(t).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace kvm_vfio::sim

#endif
