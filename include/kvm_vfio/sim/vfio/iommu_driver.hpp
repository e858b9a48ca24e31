// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The interface of VFIO's two IOMMU drivers, which a container uses for DMA.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/dma_map.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

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
  /// - `errc::fault`: type 1: the memory of a mapping cannot be pinned for the first domain
  /// - `errc::nomem`: type 1: the memory of a mapping cannot be locked for the first domain
  /// - `errc::range`: type 1: a mapping is outside of the aperture of the first domain
  /// - `errc::nodev`: sPAPR: the group has no table data
  [[nodiscard]] virtual errc attach(iommu_group& group) = 0;
  /// Detaches a group.
  virtual void detach(iommu_group& group) noexcept = 0;
  /// Answers an ioctl that the container does not answer itself.
  /// \par Errors
  /// - `errc::notty`: the driver does not know the request
  /// - further errors: those of the request
  virtual answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) = 0;

  /// Returns the memory that the driver has locked, in bytes.
  /// \param address_space the address space that is charged for the memory
  [[nodiscard]] virtual std::uint64_t locked(int address_space) const noexcept = 0;
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

}  // namespace kvm_vfio::sim
