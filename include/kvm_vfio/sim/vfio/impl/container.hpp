// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of container.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommufd/ioas.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/spapr.hpp>
#include <kvm_vfio/sim/vfio/type1.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/sim/world_options.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {

// The IOMMU driver of groups without an IOMMU (vfio_noiommu_ops). Nothing can be mapped.
class noiommu_driver final : public iommu_driver {
 public:
  explicit noiommu_driver(const vfio_state& state) noexcept : state_(state) {}
  [[nodiscard]] static bool has_unopened(const vfio_state& state,
                                         std::uint64_t extension) noexcept {
    return state.noiommu_mode && extension == VFIO_NOIOMMU_IOMMU;
  }
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override {
    return has_unopened(state_, extension);
  }
  [[nodiscard]] errc attach(iommu_group& /*group*/) override { return errc::ok; }
  void detach(iommu_group& /*group*/) noexcept override {}
  answer ioctl(process& /*task*/, std::uint32_t /*request*/, std::uint64_t /*argument*/) override {
    return errc::notty;
  }
  [[nodiscard]] std::uint64_t locked(int /*address_space*/) const noexcept override { return 0; }
  [[nodiscard]] const char* name() const noexcept override { return "noiommu"; }

 private:
  const vfio_state& state_;
};

}  // namespace detail

KVM_VFIO_INLINE container::~container() { std::erase(state_.containers, this); }

KVM_VFIO_INLINE bool container::open() const noexcept {
  return static_cast<std::size_t>(references_) > groups_.size();
}

KVM_VFIO_INLINE void container::put() noexcept {
  if (--references_ == 0) delete this;
}

KVM_VFIO_INLINE errc container::attach(vfio_group& group) {
  if (!groups_.empty() && no_iommu() != group.hardware.no_iommu()) return errc::perm;
  groups_.push_back(&group);
  detail::undo joined([&] { groups_.pop_back(); });
  if (const errc e = group.hardware.claim_dma(&group); e != errc::ok) return e;
  detail::undo claimed([&] { group.hardware.release_dma(); });
  if (driver_)
    if (const errc e = driver_->attach(group.hardware); e != errc::ok) return e;
  joined.keep();
  claimed.keep();
  group.in_container = this;
  group.container_users = 1;
  get();
  state_.container_changed();
  return errc::ok;
}

KVM_VFIO_INLINE void container::detach(vfio_group& group) noexcept {
  if (driver_) driver_->detach(group.hardware);
  group.hardware.release_dma();
  group.in_container = nullptr;
  group.container_users = 0;
  std::erase(groups_, &group);
  if (groups_.empty()) driver_.reset();
  state_.container_changed();
  put();
}

KVM_VFIO_INLINE answer container::ioctl(process& task, std::uint32_t request,
                                        std::uint64_t argument) {
  switch (request) {
    case VFIO_GET_API_VERSION: return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION: return has(argument) ? 1 : 0;
    case VFIO_SET_IOMMU: return to_answer(set_iommu(task, argument));
    default: return driver_ ? driver_->ioctl(task, request, argument) : answer(errc::inval);
  }
}

KVM_VFIO_INLINE bool container::no_iommu() const noexcept {
  return !groups_.empty() && groups_.front()->hardware.no_iommu();
}

KVM_VFIO_INLINE bool container::has(std::uint64_t extension) const noexcept {
  if (driver_) return driver_->has(extension);
  // VFIO asks all drivers that the groups could use. Without a group these are all drivers.
  if ((groups_.empty() || no_iommu()) && detail::noiommu_driver::has_unopened(state_, extension))
    return true;
  if (no_iommu()) return false;
  return state_.options.iommu == iommu_kind::type1
             ? type1_iommu::has_unopened(state_.release, extension)
             : vfio_spapr_tce::has_unopened(extension);
}

KVM_VFIO_INLINE errc container::set_iommu(const process& task, std::uint64_t type) {
  if (groups_.empty() || driver_) return errc::inval;
  std::unique_ptr<iommu_driver> made;
  if (no_iommu()) {
    if (!has(type)) return errc::nodev;
    if (!task.cap_sys_rawio()) return errc::perm;
    made = std::make_unique<detail::noiommu_driver>(state_);
  } else if (state_.options.iommu == iommu_kind::spapr) {
    if (type == VFIO_SPAPR_TCE_IOMMU) made = std::make_unique<vfio_spapr_tce>(state_);
  } else if (type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU) {
    const auto version = type == VFIO_TYPE1v2_IOMMU ? type1_version::v2 : type1_version::v1;
    made = std::make_unique<type1_iommu>(state_, version);
  }
  // VFIO asks each driver with CHECK_EXTENSION. So a number that is some extension of a driver
  // reaches this driver, which refuses it with EINVAL. (No simulated IOMMU can nest.)
  if (!made) return has(type) ? errc::inval : errc::nodev;
  // As in the kernel, the group that joined last is attached first.
  std::size_t first = groups_.size();  // the groups from this one on are attached
  detail::undo attached([&] {
    for (; first < groups_.size(); ++first) made->detach(groups_[first]->hardware);
  });
  for (; first > 0; --first)
    if (const errc e = made->attach(groups_[first - 1]->hardware); e != errc::ok) return e;
  attached.keep();
  driver_ = std::move(made);
  state_.container_changed();
  return errc::ok;
}

KVM_VFIO_INLINE std::uint64_t locked_memory(const vfio_state& state, int address_space) {
  const std::uint64_t bytes = locked_by_containers(state, address_space);
  if (state.iommufds->files.empty()) return bytes;
  const int process = charged_for({.address_space = address_space}, true);
  return bytes + locked_by_iommufds(*state.iommufds)[process].bytes();
}

KVM_VFIO_INLINE std::uint64_t locked_by_containers(const vfio_state& state,
                                                   int address_space) noexcept {
  std::uint64_t bytes = 0;
  for (const container* c : state.containers)
    if (const iommu_driver* const driver = c->driver()) bytes += driver->locked(address_space);
  return bytes;
}

KVM_VFIO_INLINE container_file::container_file(vfio_state& state)
    : file(file_kind::container), state_(state), container_(new container(state)) {}

KVM_VFIO_INLINE answer container_file::ioctl(process& task, std::uint32_t request,
                                             std::uint64_t argument) {
  const guard held(state_.lock);
  return container_->ioctl(task, request, argument);
}

KVM_VFIO_INLINE void container_file::release() noexcept {
  const guard held(state_.lock);
  container_->put();
}

}  // namespace kvm_vfio::sim
