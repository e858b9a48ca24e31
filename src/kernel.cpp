// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/sim/config.hpp): KVM of each Linux, on each kind of machine.
#include <kvm_vfio/sim/kernel.hpp>

namespace kvm_vfio::sim {

template class kernel<linux_6_1>;
template class kernel<linux_6_12>;
template class kernel<linux_7_3>;
template class kernel<linux_6_1, spapr_iommu>;
template class kernel<linux_6_12, spapr_iommu>;
template class kernel<linux_7_3, spapr_iommu>;

}  // namespace kvm_vfio::sim
