// SPDX-License-Identifier: BSL-1.0
// The simulator in a library (kvm_vfio/detail/compiled.hpp): KVM of each Linux, on each kind of
// machine.
#include <kvm_vfio/sim/impl/machine.hpp>
#include <kvm_vfio/sim/kernel.hpp>

namespace kvm_vfio::sim {

template class kernel<linux_6_1>;
template class kernel<linux_6_12>;
template class kernel<linux_7_3>;
template class kernel<linux_6_1, kvm_spapr_tce>;
template class kernel<linux_6_12, kvm_spapr_tce>;
template class kernel<linux_7_3, kvm_spapr_tce>;

}  // namespace kvm_vfio::sim
