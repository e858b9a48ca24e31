// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The machine as the simulator and the generator are told of it, and the simulated kernel on it.

#include "generate.hpp"
#include "player.hpp"

#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace vfio_lockstep {

/// The processors whose machines are compared.
enum class processor { x86, arm64, power };
/// The processor that this program is compiled for.
#if defined __powerpc64__
inline constexpr processor own_processor = processor::power;
#elif defined __x86_64__
inline constexpr processor own_processor = processor::x86;
#else
inline constexpr processor own_processor = processor::arm64;
#endif

/// What the caller knows of a machine, because neither sysfs nor a topology tells it.
struct circumstances {
  std::string profile = "7.3";    ///< the Linux release: 7.3, 6.12 or 6.1
  bool coherent = false;          ///< the IOMMU enforces coherency
  bool remap = false;             ///< the IOMMU remaps interrupts
  bool unsafe = true;             ///< VFIO and iommufd allow unsafe interrupts
  processor cpu = own_processor;  ///< the processor of the machine
};

/// What the running kernel tells outside of a topology.
struct equipment {
  bool iommufd = false;    ///< /dev/iommu is there, and devices have files
  bool suspends = false;   ///< Linux suspends devices, and tells it in sysfs
  bool huge_pages = true;  ///< iommufd aligns addresses to huge pages
  unsigned page = 4096;    ///< the size of a page, in bytes
};

/// The machine as the simulator and the generator are told of it.
struct facts {
  kvm_vfio::sim::topology topology;
  kvm_vfio::sim::world_options world;
  machine has;
};

/// Returns what a release has.
/// \param profile 7.3, 6.12 or 6.1
[[nodiscard]] kvm_vfio::sim::linux_release release_of(const std::string& profile);

/// Reads the topology of a JSON file. Throws std::runtime_error if the file cannot be read, or if
/// the topology is wrong.
[[nodiscard]] kvm_vfio::sim::topology read_topology(const std::string& path);

/// Returns the facts of a machine with this topology.
[[nodiscard]] facts facts_of(kvm_vfio::sim::topology t, const circumstances& c, const equipment& e);

/// Returns the facts of the running kernel's machine. Throws std::runtime_error if the topology
/// from sysfs is wrong.
/// \param e gets what the kernel tells outside of the topology
[[nodiscard]] facts facts_of_this_machine(const circumstances& c, equipment& e);

/// Makes the running kernel forget how many vectors its functions had. Linux keeps the largest
/// number of MSI vectors that a process may enable (vdev->msi_qmax) after the last close, and sysfs
/// does not tell this number. A function also keeps the number of enabled vectors. A simulated
/// world has both, too, but each sequence gets a new world. So Linux gives one vector to each
/// function in between, and both systems start in the same state.
void forget_vectors(const machine& m);

/// Calls `use(process)`, `use(process, world)` or `use(process, kernel)` with a process of a new
/// simulated kernel.
/// \param arena the memory of which the process lacks a part
template <class Profile, class Iommu, class Use>
void on_new_kernel(const facts& f, const memory& arena, Use use) {
  namespace sim = kvm_vfio::sim;
  sim::kernel<Profile, Iommu> kernel(f.topology, f.world);
  sim::memory of_process;
  of_process.check_dma(true);
  of_process.forbid(arena.absent(), memory::page);
  of_process.forbid(arena.read_only(), memory::page, true);
  sim::process task(kernel, of_process);
  if constexpr (std::is_invocable_v<Use, sim::process&>) use(task);
  else if constexpr (std::is_invocable_v<Use, sim::process&, decltype(kernel)&>) use(task, kernel);
  else use(task, kernel.world());
}
/// The same, with a kernel of a profile: 7.3, 6.12 or 6.1.
template <class Use>
void on_new_kernel(const std::string& profile, const facts& f, const memory& arena, Use use) {
  namespace sim = kvm_vfio::sim;
  if (f.has.spapr) on_new_kernel<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>(f, arena, use);
  else if (profile == "7.3") on_new_kernel<kvm_vfio::linux_7_3, sim::iommu>(f, arena, use);
  else if (profile == "6.12") on_new_kernel<kvm_vfio::linux_6_12, sim::iommu>(f, arena, use);
  else if (profile == "6.1") on_new_kernel<kvm_vfio::linux_6_1, sim::iommu>(f, arena, use);
  else throw std::runtime_error("unknown profile: " + profile);
}

}  // namespace vfio_lockstep
