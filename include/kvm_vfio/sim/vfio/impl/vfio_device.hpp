// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of vfio_device.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE vfio_device::vfio_device(const device_spec& spec, vfio_group& group, int number,
                                         const linux_release& release)
    : spec_(spec),
      group_(group),
      number_(number),
      // On x86 a function has several MSI vectors only if the IOMMU remaps interrupts.
      pci(spec.pci, release, group.hardware.iommu().interrupt_remapping ? 32 : 1) {}

}  // namespace kvm_vfio::sim
