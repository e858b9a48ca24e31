// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The running kernel as a world.

#include "world.hpp"

#include <memory>
#include <string>
#include <vector>

namespace conformance {

/// A device that VFIO has here.
struct vfio_device {
  std::string name;   ///< as VFIO_GROUP_GET_DEVICE_FD wants it
  std::string group;  ///< "/dev/vfio/7"
  std::string cdev;   ///< "/dev/vfio/devices/vfio0", or empty
};

/// What this host has: the devices bound to vfio-pci and, after them, the mediated ones.
struct host {
  machine has;
  std::vector<vfio_device> devices;
};
/// Looks around. Attribute 3 and failing allocations are asked for, not guessed.
host find_host();

/// A fresh world on /dev/kvm; throws std::system_error if it cannot be opened.
std::unique_ptr<world> make_kernel(const host& h);

}  // namespace conformance
