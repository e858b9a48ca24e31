// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The constants of KVM's user-space interface that this library speaks, by names that every
/// supported `<linux/kvm.h>` can carry. Headers older than Linux 6.6 know the attribute group as
/// KVM_DEV_VFIO_GROUP only; where the system's headers have a name, it is checked against ours.

#include <linux/kvm.h>

#include <cstdint>

namespace kvm_vfio::uapi {

/// Attribute group of the tracked files (KVM_DEV_VFIO_FILE, formerly KVM_DEV_VFIO_GROUP).
inline constexpr std::uint32_t dev_vfio_file = 1;
/// Attribute: track a VFIO file. `addr` points to an int32 descriptor.
inline constexpr std::uint64_t dev_vfio_file_add = 1;
/// Attribute: stop tracking a VFIO file. `addr` points to an int32 descriptor.
inline constexpr std::uint64_t dev_vfio_file_del = 2;
/// Attribute, POWER only: attach a TCE table. `addr` points to a `kvm_vfio_spapr_tce`.
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

/// Device type of kvm-vfio in KVM_CREATE_DEVICE.
inline constexpr std::uint32_t dev_type_vfio = KVM_DEV_TYPE_VFIO;
/// Flag of KVM_CREATE_DEVICE: only ask whether the type exists.
inline constexpr std::uint32_t create_device_test = KVM_CREATE_DEVICE_TEST;

/// ioctl requests, 32 bits wide as the kernel takes them: user space may hand over a
/// sign-extended `unsigned long`.
inline constexpr std::uint32_t create_device = KVM_CREATE_DEVICE;
inline constexpr std::uint32_t set_device_attr = KVM_SET_DEVICE_ATTR;
inline constexpr std::uint32_t get_device_attr = KVM_GET_DEVICE_ATTR;
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
