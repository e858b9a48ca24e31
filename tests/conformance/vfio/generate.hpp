// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences of steps for a machine.

#include "step.hpp"

#include <string>
#include <vector>

namespace vfio_lockstep {

/// A VFIO group of the machine and its first device.
struct group {
  std::string path;
  std::string device;
  std::string cdev{};       ///< its character device; empty: there is none
  bool msi = false;         ///< MSI is the first capability, at 0x40
  bool comparable = false;  ///< the simulated device is the machine's: its own ioctls are compared
};

struct machine {
  std::vector<group> groups;
  bool iommufd = false;
  bool spapr = false;
  std::uint64_t page = 4096;
};

/// About `length` random steps, with the usual ways to get somewhere among them; the same for the
/// same arguments.
std::vector<step> generate(std::uint64_t seed, int length, const machine& m);

}  // namespace vfio_lockstep
