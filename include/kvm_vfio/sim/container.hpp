// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO containers: groups that share an IOMMU. A container lives as long as its file or a group
/// in it, so that it outlives close(2).

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/spapr.hpp>
#include <kvm_vfio/sim/type1.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// struct vfio_container. Everything with the world's lock held.
class container {
 public:
  /// An empty container, with one reference: its file's.
  explicit container(vfio_state& state) : state_(state) { ++state_.open_containers; }
  container(const container&) = delete;
  container& operator=(const container&) = delete;

  /// One reference more: the file has one, and each group.
  void get() noexcept { ++references_; }
  /// One reference less; at the last the container goes.
  void put() noexcept;

  /// VFIO_GROUP_SET_CONTAINER.
  /// \return perm: the host or somebody else owns the group's DMA · as the driver's attach
  [[nodiscard]] errc attach(vfio_group& group);
  /// A group leaves; the last takes the IOMMU with it.
  void detach(vfio_group& group) noexcept;
  /// The container's ioctls (vfio_fops_unl_ioctl); others are the IOMMU driver's, inval without
  /// one.
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument);
  /// VFIO_CHECK_EXTENSION. VFIO_DMA_CC_IOMMU is no while there is no IOMMU.
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept;
  /// Its IOMMU, or null.
  [[nodiscard]] const iommu_driver* driver() const noexcept { return driver_.get(); }
  /// The groups in it, in the order in which they came.
  [[nodiscard]] const std::vector<vfio_group*>& groups() const noexcept { return groups_; }

 private:
  ~container() { --state_.open_containers; }

  // inval: no group, or an IOMMU already · nodev: no driver of that type · as attach
  errc set_iommu(std::uint64_t type);

  vfio_state& state_;
  int references_ = 1;
  std::vector<vfio_group*> groups_;
  std::unique_ptr<iommu_driver> driver_;
};

/// An open /dev/vfio/vfio.
class container_file final : public file {
 public:
  /// A new container of its own.
  explicit container_file(vfio_state& state);
  [[nodiscard]] const char* name() const noexcept override { return "/dev/vfio/vfio"; }
  /// The container behind the file.
  [[nodiscard]] container& get_container() const noexcept { return *container_; }
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

 private:
  void release() noexcept override;
  vfio_state& state_;
  container* container_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/container.hpp>
#endif
