// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Resets a VFIO device, alone or together with the devices that share its bus or slot.
/// `vfio::device_ref` has these functions.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/device_irqs.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// A device that a hot reset resets, too. The kernel's `vfio_pci_dependent_device`, field by field.
struct dependent_device {
  std::uint32_t id;       ///< the group's number, or the device's number in the iommufd
  std::uint16_t segment;  ///< the PCI segment
  std::uint8_t bus;       ///< the PCI bus
  std::uint8_t devfn;     ///< the PCI slot (upper 5 bits) and function (lower 3 bits)
};
static_assert(sizeof(dependent_device) == sizeof(vfio_pci_dependent_device) &&
              offsetof(dependent_device, devfn) == offsetof(vfio_pci_dependent_device, devfn));

/// The facts of VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.
struct hot_reset_info {
  std::size_t count = 0;            ///< the number of devices that the reset concerns
  bool ids_are_of_iommufd = false;  ///< whether `dependent_device::id` is a number in the iommufd
  bool owned = false;  ///< whether the iommufd owns all devices, so that the reset is allowed
};

/// The part of `basic_device_ref` that resets the device. Each function makes one ioctl and
/// allocates nothing.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_device_reset_ref : public basic_device_irqs_ref<System> {
 public:
  using basic_device_irqs_ref<System>::basic_device_irqs_ref;

  /// Resets the device alone (VFIO_DEVICE_RESET).
  /// \par Errors
  /// - `errc::inval`: the device cannot be reset alone (`device_info::can_reset`), or it is not
  ///   bound to an iommufd yet
  /// - `errc::again`: the device is locked; the caller may try again
  /// - each other error of ioctl(2)
  [[nodiscard]] errc reset() const noexcept { return this->request(VFIO_DEVICE_RESET).error(); }
  /// Asks which devices a hot reset of this device resets (VFIO_DEVICE_GET_PCI_HOT_RESET_INFO).
  /// \param devices  receives the devices
  /// \param capacity the number of devices that the array can hold
  /// \par Errors
  /// - `errc::nospc`: there are more devices than `capacity`, or than 512; nothing is received
  /// - `errc::nodev`: the device has no hot reset
  /// - `errc::notty`: the device is not a PCI device
  /// - `errc::proto`: the kernel counts more devices than the answer can hold
  [[nodiscard]] result<hot_reset_info> hot_reset_devices(dependent_device* devices,
                                                         std::size_t capacity) const noexcept {
    constexpr std::size_t most = 512;
    constexpr std::uint32_t ids_are_of_iommufd = 1U << 0;  // VFIO_PCI_HOT_RESET_FLAG_DEV_ID
    constexpr std::uint32_t owned = 1U << 1;               // VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED
    struct {
      std::uint32_t argsz;
      std::uint32_t flags;
      std::uint32_t count;
      dependent_device devices[most];
    } answer{};
    static_assert(offsetof(decltype(answer), devices) == sizeof(vfio_pci_hot_reset_info));
    const std::size_t asked = capacity < most ? capacity : most;
    answer.argsz = static_cast<std::uint32_t>(sizeof(vfio_pci_hot_reset_info) +
                                              asked * sizeof(dependent_device));
    if (const auto done = this->request(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &answer); !done)
      return done.error();
    if (answer.count > asked) return errc::proto;
    for (std::size_t i = 0; i < answer.count; ++i) devices[i] = answer.devices[i];
    return hot_reset_info{.count = answer.count,
                          .ids_are_of_iommufd = (answer.flags & ids_are_of_iommufd) != 0,
                          .owned = (answer.flags & owned) != 0};
  }
  /// Resets the device and all devices that share its bus or slot (VFIO_DEVICE_PCI_HOT_RESET).
  /// \param groups the descriptors of the groups of all these devices. A device that is bound to an
  ///               iommufd needs none, because the iommufd owns them (from Linux 6.6 on).
  /// \param count  the number of descriptors, at most 512
  /// \par Errors
  /// - `errc::inval`: `count` is more than 512 or than the number of devices; a descriptor is
  ///   missing or is not a group; or the iommufd does not own all devices
  /// - `errc::badf`: a descriptor is not open
  /// - `errc::nodev`: the device has no hot reset
  /// - `errc::notty`: the device is not a PCI device
  [[nodiscard]] errc hot_reset(const int* groups, std::size_t count) const noexcept {
    constexpr std::size_t most = 512;
    if (count > most) return errc::inval;
    struct {
      std::uint32_t argsz;
      std::uint32_t flags;
      std::uint32_t count;
      std::int32_t groups[most];
    } reset;  // only the descriptors that are used are initialised
    static_assert(offsetof(decltype(reset), groups) == sizeof(vfio_pci_hot_reset));
    reset.argsz =
        static_cast<std::uint32_t>(sizeof(vfio_pci_hot_reset) + count * sizeof(std::int32_t));
    reset.flags = 0;
    reset.count = static_cast<std::uint32_t>(count);
    for (std::size_t i = 0; i < count; ++i) reset.groups[i] = groups[i];
    return this->request(VFIO_DEVICE_PCI_HOT_RESET, &reset).error();
  }
};

}  // namespace kvm_vfio::native::vfio
