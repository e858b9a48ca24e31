// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO containers. All groups in a container share one IOMMU driver. A container exists while its
/// file is open or a group is in it, so it can outlive close(2).

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// A container (the kernel's struct vfio_container). The caller of each function holds the world's
/// lock.
class container {
 public:
  /// Makes an empty container with one reference, which belongs to the file of the container.
  explicit container(vfio_state& state) : state_(state) { state_.containers.push_back(this); }
  container(const container&) = delete;
  container& operator=(const container&) = delete;

  /// Takes one more reference. The file of the container has one, and each group in the container
  /// has one.
  void get() noexcept { ++references_; }
  /// Gives one reference back. The last one deletes the container.
  void put() noexcept;

  /// Puts a group into the container (VFIO_GROUP_SET_CONTAINER).
  /// \par Errors
  /// - `errc::perm`: a driver of the host drives a device of the group, or another owner has
  ///   claimed its DMA; or the container has a group that has an IOMMU and this group has none, or
  ///   the reverse
  /// - `linux_release::direct_error`: the IOMMU of the group has a region of the type `direct`
  /// - further errors: those of `iommu_driver::attach`, if the container has an IOMMU driver
  [[nodiscard]] errc attach(vfio_group& group);
  /// Takes a group out of the container. When the last group leaves, the container loses its IOMMU
  /// driver and all mappings.
  void detach(vfio_group& group) noexcept;
  /// Answers an ioctl of the container (vfio_fops_unl_ioctl). The container itself answers
  /// VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU. The IOMMU driver answers all
  /// other requests.
  /// \par Errors
  /// - `errc::inval`: the container has no IOMMU driver for the request; VFIO_SET_IOMMU: the
  ///   container has no group, or it has an IOMMU driver already
  /// - `errc::nodev`: VFIO_SET_IOMMU: VFIO has no driver of this type for the groups
  /// - `errc::perm`: VFIO_SET_IOMMU of groups without an IOMMU: the process has no CAP_SYS_RAWIO
  /// - further errors: those of the IOMMU driver
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument);
  /// Answers VFIO_CHECK_EXTENSION. While the container has no IOMMU driver, the answer for
  /// VFIO_DMA_CC_IOMMU is false.
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept;
  /// The IOMMU driver of the container. Null: VFIO_SET_IOMMU has not succeeded yet.
  [[nodiscard]] const iommu_driver* driver() const noexcept { return driver_.get(); }
  /// The groups in the container, in the order in which they joined.
  [[nodiscard]] const std::vector<vfio_group*>& groups() const noexcept { return groups_; }
  /// Whether the file of the container is open. False: only the groups keep the container.
  [[nodiscard]] bool open() const noexcept;

 private:
  ~container();

  // Whether the groups have no IOMMU. Groups with an IOMMU and groups without one do not mix.
  [[nodiscard]] bool no_iommu() const noexcept;
  // VFIO_SET_IOMMU. Errors:
  // - inval: there is no group, or an IOMMU driver already, or the number is not a type of driver
  // - nodev: no driver knows the number
  // - perm: the groups have no IOMMU, and the process has no CAP_SYS_RAWIO
  // - those of iommu_driver::attach
  errc set_iommu(const process& task, std::uint64_t type);

  vfio_state& state_;
  int references_ = 1;
  std::vector<vfio_group*> groups_;
  std::unique_ptr<iommu_driver> driver_;
};

/// Returns the memory that all containers of a world have locked for an address space, in bytes.
/// The caller holds the world's lock. Takes time proportional to the number of mappings.
[[nodiscard]] std::uint64_t locked_by_containers(const vfio_state& state,
                                                 int address_space) noexcept;
/// Returns what counts when a container locks memory for an address space, in bytes: the memory of
/// all containers, and that of the iommufds that charge the process. Otherwise as
/// `locked_by_containers`. Without memory it throws std::bad_alloc.
[[nodiscard]] std::uint64_t locked_memory(const vfio_state& state, int address_space);

/// The open file of a container, /dev/vfio/vfio.
class container_file final : public file {
 public:
  /// Makes the file and an empty container. The caller holds the world's lock.
  explicit container_file(vfio_state& state);
  [[nodiscard]] const char* name() const noexcept override { return "/dev/vfio/vfio"; }
  /// The container behind the file.
  [[nodiscard]] container& get_container() const noexcept { return *container_; }
  /// Answers an ioctl of the container. Takes the world's lock.
  /// \par Errors
  /// - each error of `container::ioctl`
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

 private:
  void release() noexcept override;
  vfio_state& state_;
  container* container_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/container.hpp>
#endif
