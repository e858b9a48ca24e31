// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of container.hpp.

#include <kvm_vfio/sim/container.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_SIM_INLINE void container::put() noexcept {
  if (--references_ == 0) delete this;
}

KVM_VFIO_SIM_INLINE errc container::attach(vfio_group& group) {
  if (const errc e = group.claim_dma(&group); e != errc::ok) return e;
  if (driver_) {
    if (const errc e = driver_->attach(group); e != errc::ok) {
      group.release_dma();
      return e;
    }
  }
  groups_.push_back(&group);
  group.in = this;
  group.container_users = 1;
  get();
  system_.container_changed();
  return errc::ok;
}

KVM_VFIO_SIM_INLINE void container::detach(vfio_group& group) noexcept {
  if (driver_) driver_->detach(group);
  group.release_dma();
  group.in = nullptr;
  group.container_users = 0;
  std::erase(groups_, &group);
  if (groups_.empty()) driver_.reset();
  system_.container_changed();
  put();
}

KVM_VFIO_SIM_INLINE answer container::ioctl(process& from, std::uint32_t request,
                                            std::uint64_t argument) {
  switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return has(argument) ? 1 : 0;
    case VFIO_SET_IOMMU: return to_answer(set_iommu(argument));
    default: return driver_ ? driver_->ioctl(from, request, argument) : answer(errc::inval);
  }
}

KVM_VFIO_SIM_INLINE bool container::has(std::uint64_t extension) const noexcept {
  if (driver_) return driver_->has(extension);
  return system_.options.iommu == iommu_kind::type1
             ? type1_iommu::has_unopened(system_.release, extension)
             : spapr_iommu_driver::has_unopened(extension);
}

KVM_VFIO_SIM_INLINE errc container::set_iommu(std::uint64_t type) {
  if (groups_.empty() || driver_) return errc::inval;
  std::unique_ptr<iommu_driver> made;
  if (system_.options.iommu == iommu_kind::spapr) {
    if (type == VFIO_SPAPR_TCE_IOMMU) made = std::make_unique<spapr_iommu_driver>(system_);
  } else if (type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU) {
    made = std::make_unique<type1_iommu>(system_, type == VFIO_TYPE1v2_IOMMU);
  }
  // Whatever a driver calls an extension leads to it. (No IOMMU here can nest.)
  if (!made) return has(type) ? errc::inval : errc::nodev;
  // The last that joined is the first.
  for (std::size_t i = groups_.size(); i-- > 0;) {
    const errc e = made->attach(*groups_[i]);
    if (e == errc::ok) continue;
    while (++i < groups_.size()) made->detach(*groups_[i]);
    return e;
  }
  driver_ = std::move(made);
  system_.container_changed();
  return errc::ok;
}

KVM_VFIO_SIM_INLINE container_file::container_file(vfio_system& system)
    : file(file_kind::container), system_(system), container_(new container(system)) {}

KVM_VFIO_SIM_INLINE answer container_file::ioctl(process& from, std::uint32_t request,
                                                 std::uint64_t argument) {
  const guard held(system_.lock);
  return container_->ioctl(from, request, argument);
}

KVM_VFIO_SIM_INLINE void container_file::release() noexcept {
  const guard held(system_.lock);
  container_->put();
}

}  // namespace kvm_vfio::sim
