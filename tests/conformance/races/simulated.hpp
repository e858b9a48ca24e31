// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated process on a machine.

#include "possible.hpp"

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/sim/kernel.hpp>

namespace races {

/// Calls `use` with a process of a new simulated kernel.
template <class Profile, class Iommu, class Use>
void on_kernel(const machine& m, Use use) {
  kvm_vfio::sim::kernel<Profile, Iommu> kernel(m.topology, m.world);
  kvm_vfio::sim::memory memory;
  kvm_vfio::sim::process task(kernel, memory);
  use(task);
}
/// Calls `use` with a process of a new simulated kernel of the machine's release.
template <class Use>
void on_simulator(const machine& m, Use use) {
  namespace sim = kvm_vfio::sim;
  if (m.world.iommu == sim::iommu_kind::spapr)
    on_kernel<kvm_vfio::linux_7_3, sim::kvm_spapr_tce>(m, use);
  else if (m.profile == "6.1") on_kernel<kvm_vfio::linux_6_1, sim::iommu>(m, use);
  else if (m.profile == "6.12") on_kernel<kvm_vfio::linux_6_12, sim::iommu>(m, use);
  else on_kernel<kvm_vfio::linux_7_3, sim::iommu>(m, use);
}

}  // namespace races
