// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of coherency.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/coherency.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE coherency_answer coherency_of(const linux_release& release, file& f) noexcept {
  if (const vfio_group* const g = group_of(f)) {
    if (release.coherency_of_container) {
      if (!g->in_container) return {true, "the group is in no container, so it counts as coherent"};
      if (!g->in_container->driver()) return {false, "the group's container has no IOMMU driver"};
      return g->in_container->has(VFIO_DMA_CC_IOMMU)
                 ? coherency_answer{true,
                                    "every domain of the group's container enforces coherency"}
                 : coherency_answer{false,
                                    "a domain of the group's container does not enforce coherency"};
    }
    return g->hardware.can_enforce_coherency()
               ? coherency_answer{true, "every device of the group can be enforced coherent"}
               : coherency_answer{false, "a device of the group cannot be enforced coherent"};
  }
  if (const device_file* const d = device_of(f)) {
    return d->device().group().hardware.can_enforce_coherency(d->device().spec())
               ? coherency_answer{true, "the device can be enforced coherent"}
               : coherency_answer{false, "the device cannot be enforced coherent"};
  }
  return {true, "not a VFIO file"};
}

}  // namespace kvm_vfio::sim
