// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The conversions between a topology and its text in JSON. This header needs the library
/// nlohmann/json (3.x). Without this library the header is empty, and KVM_VFIO_SIM_TOPOLOGY_JSON is
/// 0.
///
/// \code{.json}
/// {"iommus": [{"name": "dmar0", "snoop_control": false}],
///  "groups": [{"number": 7, "iommu": "dmar0", "devices": [
///    {"name": "0000:aa:00.0", "driver": "vfio",
///     "pci": {"vendor": "0x8086", "bars": [{"size": "0x4000"}]}}]}]}
/// \endcode
///
/// The members have the names and the defaults of topology.hpp, but `bound` is called "driver". A
/// number is a JSON number, or a string that starts with "0x". The member `bytes` is a string with
/// two hexadecimal digits for each byte. docs/topology.schema.json is the JSON Schema.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>

#include <string>
#include <string_view>

/// \def KVM_VFIO_SIM_TOPOLOGY_JSON
/// Whether this header declares its functions. A build that compiles the simulator into a library
/// defines the macro. Otherwise it is 1 if the compiler finds `<nlohmann/json.hpp>`.
#ifndef KVM_VFIO_SIM_TOPOLOGY_JSON
#if __has_include(<nlohmann/json.hpp>)
#define KVM_VFIO_SIM_TOPOLOGY_JSON 1
#else
#define KVM_VFIO_SIM_TOPOLOGY_JSON 0
#endif
#endif

#if KVM_VFIO_SIM_TOPOLOGY_JSON

namespace kvm_vfio::sim {

/// Reads a topology from JSON and checks it. No text makes this function throw, except
/// std::bad_alloc.
/// \return the topology, or all errors. An error contains the path of the member
///         ("groups[0].devices[1].pci.vendor: 70000 does not fit in 16 bits"), or the line and the
///         column if the text is not JSON.
[[nodiscard]] topology_result topology_from_json(std::string_view text);

/// Writes a topology as JSON, with all members and an indentation of two spaces.
/// \return the JSON text. For a valid topology `topology_from_json` reads an equal topology from
///         this text.
[[nodiscard]] std::string topology_to_json(const topology& t);

}  // namespace kvm_vfio::sim

#endif

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_json.hpp>
#endif
