// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Which Linux's VFIO the world plays: the facts of a profile that are VFIO's, not kvm-vfio's.

#include <kvm_vfio/profile.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// The facts.
struct generation {
  /// For people ("Linux 7.3").
  const char* name;
  /// A group file answers with its container's VFIO_DMA_CC_IOMMU, true while it has no container;
  /// otherwise every device of the group must be able to enforce coherency.
  bool coherency_of_container;
  /// An opened device holds a reference on its VM.
  bool device_holds_vm;
  /// VFIO knows device files: character devices, and validity of what a group handed out.
  bool device_files;
  /// A capability starts at a multiple of eight bytes.
  bool aligned_capabilities;
  /// MAP_DMA: addresses that wrap are EOVERFLOW, before alignment is looked at; otherwise EINVAL.
  bool wrapping_overflows;
  /// A function that is not PCI Express has an error interrupt too.
  bool error_irq_always;
  /// Type 1 has nesting as an extension, whatever the IOMMUs can do.
  bool nesting;
  /// BIND_IOMMUFD looks at all of a struct that is longer than it knows: E2BIG.
  bool bind_checks_rest;
  /// Bytes of the longest vfio_device_info.
  std::uint32_t device_info_size;
};

/// The VFIO that belongs to a profile of kvm-vfio.
template <profile P>
[[nodiscard]] constexpr generation generation_of() noexcept {
  constexpr bool old = P::group_without_container_is_coherent;
  constexpr bool newest = !P::counts_assignments;
  return {.name = P::name,
          .coherency_of_container = old,
          .device_holds_vm = !old,
          .device_files = !old,
          .aligned_capabilities = !old,
          .wrapping_overflows = newest,
          .error_irq_always = newest,
          .nesting = !newest,
          .bind_checks_rest = newest,
          .device_info_size = old ? 20 : 24};
}

}  // namespace kvm_vfio::sim
