// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The state that all of VFIO's files of one world share.

#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/world_options.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

class container;
struct iommufd_shared;

/// The state that all files of one world share.
struct vfio_state {
  /// The Linux release whose VFIO is simulated.
  linux_release release;
  /// The settings of the world that are not part of the topology.
  world_options options;
  /// The world's lock. Every operation on VFIO's objects holds it.
  mutable trace::mutex lock{};
  /// The containers that exist, in the order of creation. The lock guards the list.
  std::vector<const container*> containers{};
  /// The state of the iommufds of the world.
  iommufd_shared* iommufds = nullptr;
  /// Whether VFIO's no-IOMMU mode is on (the module parameter `enable_unsafe_noiommu_mode`).
  bool noiommu_mode = false;
  /// How often a group joined or left a container, or a container got an IOMMU driver. Atomic.
  alignas(8) std::uint64_t container_changes = 0;

  /// Counts a change of a container. Call this function after the change.
  void container_changed() noexcept { __atomic_fetch_add(&container_changes, 1, __ATOMIC_RELEASE); }
};

}  // namespace kvm_vfio::sim
