// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a container does with DMA: the contract of VFIO's two IOMMU drivers, and what all of
/// VFIO's files share.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/dma_map.hpp>
#include <kvm_vfio/sim/ioctl.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/objects.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// Shared by everything of one world.
struct vfio_state {
  /// Which Linux.
  linux_release release;
  /// What the world was given beside the topology.
  world_options options;
  mutex lock{};  ///< held by every operation on VFIO's objects
  /// How many containers exist.
  int open_containers = 0;
  /// How many iommufds exist.
  int open_iommufds = 0;
  /// How often a group joined or left a container, or a container got an IOMMU. Atomic.
  alignas(8) std::uint64_t container_changes = 0;

  /// Counts one, after it happened.
  void container_changed() noexcept { __atomic_fetch_add(&container_changes, 1, __ATOMIC_RELEASE); }
};

/// An IOMMU of a container (struct vfio_iommu_driver_ops). Called with the world's lock held.
class iommu_driver {
 public:
  iommu_driver() = default;
  iommu_driver(const iommu_driver&) = delete;
  iommu_driver& operator=(const iommu_driver&) = delete;
  virtual ~iommu_driver() = default;

  /// VFIO_CHECK_EXTENSION.
  [[nodiscard]] virtual bool has(std::uint64_t extension) const noexcept = 0;
  /// \return busy: a mapping has lost its address · perm: unsafe interrupts · inval: mappings touch
  /// what the group reserves · ERANGE: mappings lie outside of what the first domain can address
  [[nodiscard]] virtual errc attach(vfio_group& group) = 0;
  /// A group leaves.
  virtual void detach(vfio_group& group) noexcept = 0;
  /// Every ioctl of the container that is not the container's own; notty: unknown.
  virtual answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) = 0;

  /// For those who look on: the domains.
  [[nodiscard]] virtual const std::vector<std::unique_ptr<domain>>& domains() const noexcept = 0;
  /// For those who look on: what is mapped.
  [[nodiscard]] virtual const dma_map& mappings() const noexcept = 0;
  /// Its name for people ("type1v2").
  [[nodiscard]] virtual const char* name() const noexcept = 0;
};

namespace detail {
/// EPERM as VFIO gives it to devices whose interrupts nobody isolates.
[[nodiscard]] errc check_interrupts(const vfio_state& state, const vfio_group& group) noexcept;

/// Puts a group into a domain of its kind of coherency, an existing one if there is.
void join_domain(std::vector<std::unique_ptr<domain>>& domains, vfio_group& group);
/// Takes a group out of its domain, which goes with its last group.
void leave_domain(std::vector<std::unique_ptr<domain>>& domains, vfio_group& group);
}  // namespace detail

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/iommu_driver.hpp>
#endif
