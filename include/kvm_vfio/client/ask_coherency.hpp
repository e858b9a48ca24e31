// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The questions to the kernel from which a prediction of coherency is made.

#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/iova_range.hpp>
#include <kvm_vfio/native/path.hpp>
#include <kvm_vfio/native/sysfs_entry.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>

namespace kvm_vfio::client::detail {

/// Returns the reason that the extended capability register of Intel's IOMMU gives.
[[nodiscard]] constexpr coherency_reason snoops(std::uint64_t ecap) noexcept {
  return ecap & uapi::vtd_ecap_snoop_control ? coherency_reason::iommu_enforces
                                             : coherency_reason::iommu_does_not_enforce;
}

/// Predicts for a group in a container with an IOMMU driver. Makes at most three ioctls.
/// \param container the container
/// \param alone     whether the container certainly has no other group
/// \par Errors
/// - each error of VFIO_CHECK_EXTENSION and of `native::vfio::basic_type1_info_ref::iommu_info`
template <system System>
[[nodiscard]] result<coherency_forecast> forecast_group(
    const native::vfio::basic_container_ref<System>& container, bool alone) noexcept {
  using enum coherency_reason;
  const auto enforced = container.check_extension(VFIO_DMA_CC_IOMMU);
  if (!enforced) return enforced.error();
  if (!*enforced) return coherency_forecast{alone ? iommu_does_not_enforce : other_groups};
  // The container answers for its domains, and mediated devices have none. The kernel refuses this
  // extension to a container with mediated devices, and an iommufd refuses it to every container.
  const auto all_real = container.check_extension(uapi::update_vaddr_extension);
  if (!all_real) return all_real.error();
  if (*all_real) return coherency_forecast{iommu_enforces};
  if (!alone) return coherency_forecast{perhaps_mediated};
  // Without a domain, no aperture and no reserved region limits the IOVAs.
  native::vfio::iova_range first{};
  const auto info = container.iommu_info(&first, 1);
  if (!info) return info.error();
  const bool limited =
      info->ranges_known && !(info->ranges == 1 && first.first == 0 && first.last == UINT64_MAX);
  return coherency_forecast{limited ? iommu_enforces : perhaps_mediated};
}

/// Predicts for a device with a device file that need not be open, from sysfs. Opens one or two
/// paths and closes them again.
/// \param number the N of /dev/vfio/devices/vfioN
/// \param on     the system that has the device
/// \par Errors
/// - `errc::proto`: the register in sysfs is not a hexadecimal number
/// - each error of open(2) except `errc::noent`, and of read(2)
template <system System>
[[nodiscard]] result<coherency_forecast> forecast_unopened(unsigned number,
                                                           const System& on) noexcept {
  using enum coherency_reason;
  const auto entry = [number](const char* name) noexcept {
    native::path at;
    at << "/sys/class/vfio-dev/vfio" << number << "/device/" << name;
    return at;
  };
  const auto ecap = native::hexadecimal_entry(entry("iommu/intel-iommu/ecap").get(), on);
  if (ecap) return coherency_forecast{snoops(*ecap)};
  if (ecap.error() != errc::noent) return ecap.error();
  const errc mediated = native::find_entry(entry("mdev_type").get(), on);
  if (mediated != errc::ok && mediated != errc::noent) return mediated;
  return coherency_forecast{mediated == errc::ok ? no_iommu : iommu_not_described};
}

/// Predicts for a device that is bound to an iommufd. Makes one ioctl.
/// \param iommufd the iommufd
/// \param device  the number of the device in the iommufd
/// \par Errors
/// - each error of `native::vfio::basic_iommufd_ref::hardware` except `errc::noent`
template <system System>
[[nodiscard]] result<coherency_forecast> forecast_device(
    const native::vfio::basic_iommufd_ref<System>& iommufd, std::uint32_t device) noexcept {
  using enum coherency_reason;
  const auto found = iommufd.hardware(device);
  // The device is bound. So its number names something without an IOMMU.
  if (found.error() == errc::noent) return coherency_forecast{no_iommu};
  if (!found) return found.error();
  if (found->type != uapi::hw_info_type_intel_vtd) return coherency_forecast{iommu_not_described};
  return coherency_forecast{snoops(found->vtd_ecap)};
}

}  // namespace kvm_vfio::client::detail
