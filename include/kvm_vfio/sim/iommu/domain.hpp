// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// IOMMU domains, each with the groups that share its translations.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// An IOMMU domain.
struct domain {
  /// Whether the IOMMU makes all DMA through the domain coherent.
  bool enforce_coherency = false;
  /// The groups whose DMA goes through the domain.
  std::vector<iommu_group*> groups{};
};

/// Checks that no device of a group can forge interrupts. Mediated devices cannot.
/// \par Errors
/// - `errc::perm`: the IOMMU does not remap interrupts, and the world does not allow unsafe ones
[[nodiscard]] errc check_interrupts(const world_options& options,
                                    const iommu_group& group) noexcept;

/// Puts a group into the domain that enforces coherency as the group's IOMMU can. Makes this domain
/// if it does not exist. Without memory it throws std::bad_alloc, and changes nothing.
void join_domain(std::vector<std::unique_ptr<domain>>& domains, iommu_group& group);
/// Takes a group out of its domain. A domain without groups is deleted.
void leave_domain(std::vector<std::unique_ptr<domain>>& domains, iommu_group& group) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommu/impl/domain.hpp>
#endif
