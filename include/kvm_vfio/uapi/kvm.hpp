// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The constants of KVM's user-space interface that this library uses. They have names of their
/// own, because `<linux/kvm.h>` from before Linux 6.6 lacks some names. It has only
/// KVM_DEV_VFIO_GROUP for the attribute group. Where the header has a name, a static_assert
/// compares the values.

#include <linux/kvm.h>

#include <cstdint>

namespace kvm_vfio::uapi {

/// The attribute group of the tracked files (KVM_DEV_VFIO_FILE, formerly KVM_DEV_VFIO_GROUP).
inline constexpr std::uint32_t dev_vfio_file = 1;
/// Attribute: track a VFIO file. `addr` points to a descriptor of type int32.
inline constexpr std::uint64_t dev_vfio_file_add = 1;
/// Attribute: stop tracking a VFIO file. `addr` points to a descriptor of type int32.
inline constexpr std::uint64_t dev_vfio_file_del = 2;
/// Attribute of POWER only: attach a group to a TCE table. `addr` points to a `kvm_vfio_spapr_tce`.
inline constexpr std::uint64_t dev_vfio_group_set_spapr_tce = 3;

static_assert(dev_vfio_file == KVM_DEV_VFIO_GROUP);
static_assert(dev_vfio_file_add == KVM_DEV_VFIO_GROUP_ADD);
static_assert(dev_vfio_file_del == KVM_DEV_VFIO_GROUP_DEL);
static_assert(dev_vfio_group_set_spapr_tce == KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE);
#ifdef KVM_DEV_VFIO_FILE
static_assert(dev_vfio_file == KVM_DEV_VFIO_FILE);
static_assert(dev_vfio_file_add == KVM_DEV_VFIO_FILE_ADD);
static_assert(dev_vfio_file_del == KVM_DEV_VFIO_FILE_DEL);
#endif

/// The device type of kvm-vfio in KVM_CREATE_DEVICE.
inline constexpr std::uint32_t dev_type_vfio = KVM_DEV_TYPE_VFIO;
/// A flag of KVM_CREATE_DEVICE: ask whether the type exists, and make no device.
inline constexpr std::uint32_t create_device_test = KVM_CREATE_DEVICE_TEST;

// The ioctl requests have 32 bits, because the kernel ignores the other bits of its argument.
// User space may pass these bits set, when it sign-extends a request.

/// The ioctl request of a VM that makes a device.
inline constexpr std::uint32_t create_device = KVM_CREATE_DEVICE;
/// The ioctl request of a device that sets an attribute.
inline constexpr std::uint32_t set_device_attr = KVM_SET_DEVICE_ATTR;
/// The ioctl request of a device that reads an attribute. kvm-vfio does not support it.
inline constexpr std::uint32_t get_device_attr = KVM_GET_DEVICE_ATTR;
/// The ioctl request of a device that asks whether an attribute exists.
inline constexpr std::uint32_t has_device_attr = KVM_HAS_DEVICE_ATTR;

// KVM's TCE tables on POWER; `<linux/kvm.h>` has the struct on that architecture alone.

/// The kernel's `kvm_create_spapr_tce_64`, field by field.
struct create_spapr_tce_64 {
  std::uint64_t liobn;
  std::uint32_t page_shift;
  std::uint32_t flags;
  std::uint64_t offset;  ///< in pages
  std::uint64_t size;    ///< in pages
};
/// Makes one, on a VM.
inline constexpr std::uint32_t request_create_spapr_tce_64 = _IOW(0xAE, 0xa8, create_spapr_tce_64);

}  // namespace kvm_vfio::uapi
