// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Which Linux's VFIO the world plays: the facts of a profile that are VFIO's, not kvm-vfio's.

#include <kvm_vfio/profile.hpp>

namespace kvm_vfio::sim {

/// The facts.
struct generation {
  const char* name;
  /// A group file answers with its container's VFIO_DMA_CC_IOMMU, true while it has no container;
  /// otherwise every device of the group must be able to enforce coherency.
  bool coherency_of_container;
  /// An opened device holds a reference on its VM.
  bool device_holds_vm;
  /// VFIO knows device files: character devices, and validity of what a group handed out.
  bool device_files;
  /// MAP_DMA and UNMAP_DMA past the last address say EOVERFLOW, not inval.
  bool says_overflow;
  /// The error interrupt is there without PCI Express too.
  bool always_error_irq;
};

/// The VFIO that belongs to a profile of kvm-vfio.
template <profile P>
[[nodiscard]] constexpr generation generation_of() noexcept {
  constexpr bool old = P::group_without_container_is_coherent;
  return {.name = P::name,
          .coherency_of_container = old,
          .device_holds_vm = !old,
          .device_files = !old,
          .says_overflow = !P::counts_assignments,
          .always_error_irq = !P::counts_assignments};
}

}  // namespace kvm_vfio::sim
