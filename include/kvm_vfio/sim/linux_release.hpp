// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What differs in VFIO and iommufd between the Linux releases that are simulated.

#include <kvm_vfio/profile.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// The facts of one Linux release.
struct linux_release {
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

// The written table: one column for each release.

/// VFIO and iommufd of Linux 6.1.
inline constexpr linux_release vfio_6_1{.name = "Linux 6.1",
                                        .coherency_of_container = true,
                                        .device_holds_vm = false,
                                        .device_files = false,
                                        .aligned_capabilities = false,
                                        .wrapping_overflows = false,
                                        .error_irq_always = false,
                                        .nesting = true,
                                        .bind_checks_rest = false,
                                        .device_info_size = 20};
/// VFIO and iommufd of Linux 6.12.
inline constexpr linux_release vfio_6_12{.name = "Linux 6.12",
                                         .coherency_of_container = false,
                                         .device_holds_vm = true,
                                         .device_files = true,
                                         .aligned_capabilities = true,
                                         .wrapping_overflows = false,
                                         .error_irq_always = false,
                                         .nesting = true,
                                         .bind_checks_rest = false,
                                         .device_info_size = 24};
/// VFIO and iommufd of Linux 7.3.
inline constexpr linux_release vfio_7_3{.name = "Linux 7.3",
                                        .coherency_of_container = false,
                                        .device_holds_vm = true,
                                        .device_files = true,
                                        .aligned_capabilities = true,
                                        .wrapping_overflows = true,
                                        .error_irq_always = true,
                                        .nesting = false,
                                        .bind_checks_rest = true,
                                        .device_info_size = 24};

namespace detail {
constexpr const linux_release& vfio_of(const linux_6_1*) noexcept { return vfio_6_1; }
constexpr const linux_release& vfio_of(const linux_6_12*) noexcept { return vfio_6_12; }
constexpr const linux_release& vfio_of(const linux_7_3*) noexcept { return vfio_7_3; }
}  // namespace detail

/// The VFIO that belongs to a profile of kvm-vfio: of one of the library's, or of yours that
/// derives from one. What such a profile changes is kvm-vfio's; VFIO stays as its release has it.
/// For another VFIO give `world` a `linux_release` of your own.
template <profile P>
[[nodiscard]] constexpr linux_release release_of() noexcept {
  static_assert(
      requires { detail::vfio_of(static_cast<const P*>(nullptr)); },
      "the profile must be linux_6_1, linux_6_12 or linux_7_3, or derive from one of them");
  return detail::vfio_of(static_cast<const P*>(nullptr));
}

}  // namespace kvm_vfio::sim
