// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The structs of kvm-vfio's ioctls, as a VMM fills them in.

#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace support {

/// Returns an attribute of group KVM_DEV_VFIO_FILE whose argument lies at `address`.
/// \param number for example `uapi::dev_vfio_file_add`
[[nodiscard]] constexpr kvm_device_attr file_attribute(std::uint64_t number,
                                                       std::uint64_t address = 0) noexcept {
  return {.flags = 0, .group = kvm_vfio::uapi::dev_vfio_file, .attr = number, .addr = address};
}

/// Returns an object's address as a number.
template <class T>
[[nodiscard]] std::uintptr_t address_of(T& object) noexcept {
  return reinterpret_cast<std::uintptr_t>(&object);
}

/// Returns the argument of KVM_CREATE_DEVICE for a kvm-vfio device.
/// \param flags 0, or `uapi::create_device_test`
[[nodiscard]] constexpr kvm_create_device create_argument(std::uint32_t flags = 0) noexcept {
  return {.type = kvm_vfio::uapi::dev_type_vfio, .fd = 0, .flags = flags};
}

}  // namespace support
