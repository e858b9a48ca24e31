// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The constants of KVM's user-space interface that this library uses. Before Linux 6.6
/// `<linux/kvm.h>` names the attribute group only KVM_DEV_VFIO_GROUP, so this header has names of
/// its own. If the system's header has a name, the compiler checks that both values agree.

#include <linux/kvm.h>  // IWYU pragma: export

#include <cstdint>

namespace kvm_vfio::uapi {

/// The attribute group of the tracked files (KVM_DEV_VFIO_FILE, before Linux 6.6
/// KVM_DEV_VFIO_GROUP).
inline constexpr std::uint32_t dev_vfio_file = 1;
/// The attribute FILE_ADD, which starts to track a VFIO file. `addr` points to the descriptor, an
/// int32.
inline constexpr std::uint64_t dev_vfio_file_add = 1;
/// The attribute FILE_DEL, which stops to track a VFIO file. `addr` points to the descriptor, an
/// int32.
inline constexpr std::uint64_t dev_vfio_file_del = 2;
/// The attribute GROUP_SET_SPAPR_TCE (only on POWER), which connects a tracked group to a TCE
/// table. `addr` points to a `kvm_vfio_spapr_tce`.
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
/// Flag of KVM_CREATE_DEVICE: the call only asks whether the type exists and makes no device.
inline constexpr std::uint32_t create_device_test = KVM_CREATE_DEVICE_TEST;

// The requests have 32 bits, because the kernel reads only these. User space may pass a larger
// number, for example one that was sign-extended to `unsigned long`.

/// The request KVM_CREATE_DEVICE of a VM descriptor.
inline constexpr std::uint32_t create_device = KVM_CREATE_DEVICE;
/// The request KVM_SET_DEVICE_ATTR of a device descriptor.
inline constexpr std::uint32_t set_device_attr = KVM_SET_DEVICE_ATTR;
/// The request KVM_GET_DEVICE_ATTR of a device descriptor.
inline constexpr std::uint32_t get_device_attr = KVM_GET_DEVICE_ATTR;
/// The request KVM_HAS_DEVICE_ATTR of a device descriptor.
inline constexpr std::uint32_t has_device_attr = KVM_HAS_DEVICE_ATTR;
/// The request KVM_CHECK_EXTENSION of a VM descriptor.
inline constexpr std::uint32_t check_extension = KVM_CHECK_EXTENSION;
/// The request KVM_IRQFD of a VM descriptor.
inline constexpr std::uint32_t irqfd = KVM_IRQFD;

// TCE tables of KVM. `<linux/kvm.h>` has these structs only on POWER.

/// The kernel's `kvm_create_spapr_tce_64`, field by field.
struct create_spapr_tce_64 {
  std::uint64_t liobn;
  std::uint32_t page_shift;
  std::uint32_t flags;
  std::uint64_t offset;  ///< the first IOVA, in pages
  std::uint64_t size;    ///< the size, in pages
};
/// The request KVM_CREATE_SPAPR_TCE_64 of a VM descriptor: makes a TCE table.
inline constexpr std::uint32_t request_create_spapr_tce_64 = _IOW(0xAE, 0xa8, create_spapr_tce_64);
/// The kernel's `kvm_create_spapr_tce`, field by field.
struct create_spapr_tce {
  std::uint64_t liobn;        ///< the number of the table
  std::uint32_t window_size;  ///< in bytes, from IOVA 0 on
};
/// The older request KVM_CREATE_SPAPR_TCE: makes a TCE table with pages of 4 KiB.
inline constexpr std::uint32_t request_create_spapr_tce = _IOW(0xAE, 0xa8, create_spapr_tce);

}  // namespace kvm_vfio::uapi
