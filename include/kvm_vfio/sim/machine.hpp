// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated machine for the tests of a VMM: a kernel with processes, a checker and a timeline.
/// The class works with every test framework, because it only returns values and texts.

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/sim/iommu_backend.hpp>
#include <kvm_vfio/sim/kernel.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/sim/world_options.hpp>
#include <kvm_vfio/trace/checker.hpp>   // IWYU pragma: export
#include <kvm_vfio/trace/timeline.hpp>  // IWYU pragma: export

#include <list>
#include <string>

namespace kvm_vfio::sim {

namespace detail {
// One line of text for each open descriptor of a process.
[[nodiscard]] std::string left_open(process& task);
// One line of text for each thing in a snapshot that a program should have undone.
[[nodiscard]] std::string left_in(const snapshot& s);
}  // namespace detail

/// A simulated machine. It has one process at first, and `new_process` and `exec_process` make
/// further ones. The checker and the timeline observe every process.
/// \tparam Profile the Linux release of the machine
/// \tparam Iommu   the IOMMU backend of kvm-vfio: `iommu`, or `kvm_spapr_tce` for POWER
template <profile Profile = linux_7_3, class Iommu = iommu>
class machine {
 public:
  /// Makes a machine with one process, which has no descriptors.
  /// \param host    the host. If the caller passes a `topology`, `checked_topology` checks it and
  ///                throws `invalid_topology` if it is wrong.
  /// \param options the settings of the world that are not part of the topology
  explicit machine(const checked_topology& host, const world_options& options = {})
      : kernel_(host, options) {
    (void)new_process();
  }
  machine(const machine&) = delete;
  machine& operator=(const machine&) = delete;
  /// Ends the processes that have not ended. Reports nothing and throws nothing.
  ~machine() = default;

  /// The first process, which makes the calls of the program under test.
  [[nodiscard]] sim::process& process() noexcept { return tasks_.front().task; }
  /// Makes a further process without descriptors, for example a management program. It has memory
  /// and an address space of its own. The checker and the timeline observe it, and `finish` covers
  /// it. No other thread may make a process or call `finish` meanwhile.
  /// \return the process, which exists as long as the machine
  [[nodiscard]] sim::process& new_process() {
    sim::process& made = tasks_.emplace_back(kernel_, ++address_spaces_).task;
    made.observe(timeline_);
    made.observe(checker_);
    return made;
  }
  /// Does what execve(2) does in a live update: makes a process in which the new program runs, and
  /// ends the old one. The new process has the descriptors of the old one, and memory and an
  /// address space of its own. To the checker and the timeline, execve(2) is a fork and an exit.
  /// The function copies every descriptor, because the simulator does not keep FD_CLOEXEC, and it
  /// removes the mappings of files, as execve(2) does. Otherwise as `new_process`.
  /// \param old a process of this machine. No thread may use it during the call.
  /// \return the process of the new program, which exists as long as the machine
  [[nodiscard]] sim::process& exec_process(sim::process& old) {
    sim::process& made = new_process();
    old.fork_into(made);
    old.exit();
    return made;
  }
  /// The kernel that answers the calls.
  [[nodiscard]] sim::kernel<Profile, Iommu>& kernel() noexcept { return kernel_; }
  /// The world of the kernel: the groups and the devices of the host.
  [[nodiscard]] sim::world& world() noexcept { return kernel_.world(); }
  /// The memory of the first process.
  [[nodiscard]] sim::memory& memory() noexcept { return tasks_.front().memory; }
  /// The state of the kernel, as data.
  [[nodiscard]] snapshot look() { return kernel_.look(); }
  /// The checker, which has seen all calls of the processes.
  [[nodiscard]] trace::checker& checker() noexcept { return checker_; }
  /// The timeline, which has kept all calls of the processes.
  [[nodiscard]] trace::timeline& timeline() noexcept { return timeline_; }

  /// Ends all processes (`process::exit`) and tells what the program left behind. These things have
  /// one line each: an open descriptor, with the name of its file; a file that a kvm-vfio tracks;
  /// an armed interrupt; a group in a container; an I/O address space; a DMA mapping. The reports
  /// of the checker follow. No other thread may use a process meanwhile.
  /// \return the text; empty: the program left nothing, and broke no rule. A second call returns
  ///         only the reports of the checker.
  [[nodiscard]] std::string finish() {
    std::string out;
    for (own_process& p : tasks_) out += detail::left_open(p.task);
    out += detail::left_in(look());
    for (own_process& p : tasks_) p.task.exit();
    return out + checker_.text();
  }

 private:
  struct own_process {
    own_process(filesystem& files, sim::process::address_space_id space)
        : task(files, memory, space) {}
    sim::memory memory;
    sim::process task;
  };

  // The processes come last, so that they end before their kernel and their observers.
  sim::kernel<Profile, Iommu> kernel_;
  trace::timeline timeline_;
  trace::checker checker_;
  sim::process::address_space_id address_spaces_ = 0;
  std::list<own_process> tasks_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/machine.hpp>
#endif
