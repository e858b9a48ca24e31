// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of topology_json.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/impl/from_json.hpp>
#include <kvm_vfio/sim/topology/impl/json_structure.hpp>
#include <kvm_vfio/sim/topology/impl/to_json.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/topology_json.hpp>

#include <string>
#include <string_view>

#if KVM_VFIO_SIM_TOPOLOGY_JSON

namespace kvm_vfio::sim {

KVM_VFIO_INLINE topology_result topology_from_json(std::string_view text) {
  topology_result r;
  const nlohmann::json value = detail::parse_json(text, r.errors);
  if (r.errors.empty()) detail::topology_reader(r.errors).read(value, r.machine);
  if (r.errors.empty()) r.errors = check(r.machine);
  return r;
}

KVM_VFIO_INLINE std::string topology_to_json(const topology& t) {
  return detail::to_value(t).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace kvm_vfio::sim

#endif
