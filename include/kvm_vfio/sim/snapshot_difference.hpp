// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Tells in words what differs between two snapshots, for example before a plug and after the
/// unplug of a device.

#include <kvm_vfio/sim/snapshot.hpp>

#include <string>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
// One line of text for each thing in a snapshot. `many` tells that the lines must say which iommufd
// they are about.
[[nodiscard]] std::vector<std::string> facts_of(const snapshot& s, bool many);
}  // namespace detail

/// Compares two snapshots.
/// \return one line for each thing that is only in one of the snapshots, or that has another state
///         in the other one. A line begins with "- " if it tells of `before`, and with "+ " if it
///         tells of `after`. The text is empty if and only if the snapshots are equal. Takes time
///         proportional to n·log n for n things.
[[nodiscard]] std::string difference(const snapshot& before, const snapshot& after);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/snapshot_difference.hpp>
#endif
