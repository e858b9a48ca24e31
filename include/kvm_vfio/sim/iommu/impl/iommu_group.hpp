// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of iommu_group.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE iommu_group::iommu_group(group_spec spec, const iommu_spec& iommu)
    : spec_(std::move(spec)), iommu_(iommu) {}

KVM_VFIO_INLINE iommu_group::~iommu_group() = default;

KVM_VFIO_INLINE bool iommu_group::owned_by_host() const noexcept {
  return std::ranges::any_of(devices(),
                             [](const device_spec& d) { return d.bound == driver::other; });
}

KVM_VFIO_INLINE bool iommu_group::has_vfio_device() const noexcept {
  return std::ranges::any_of(devices(),
                             [](const device_spec& d) { return d.bound == driver::vfio; });
}

KVM_VFIO_INLINE bool iommu_group::mediated() const noexcept {
  return std::ranges::all_of(devices(), [](const device_spec& d) { return d.mediated; });
}

KVM_VFIO_INLINE bool iommu_group::can_enforce_coherency() const noexcept {
  return std::ranges::all_of(devices(), [this](const device_spec& d) {
    return d.bound != driver::vfio || can_enforce_coherency(d);
  });
}

KVM_VFIO_INLINE bool iommu_group::can_enforce_coherency(const device_spec& device) const noexcept {
  return iommu_.snoop_control && !device.mediated;
}

KVM_VFIO_INLINE std::optional<std::uint64_t> iommu_group::vtd_ecap() const noexcept {
  constexpr std::uint64_t snoop_control = std::uint64_t{1} << 7;
  if (!iommu_.name.starts_with("dmar")) return std::nullopt;
  return iommu_.snoop_control ? snoop_control : 0;
}

KVM_VFIO_INLINE bool iommu_group::needs_direct() const noexcept {
  return std::ranges::any_of(
      iommu_.reserved, [](const reserved_region& r) { return r.type == region_type::direct; });
}

KVM_VFIO_INLINE errc iommu_group::claim_dma(const void* owner) noexcept {
  if (mediated() || no_iommu()) return errc::ok;
  if (owned_by_host() || (dma_claims_ > 0 && dma_owner_ != owner)) return errc::perm;
  if (needs_direct()) return direct_error;
  dma_owner_ = owner;
  ++dma_claims_;
  return errc::ok;
}

KVM_VFIO_INLINE void iommu_group::release_dma() noexcept {
  if (!mediated() && !no_iommu() && --dma_claims_ == 0) dma_owner_ = nullptr;
}

KVM_VFIO_INLINE bool iommu_group::dma_owner_claimed() const noexcept {
  return !mediated() && (owned_by_host() || dma_claims_ > 0);
}

}  // namespace kvm_vfio::sim
