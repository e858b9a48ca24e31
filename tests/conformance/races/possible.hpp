// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The sets of the possible outcomes.

#include "player.hpp"
#include "race.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <string>

namespace races {

/// The machine, as the simulator is told of it.
struct machine {
  std::string profile;  ///< "6.1", "6.12" or "7.3"
  target on;
  kvm_vfio::sim::topology topology;
  kvm_vfio::sim::world_options world;
};

/// The outcomes that a race can have.
struct possible {
  outcomes all;
  outcome in_order;        ///< the outcome if each thread ends before the next one begins
  unsigned long runs = 0;  ///< the schedules, or the orders of calls
};

/// Runs a race on the model in every schedule, with the explorer.
/// \param counted registrations are a part of the outcomes
possible explored(const race& r, const machine& m, bool counted);
/// Runs a race on the simulator in every order of the calls.
possible in_every_order(const race& r, const machine& m);

}  // namespace races
