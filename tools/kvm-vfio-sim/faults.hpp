// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Fault plans: which calls of a program fail, and how.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/call_fault.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstdint>
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
  /// For opens: the path. Empty: opens of every path count.
  std::string path;
  /// Whether the calls after the call `fault.nth` fail, too.
  bool every = false;
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
/// - "path": for opens the path; every path if it is missing. With this member "call" is "open"
/// - "nth": which of these calls fails; 1 if it is missing
/// - "every": true if all calls from the call "nth" on fail
/// - "errno": the error, such as "ENOMEM"
/// - "program": the name of the program; every program if it is missing
///
/// Kinds of calls that cannot fail are errors: "exit", "fork", "install" and "eventfd".
[[nodiscard]] fault_plan read_fault_plan(std::string_view text);

/// Finds the calls of a run that a fault plan lets fail.
class fault_finder {
 public:
  /// How often each fault of the plan counted a call, for one program in one process.
  using counts = std::vector<std::uint64_t>;

  explicit fault_finder(fault_plan plan);
  /// The counts of a program that begins.
  [[nodiscard]] counts begin() const { return counts(plan_.faults.size()); }
  /// Counts a call.
  /// \param program the name of the program
  /// \param counted the counts of this program in this process
  /// \param kind    the kind of the call
  /// \param request for ioctls: the request
  /// \param path    for opens: the path
  /// \return the error of the call; `errc::ok`: no fault lets the call fail
  [[nodiscard]] kvm_vfio::errc meet(const std::string& program, counts& counted,
                                    kvm_vfio::trace::call_kind kind, std::uint32_t request,
                                    std::string_view path);
  /// The faults that no call had, one text for each fault.
  [[nodiscard]] std::vector<std::string> unmet() const;

 private:
  struct use {
    bool met = false;
    std::uint64_t most = 0;  // the most calls that one program counted
  };
  fault_plan plan_;
  std::vector<use> uses_;
};

}  // namespace kvm_vfio_sim
