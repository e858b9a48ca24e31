// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The state of the simulator before a step, as the generator and the table of combinations see
/// the state. Nothing here makes a system call.

#include "player.hpp"
#include "step.hpp"
#include "support/sim_system.hpp"

#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/irqs.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace vfio_lockstep {

/// The objects of the simulator behind the slots of a player.
class view {
 public:
  using slots_of = player<support::sim_system>;

  /// \param task  the process of the simulator
  /// \param world the VFIO of the simulator
  /// \param calls the player that makes the calls of the process
  view(kvm_vfio::sim::process& task, kvm_vfio::sim::world& world, const slots_of& calls)
      : task_(task), world_(world), slots_(calls) {}

  /// Returns the file behind a slot. Null: the slot is empty.
  [[nodiscard]] kvm_vfio::sim::file* file(ref on) const;
  /// Returns the device file behind a slot. Null: the slot has no device file.
  [[nodiscard]] kvm_vfio::sim::device_file* device_file(ref on) const;
  /// Returns the device behind a slot. Null: the slot has no device file.
  [[nodiscard]] kvm_vfio::sim::vfio_device* device(ref on) const;
  /// Returns the group behind a slot. Null: the slot has no group.
  [[nodiscard]] kvm_vfio::sim::vfio_group* group(ref on) const;
  /// Returns the container behind a slot. Null: the slot has no container.
  [[nodiscard]] kvm_vfio::sim::container* container(ref on) const;
  /// Returns the iommufd behind a slot. Null: the slot has no iommufd.
  [[nodiscard]] kvm_vfio::sim::iommufd_file* iommufd(ref on) const;
  /// Returns how many slots hold descriptors of a file.
  [[nodiscard]] int descriptors(const kvm_vfio::sim::file* f) const;
  /// Returns the VFIO of the simulator.
  [[nodiscard]] kvm_vfio::sim::world& world() const { return world_; }
  /// Returns whether a step reaches its descriptor and makes a call.
  [[nodiscard]] bool would_run(const step& s) const { return slots_.would_run(s); }

  /// Returns the mappings that a container, or an iommufd in the place of a container, translates.
  /// Null: there is no IOMMU driver or no address space.
  [[nodiscard]] const kvm_vfio::sim::dma_map* mappings(ref on) const;
  /// Returns the mappings of an address space of an iommufd. Null: the number names none.
  [[nodiscard]] const kvm_vfio::sim::dma_map* mappings(ref on, std::uint32_t id) const;

  /// The states, in words. Each name is one of those that combinations.cpp lists.
  [[nodiscard]] std::string container_state(ref on) const;
  [[nodiscard]] std::string group_state(ref on) const;
  [[nodiscard]] std::string group_kind(const kvm_vfio::sim::vfio_group& g) const;
  [[nodiscard]] std::string device_state(ref on) const;
  [[nodiscard]] static std::string object_state(const kvm_vfio::sim::iommufd_file* f,
                                                std::uint32_t id);
  [[nodiscard]] std::string vm_state(ref on) const;
  [[nodiscard]] std::string event_state(ref on) const;
  /// Returns "active", "low power" or "low power, wakes".
  [[nodiscard]] static std::string power(const kvm_vfio::sim::vfio_device& d) {
    return d.power.wakes() ? "low power, wakes" : d.power.engaged() ? "low power" : "active";
  }
  /// Returns what is armed: "idle", "INTx", "INTx masked" and so on.
  [[nodiscard]] static std::string armed(const kvm_vfio::sim::vfio_device& d);

  /// Remembers what the simulator does not show: the parts of a VM, and the files that a kvm-vfio
  /// tracks.
  /// \param s      a step that was made
  /// \param before the file that the step was called on, before the step
  /// \param good   whether the call succeeded
  void remember(const step& s, const kvm_vfio::sim::file* before, bool good);
  /// Returns whether a kvm-vfio tracks a file.
  [[nodiscard]] bool tracks(ref kvm_vfio, ref of) const {
    return tracked_.contains({file(kvm_vfio), file(of)});
  }
  /// Returns whether a kvm-vfio tracks any file.
  [[nodiscard]] bool tracks_any(ref kvm_vfio) const;

 private:
  struct parts {
    bool irqchip = false;
    bool kvm_vfio = false;
  };
  kvm_vfio::sim::process& task_;
  kvm_vfio::sim::world& world_;
  const slots_of& slots_;
  std::map<const kvm_vfio::sim::file*, parts> vms_;
  std::set<std::pair<const kvm_vfio::sim::file*, const kvm_vfio::sim::file*>> tracked_;
};

}  // namespace vfio_lockstep
