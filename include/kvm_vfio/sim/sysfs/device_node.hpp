// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The nodes of character devices below /dev.

#include <string>

namespace kvm_vfio::sim {

/// A character device of a host.
struct device_node {
  /// The path of the node ("/dev/vfio/12").
  std::string path;
  /// The major number of the device.
  unsigned major = 0;
  /// The minor number of the device.
  unsigned minor = 0;
  /// Compares all members.
  friend bool operator==(const device_node&, const device_node&) = default;
};

}  // namespace kvm_vfio::sim
