// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of objects.hpp.

#include <kvm_vfio/sim/objects.hpp>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE vfio_device::vfio_device(const device_spec& spec, vfio_group& group, int number,
                                         const linux_release& release)
    : spec_(spec), group_(group), number_(number), pci(spec.pci, release) {}

KVM_VFIO_INLINE vfio_group::vfio_group(const group_spec& spec, const iommu_spec& iommu)
    : number_(spec.number), iommu_(iommu) {}

KVM_VFIO_INLINE bool vfio_group::owned_by_host() const noexcept {
  for (const auto& d : devices)
    if (d->spec().bound == driver::other) return true;
  return false;
}

KVM_VFIO_INLINE bool vfio_group::exists() const noexcept {
  for (const auto& d : devices)
    if (d->spec().bound == driver::vfio) return true;
  return false;
}

KVM_VFIO_INLINE bool vfio_group::mediated() const noexcept {
  for (const auto& d : devices)
    if (!d->spec().mediated) return false;
  return true;
}

KVM_VFIO_INLINE bool vfio_group::can_enforce_coherency() const noexcept {
  for (const auto& d : devices)
    if (d->spec().bound == driver::vfio && !enforces_coherency(*d)) return false;
  return true;
}

KVM_VFIO_INLINE bool vfio_group::enforces_coherency(const vfio_device& d) const noexcept {
  return iommu_.snoop_control && !d.spec().mediated;
}

KVM_VFIO_INLINE errc vfio_group::claim_dma(const void* who) noexcept {
  if (mediated()) return errc::ok;
  if (owned_by_host() || (dma_claims > 0 && dma_owner != who)) return errc::perm;
  dma_owner = who;
  ++dma_claims;
  return errc::ok;
}

KVM_VFIO_INLINE void vfio_group::release_dma() noexcept {
  if (!mediated() && --dma_claims == 0) dma_owner = nullptr;
}

KVM_VFIO_INLINE bool vfio_group::dma_owner_claimed() const noexcept {
  return !mediated() && (owned_by_host() || dma_claims > 0);
}

}  // namespace kvm_vfio::sim
