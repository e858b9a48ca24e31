// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Runs a program on a simulated host.

#include "faults.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <string>

namespace kvm_vfio_sim {

/// The exit status if kvm-vfio-sim itself failed.
inline constexpr int own_failure = 125;
/// The exit status of a strict run if the checker found a mistake, or if no call had a fault of the
/// plan.
inline constexpr int findings = 120;

/// The exit status of a strict run if the program made no simulated call.
inline constexpr int no_call = 121;

/// Writes what is wrong to standard error, as one line that starts with the name of the program.
/// \return `own_failure`
int complain(const std::string& what);

/// The settings of a run.
struct run_options {
  std::string profile = "linux-7.3";
  std::string log;           ///< the path of the log; empty: no log
  std::string kvm = "auto";  ///< "auto", "real" or "simulated"
  /// How calls reach the simulated host. "preload": an object in the program sends them. "seccomp":
  /// the kernel reports them. "auto": "seccomp" where the first program cannot load the object.
  std::string transport = "auto";
  fault_plan faults;
  bool strict = false;
  bool quiet = false;
  bool unsafe_interrupts = false;  ///< the parameter allow_unsafe_interrupts of the modules
};

/// Runs a program, and tells on standard error what the checker found.
/// \param machine the host; must be valid
/// \param program the program and its arguments, with a null pointer behind them
/// \return the exit status of kvm-vfio-sim
[[nodiscard]] int run_program(const kvm_vfio::sim::topology& machine, const run_options& options,
                              char** program);

}  // namespace kvm_vfio_sim
