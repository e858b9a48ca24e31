// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The topology of a running Linux: its IOMMU groups and their devices, as its sysfs shows them.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology_error.hpp>

#include <filesystem>
#include <optional>

namespace kvm_vfio::sim {

/// Reads the IOMMU groups below a folder, in the order of their numbers. Each group has an IOMMU of
/// its own, called "groupN", because the reserved regions are the group's.
/// \param root          "/sys", or a copy of it
/// \param snoop_control what the host's IOMMUs can do; nothing: it is read where Intel's IOMMU
///                      shows it, and else true
/// \return the topology; in `unknown` what sysfs did not tell, or the user may not read: the
///         configuration space behind its first 64 bytes is root's. No groups and no error: the
///         host has no IOMMU. errors: a folder that cannot be read, and what `check` says
[[nodiscard]] topology_result topology_from_sysfs(const std::filesystem::path& root = "/sys",
                                                  std::optional<bool> snoop_control = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_sysfs.hpp>
#endif
