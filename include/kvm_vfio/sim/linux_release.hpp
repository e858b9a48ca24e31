// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The differences between the Linux releases that the simulator knows. All of them are in VFIO or
/// in iommufd.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/profile.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// The behaviour of VFIO and iommufd in one Linux release.
struct linux_release {
  /// The name of the release ("Linux 7.3").
  const char* name;
  /// How VFIO decides whether the file of a group is enforced coherent. True: the container of the
  /// group decides (VFIO_DMA_CC_IOMMU), and a group without a container counts as coherent. False:
  /// every device of the group must be able to enforce coherency.
  bool coherency_of_container;
  /// Whether an open device holds a reference on its VM.
  bool device_holds_vm;
  /// Whether VFIO has character devices, and kvm-vfio may track device files.
  bool device_files;
  /// Whether each capability of an info struct starts at a multiple of eight bytes.
  bool aligned_capabilities;
  /// Whether VFIO_IOMMU_MAP_DMA and VFIO_IOMMU_UNMAP_DMA refuse addresses that wrap around with
  /// EOVERFLOW. MAP_DMA then does so before it checks the alignment. False: they refuse such
  /// addresses with EINVAL.
  bool wrapping_overflows;
  /// Whether a function that is not PCI Express has an error interrupt, too.
  bool error_irq_always;
  /// Whether the type 1 driver reports nesting as an extension.
  bool nesting;
  /// Whether VFIO_DEVICE_BIND_IOMMUFD reads the whole struct that `argsz` announces, and refuses
  /// unknown members that are not zero with E2BIG.
  bool bind_checks_rest;
  /// Whether the ioctls that attach and detach device files know PASIDs. No simulated device can be
  /// attached with a PASID.
  bool pasids;
  /// Whether VFIO_DEVICE_BIND_IOMMUFD knows the flag VFIO_DEVICE_BIND_FLAG_TOKEN, and checks the
  /// token of a virtual function. False: a device file needs no token.
  bool bind_tokens;
  /// Whether VFIO_DEVICE_FEATURE refuses VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 with EINVAL, also
  /// for a device that cannot migrate. False: ENOTTY, as other features of migration.
  bool precopy_info;
  /// Whether SET_IRQS of the error and of the request interrupt accepts a descriptor below -1, and
  /// changes nothing. False: EINVAL.
  bool accepts_low_events;
  /// Whether KVM reports KVM_CAP_DEVICE_CTRL on x86. KVM_CREATE_DEVICE works in any case.
  bool device_control;
  /// Whether an eventfd can have only one irqfd (KVM_IRQFD) in all VMs together. False: it can have
  /// one in each VM.
  bool exclusive_irqfds;
  /// Whether a write to an eventfd must have exactly eight bytes. False: eight or more.
  bool exact_eventfds;
  /// The error with which a group is refused whose IOMMU has a region of the type `direct`.
  errc direct_error;
  /// Whether IOMMU_GET_HW_INFO says that a device has no address translation service
  /// (IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED).
  bool reports_ats;
  /// Whether iommufd knows IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_CHANGE_PROCESS, virtual IOMMUs, page
  /// tables for PASIDs and for faults, and the flag of IOMMU_GET_HW_INFO that asks for a type.
  bool maps_files;
  /// Whether the vectors of an armed MSI-X interrupt may become more. False: SET_IRQS refuses
  /// vectors behind those that armed it with EINVAL, as always for MSI.
  bool dynamic_msix;
  /// Whether each VFIO_GROUP_GET_DEVICE_FD of a device without an IOMMU needs CAP_SYS_RAWIO. False:
  /// only the one that opens the device first.
  bool rawio_at_each_open;
  /// Whether a device without an IOMMU has a device file, /dev/vfio/devices/noiommu-vfioN.
  bool noiommu_device_files;
  /// The size in bytes of the longest vfio_device_info and vfio_iommu_type1_info that VFIO writes.
  std::uint32_t info_size;
  /// Whether VFIO writes these two structs only in steps: the first 16 bytes, or `info_size` bytes.
  /// False: VFIO writes as many bytes as `argsz` says, but not more than `info_size`.
  bool info_in_steps;

  /// Returns how many bytes of a vfio_device_info or vfio_iommu_type1_info VFIO writes.
  /// \param argsz the size that the caller gives, at least 16 bytes
  [[nodiscard]] constexpr std::uint32_t info_written(std::uint32_t argsz) const noexcept {
    if (argsz >= info_size) return info_size;
    return info_in_steps ? 16 : argsz;
  }
};

// The table of the differences: one object for each release.

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
                                        .pasids = false,
                                        .bind_tokens = false,
                                        .precopy_info = false,
                                        .accepts_low_events = true,
                                        .device_control = false,
                                        .exclusive_irqfds = false,
                                        .exact_eventfds = false,
                                        .direct_error = errc::perm,
                                        .reports_ats = false,
                                        .maps_files = false,
                                        .dynamic_msix = false,
                                        .rawio_at_each_open = true,
                                        .noiommu_device_files = false,
                                        .info_size = 20,
                                        .info_in_steps = true};
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
                                         .pasids = false,
                                         .bind_tokens = false,
                                         .precopy_info = false,
                                         .accepts_low_events = false,
                                         .device_control = true,
                                         .exclusive_irqfds = false,
                                         .exact_eventfds = true,
                                         .direct_error = errc::inval,
                                         .reports_ats = false,
                                         .maps_files = false,
                                         .dynamic_msix = true,
                                         .rawio_at_each_open = false,
                                         .noiommu_device_files = false,
                                         .info_size = 24,
                                         .info_in_steps = false};
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
                                        .pasids = true,
                                        .bind_tokens = true,
                                        .precopy_info = true,
                                        .accepts_low_events = false,
                                        .device_control = true,
                                        .exclusive_irqfds = true,
                                        .exact_eventfds = true,
                                        .direct_error = errc::inval,
                                        .reports_ats = true,
                                        .maps_files = true,
                                        .dynamic_msix = true,
                                        .rawio_at_each_open = false,
                                        .noiommu_device_files = true,
                                        .info_size = 24,
                                        .info_in_steps = false};

namespace detail {
constexpr const linux_release& vfio_of(const linux_6_1*) noexcept { return vfio_6_1; }
constexpr const linux_release& vfio_of(const linux_6_12*) noexcept { return vfio_6_12; }
constexpr const linux_release& vfio_of(const linux_7_3*) noexcept { return vfio_7_3; }
}  // namespace detail

/// The VFIO that belongs to a profile of kvm-vfio. A profile of your own must derive from a profile
/// of the library, and gets the VFIO of that one. Such a profile changes kvm-vfio only. For another
/// VFIO pass a `linux_release` of your own to `world`.
template <profile P>
[[nodiscard]] constexpr linux_release release_of() noexcept {
  static_assert(
      requires { detail::vfio_of(static_cast<const P*>(nullptr)); },
      "the profile must be linux_6_1, linux_6_12 or linux_7_3, or derive from one of them");
  return detail::vfio_of(static_cast<const P*>(nullptr));
}

}  // namespace kvm_vfio::sim
