// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of domain.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE errc check_interrupts(const world_options& options,
                                      const iommu_group& group) noexcept {
  const bool safe = group.mediated() || group.no_iommu() || group.iommu().interrupt_remapping ||
                    options.allow_unsafe_interrupts;
  return safe ? errc::ok : errc::perm;
}

KVM_VFIO_INLINE void join_domain(std::vector<std::unique_ptr<domain>>& domains,
                                 iommu_group& group) {
  const bool enforce = group.iommu().snoop_control;
  for (const auto& d : domains)
    if (d->enforce_coherency == enforce) return d->groups.push_back(&group);
  auto made = std::make_unique<domain>();
  made->enforce_coherency = enforce;
  made->groups.push_back(&group);
  domains.push_back(std::move(made));
}

KVM_VFIO_INLINE void leave_domain(std::vector<std::unique_ptr<domain>>& domains,
                                  iommu_group& group) noexcept {
  for (const auto& d : domains) std::erase(d->groups, &group);
  std::erase_if(domains, [](const auto& d) { return d->groups.empty(); });
}

}  // namespace kvm_vfio::sim
