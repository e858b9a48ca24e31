// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The simulated host of a run, without the type of its Linux release.

#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <memory>
#include <string_view>

namespace kvm_vfio_sim {

/// A simulated kernel of one of the releases.
class host {
 public:
  host() = default;
  host(const host&) = delete;
  host& operator=(const host&) = delete;
  virtual ~host() = default;
  /// Opens the nodes of the host.
  [[nodiscard]] virtual kvm_vfio::sim::filesystem& files() noexcept = 0;
  /// The state of the host.
  [[nodiscard]] virtual kvm_vfio::sim::snapshot look() = 0;
};

/// Makes a host.
/// \param profile "linux-6.1", "linux-6.12" or "linux-7.3"
/// \param machine the topology; must be valid
/// \param options the settings of VFIO
/// \return null: there is no such profile
[[nodiscard]] std::unique_ptr<host> make_host(std::string_view profile,
                                              const kvm_vfio::sim::topology& machine,
                                              const kvm_vfio::sim::world_options& options);

}  // namespace kvm_vfio_sim
