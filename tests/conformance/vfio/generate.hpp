// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences of steps for a machine.

#include "step.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// A device that VFIO drives.
struct target {
  std::string group;        ///< the path of its group
  std::string device;       ///< its name
  std::string cdev{};       ///< its character device; empty: there is none
  bool comparable = false;  ///< the simulated device is the machine's: its ioctls are compared
  kvm_vfio::sim::pci_spec pci{};  ///< what the simulator is told of the device
};

struct machine {
  std::vector<target> targets;
  bool iommufd = false;
  bool spapr = false;
  bool books = false;      ///< x86: the memory slots, irqfds and ioeventfds of VMs are compared
  bool any_access = true;  ///< a BAR can be read with any size; else only words are read
  bool maps = true;        ///< BARs are mapped; the simulator has pages of 4 KiB
  std::uint64_t page = 4096;
};

/// About `length` random steps, with the usual ways to get somewhere among them; the same for the
/// same arguments.
std::vector<step> generate(std::uint64_t seed, int length, const machine& m);

}  // namespace vfio_lockstep
