// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads the topology of a running Linux from sysfs.

#include <kvm_vfio/sim/topology/error.hpp>

#include <filesystem>
#include <optional>

namespace kvm_vfio::sim {

/// Reads the IOMMU groups and their devices, in the order of the group numbers. Each group gets an
/// IOMMU of its own, because sysfs lists reserved regions for each group. The name of the IOMMU is
/// "dmarN" if sysfs has the registers of an Intel IOMMU, and "groupN" otherwise, with the number N
/// of the group.
/// \param root          "/sys", or a copy of it that keeps symbolic links
/// \param snoop_control whether the IOMMUs of the host have snoop control. Without a value it is
///                      read from the files of Intel's IOMMUs, and true for all others.
/// \return the topology. If it has neither groups nor errors, the host has no active IOMMU.
///         `unknown` lists what sysfs does not contain or the user may not read. (Only root reads
///         the configuration space behind the first 64 bytes.) `errors` lists folders that cannot
///         be read, and the errors that `check` finds.
[[nodiscard]] topology_result topology_from_sysfs(const std::filesystem::path& root = "/sys",
                                                  std::optional<bool> snoop_control = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_sysfs.hpp>
#endif
