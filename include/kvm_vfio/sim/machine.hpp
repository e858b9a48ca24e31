// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated machine for the tests of a VMM: a kernel with one process, a checker and a timeline.
/// The class works with every test framework, because it only returns values and texts.

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/sim/iommu_backend.hpp>
#include <kvm_vfio/sim/kernel.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/sim/world_options.hpp>
#include <kvm_vfio/trace/checker.hpp>   // IWYU pragma: export
#include <kvm_vfio/trace/timeline.hpp>  // IWYU pragma: export

#include <string>

namespace kvm_vfio::sim {

namespace detail {
// One line of text for each open descriptor of a process.
[[nodiscard]] std::string left_open(process& task);
// One line of text for each thing in a snapshot that a program should have undone.
[[nodiscard]] std::string left_in(const snapshot& s);
}  // namespace detail

/// A simulated machine with one process. The checker and the timeline observe the process.
/// \tparam Profile the Linux release of the machine
/// \tparam Iommu   the IOMMU backend of kvm-vfio: `iommu`, or `kvm_spapr_tce` for POWER
template <profile Profile = linux_7_3, class Iommu = iommu>
class machine {
 public:
  /// Makes a machine whose process has no descriptors.
  /// \param host    the host. If the caller passes a `topology`, `checked_topology` checks it and
  ///                throws `invalid_topology` if it is wrong.
  /// \param options the settings of the world that are not part of the topology
  explicit machine(const checked_topology& host, const world_options& options = {})
      : kernel_(host, options), process_(kernel_, memory_) {
    process_.observe(timeline_);
    process_.observe(checker_);
  }
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  /// Ends the process, if `finish` has not ended it. Reports nothing and throws nothing.
  ~machine() = default;

  /// The process, which makes the calls of the program under test.
  [[nodiscard]] sim::process& process() noexcept { return process_; }
  /// The kernel that answers the calls.
  [[nodiscard]] sim::kernel<Profile, Iommu>& kernel() noexcept { return kernel_; }
  /// The world of the kernel: the groups and the devices of the host.
  [[nodiscard]] sim::world& world() noexcept { return kernel_.world(); }
  /// The memory of the process.
  [[nodiscard]] sim::memory& memory() noexcept { return memory_; }
  /// The state of the kernel, as data.
  [[nodiscard]] snapshot look() { return kernel_.look(); }
  /// The checker, which has seen all calls of the process.
  [[nodiscard]] trace::checker& checker() noexcept { return checker_; }
  /// The timeline, which has kept all calls of the process.
  [[nodiscard]] trace::timeline& timeline() noexcept { return timeline_; }

  /// Ends the process (`process::exit`) and tells what the program left behind. These things have
  /// one line each: an open descriptor, with the name of its file; a file that a kvm-vfio tracks;
  /// an armed interrupt; a group in a container; an I/O address space; a DMA mapping. The reports
  /// of the checker follow. No other thread may use the process meanwhile.
  /// \return the text; empty: the program left nothing, and broke no rule. A second call returns
  ///         only the reports of the checker.
  [[nodiscard]] std::string finish() {
    std::string out = detail::left_open(process_) + detail::left_in(look());
    process_.exit();
    return out + checker_.text();
  }

 private:
  // The process comes last, so that it ends before its kernel, its memory and its observers.
  sim::kernel<Profile, Iommu> kernel_;
  sim::memory memory_;
  trace::timeline timeline_;
  trace::checker checker_;
  sim::process process_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/machine.hpp>
#endif
