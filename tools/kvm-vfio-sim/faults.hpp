// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Fault plans: which calls of a program fail, and how.

#include <kvm_vfio/sim/call_fault.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio_sim {

/// One entry of a fault plan.
struct planned_fault {
  /// The call that fails. It is counted in each process by itself.
  kvm_vfio::sim::call_fault fault;
  /// The name of the program whose processes have the fault. Empty: all processes have it.
  std::string program;
};

/// A fault plan, or what is wrong with its text.
struct fault_plan {
  std::vector<planned_fault> faults;
  std::string error;
};

/// Reads a fault plan from JSON: an array of objects with these members.
/// - "call": the kind of the call, such as "ioctl" or "open"; "ioctl" if it is missing
/// - "request": for ioctls the request, such as "VFIO_DEVICE_SET_IRQS" or "0x3b6e"; all if it is
///   missing
/// - "nth": which of these calls fails; 1 if it is missing
/// - "errno": the error, such as "ENOMEM"
/// - "program": the name of the program; every program if it is missing
[[nodiscard]] fault_plan read_fault_plan(std::string_view text);

}  // namespace kvm_vfio_sim
