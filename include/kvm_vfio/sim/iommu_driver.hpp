// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The interface of VFIO's two IOMMU drivers, which a container uses for DMA, and the state that
/// all files of a world share.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/dma_map.hpp>
#include <kvm_vfio/sim/ioctl.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/objects.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// The state that all files of one world share.
struct vfio_state {
  /// The Linux release whose VFIO is simulated.
  linux_release release;
  /// The settings of the world that are not part of the topology.
  world_options options;
  /// The world's lock. Every operation on VFIO's objects holds it.
  mutex lock{};
  /// The number of containers that exist.
  int open_containers = 0;
  /// The number of iommufds that exist.
  int open_iommufds = 0;
  /// How often a group joined or left a container, or a container got an IOMMU driver. Atomic.
  alignas(8) std::uint64_t container_changes = 0;

  /// Counts a change of a container. Call this function after the change.
  void container_changed() noexcept { __atomic_fetch_add(&container_changes, 1, __ATOMIC_RELEASE); }
};

/// The IOMMU driver of a container (the kernel's struct vfio_iommu_driver_ops). The caller of each
/// function holds the world's lock.
class iommu_driver {
 public:
  iommu_driver() = default;
  iommu_driver(const iommu_driver&) = delete;
  iommu_driver& operator=(const iommu_driver&) = delete;
  virtual ~iommu_driver() = default;

  /// Answers VFIO_CHECK_EXTENSION.
  [[nodiscard]] virtual bool has(std::uint64_t extension) const noexcept = 0;
  /// Attaches a group.
  /// \par Errors
  /// - `errc::busy`: type 1: a mapping has lost its address (VFIO_DMA_UNMAP_FLAG_VADDR). sPAPR: the
  ///   driver has a group already
  /// - `errc::perm`: type 1: the IOMMU does not remap interrupts, and the world does not allow
  ///   unsafe interrupts
  /// - `errc::inval`: type 1: a mapping is at an address that the group cannot use. sPAPR: all
  ///   devices of the group are mediated devices
  /// - `errc::range`: type 1: a mapping is outside of the aperture of the first domain
  /// - `errc::nodev`: sPAPR: the group has no table data
  [[nodiscard]] virtual errc attach(vfio_group& group) = 0;
  /// Detaches a group.
  virtual void detach(vfio_group& group) noexcept = 0;
  /// Answers an ioctl that the container does not answer itself.
  /// \par Errors
  /// - `errc::notty`: the driver does not know the request
  /// - further errors: those of the request
  virtual answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) = 0;

  /// The domains, for observers.
  [[nodiscard]] const std::vector<std::unique_ptr<domain>>& domains() const noexcept {
    return domains_;
  }
  /// The mappings, for observers.
  [[nodiscard]] const dma_map& mappings() const noexcept { return maps_; }
  /// The name of the driver in snapshots ("type1v2").
  [[nodiscard]] virtual const char* name() const noexcept = 0;

 protected:
  /// The domains of the attached groups.
  std::vector<std::unique_ptr<domain>> domains_;
  /// The mappings of the container.
  dma_map maps_;
};

namespace detail {
/// Checks that no device of a group can forge interrupts. Mediated devices cannot.
/// \par Errors
/// - `errc::perm`: the IOMMU does not remap interrupts, and the world does not allow unsafe ones
[[nodiscard]] errc check_interrupts(const vfio_state& state, const vfio_group& group) noexcept;

/// Puts a group into the domain that enforces coherency as the group's IOMMU can. Makes this domain
/// if it does not exist.
void join_domain(std::vector<std::unique_ptr<domain>>& domains, vfio_group& group);
/// Takes a group out of its domain. A domain without groups is deleted.
void leave_domain(std::vector<std::unique_ptr<domain>>& domains, vfio_group& group);
}  // namespace detail

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/iommu_driver.hpp>
#endif
