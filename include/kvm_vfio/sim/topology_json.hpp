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

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology_error.hpp>

#include <string>
#include <string_view>

/// \def KVM_VFIO_SIM_TOPOLOGY_JSON
/// Whether the functions are there: defined by whoever compiles the simulator into a library, and
/// otherwise 1 if nlohmann's header is found.
#ifndef KVM_VFIO_SIM_TOPOLOGY_JSON
#if __has_include(<nlohmann/json.hpp>)
#define KVM_VFIO_SIM_TOPOLOGY_JSON 1
#else
#define KVM_VFIO_SIM_TOPOLOGY_JSON 0
#endif
#endif

#if KVM_VFIO_SIM_TOPOLOGY_JSON

namespace kvm_vfio::sim {

/// Reads a topology and checks it.
/// \return the topology, or everything that is wrong with it. An error names the member by its path
///         ("groups[0].devices[1].pci.vendor: 70000 does not fit in 16 bits"), or the line and the
///         column of text that is no JSON. Never throws for what the text holds.
[[nodiscard]] topology_result topology_from_json(std::string_view text);

/// Writes a topology, with every member, two spaces deep.
/// \return what topology_from_json reads as an equal topology, if this one is right
[[nodiscard]] std::string topology_to_json(const topology& t);

}  // namespace kvm_vfio::sim

#endif

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_json.hpp>
#endif
