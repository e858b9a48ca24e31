// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The simulator's view of /sys beside the /sys of the running kernel.

#include "facts.hpp"

#include <string>
#include <vector>

namespace vfio_lockstep {

/// What a comparison of the view found.
struct sysfs_result {
  long compared = 0;                       ///< the files, folders and links that both have
  std::vector<std::string> differences{};  ///< a line for each; empty: none
};

/// Writes the view of a machine into a new folder, and reads the topology back. Throws
/// std::runtime_error if the view cannot be written.
/// \param booted compare the view with /sys of the running kernel, too
/// \return what differs. What may differ is in a list (sysfs_rows.hpp).
[[nodiscard]] sysfs_result compare_sysfs(const facts& f, const circumstances& c, bool booted);

}  // namespace vfio_lockstep
