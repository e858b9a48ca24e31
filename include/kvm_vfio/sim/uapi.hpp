// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The user-space interface of VFIO and iommufd that the simulator answers: the system's
/// `<linux/vfio.h>`, and by our own names what headers of Linux 6.1 lack. Where the system's
/// headers have it, it is checked against ours.

#include <linux/ioctl.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif

namespace kvm_vfio::sim::uapi {

// Device files (character devices), since Linux 6.6.

/// The kernel's `vfio_device_bind_iommufd`, field by field.
struct device_bind_iommufd {
  /// As the kernel documents them.
  std::uint32_t argsz;
  std::uint32_t flags;
  std::int32_t iommufd;
  std::uint32_t out_devid;
};
/// The kernel's `vfio_device_attach_iommufd_pt`, field by field.
struct device_attach_iommufd_pt {
  /// As the kernel documents them.
  std::uint32_t argsz;
  std::uint32_t flags;
  std::uint32_t pt_id;
};
/// The kernel's `vfio_device_detach_iommufd_pt`, field by field.
struct device_detach_iommufd_pt {
  /// As the kernel documents them.
  std::uint32_t argsz;
  std::uint32_t flags;
};

/// Requests of a device file.
inline constexpr std::uint32_t request_bind_iommufd = _IO(VFIO_TYPE, VFIO_BASE + 18);
inline constexpr std::uint32_t request_attach_iommufd_pt = _IO(VFIO_TYPE, VFIO_BASE + 19);
inline constexpr std::uint32_t request_detach_iommufd_pt = _IO(VFIO_TYPE, VFIO_BASE + 20);

#ifdef VFIO_DEVICE_BIND_IOMMUFD
static_assert(request_bind_iommufd == VFIO_DEVICE_BIND_IOMMUFD);
static_assert(request_attach_iommufd_pt == VFIO_DEVICE_ATTACH_IOMMUFD_PT);
static_assert(request_detach_iommufd_pt == VFIO_DEVICE_DETACH_IOMMUFD_PT);
static_assert(offsetof(device_bind_iommufd, out_devid) ==
              offsetof(vfio_device_bind_iommufd, out_devid));
static_assert(offsetof(device_attach_iommufd_pt, pt_id) ==
              offsetof(vfio_device_attach_iommufd_pt, pt_id));
#endif

// iommufd, since Linux 6.2. Each struct starts with its size.

/// The kernel's `iommu_destroy`, field by field.
struct iommu_destroy {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t id;
};
/// The kernel's `iommu_ioas_alloc`, field by field.
struct iommu_ioas_alloc {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t out_ioas_id;
};
/// The kernel's `iommu_iova_range`, field by field.
struct iommu_iova_range {
  /// As the kernel documents them.
  std::uint64_t start;
  std::uint64_t last;
};
/// The kernel's `iommu_ioas_iova_ranges`, field by field.
struct iommu_ioas_iova_ranges {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint32_t num_iovas;
  std::uint32_t reserved;
  std::uint64_t allowed_iovas;
  std::uint64_t out_iova_alignment;
};
/// The kernel's `iommu_ioas_map`, field by field.
struct iommu_ioas_map {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t ioas_id;
  std::uint32_t reserved;
  std::uint64_t user_va;
  std::uint64_t length;
  std::uint64_t iova;
};
/// The kernel's `iommu_ioas_unmap`, field by field.
struct iommu_ioas_unmap {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint64_t iova;
  std::uint64_t length;
};
/// The kernel's `iommu_hwpt_alloc`, field by field.
struct iommu_hwpt_alloc {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t dev_id;
  std::uint32_t pt_id;
  std::uint32_t out_hwpt_id;
  std::uint32_t reserved;
  std::uint32_t data_type;
  std::uint32_t data_len;
  std::uint64_t data_uptr;
  std::uint32_t fault_id;
  std::uint32_t reserved2;
};
/// The kernel's `iommu_hw_info`, field by field.
struct iommu_hw_info {
  /// As the kernel documents them.
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t dev_id;
  std::uint32_t data_len;
  std::uint64_t data_uptr;
  std::uint32_t out_data_type;
  std::uint32_t reserved;
  std::uint64_t out_capabilities;
};

/// Flags of IOAS_MAP.
inline constexpr std::uint32_t map_fixed_iova = 1;
inline constexpr std::uint32_t map_writeable = 2;
inline constexpr std::uint32_t map_readable = 4;

/// The first request's number, and the requests of an iommufd.
inline constexpr std::uint32_t iommufd_base = 0x80;
inline constexpr std::uint32_t request_destroy = _IO(';', 0x80);
inline constexpr std::uint32_t request_ioas_alloc = _IO(';', 0x81);
inline constexpr std::uint32_t request_ioas_iova_ranges = _IO(';', 0x84);
inline constexpr std::uint32_t request_ioas_map = _IO(';', 0x85);
inline constexpr std::uint32_t request_ioas_unmap = _IO(';', 0x86);
inline constexpr std::uint32_t request_hwpt_alloc = _IO(';', 0x89);
inline constexpr std::uint32_t request_get_hw_info = _IO(';', 0x8a);

#ifdef IOMMU_HWPT_ALLOC
static_assert(request_destroy == IOMMU_DESTROY && sizeof(iommu_destroy) == sizeof(::iommu_destroy));
static_assert(request_ioas_alloc == IOMMU_IOAS_ALLOC &&
              sizeof(iommu_ioas_alloc) == sizeof(::iommu_ioas_alloc));
static_assert(request_ioas_iova_ranges == IOMMU_IOAS_IOVA_RANGES &&
              sizeof(iommu_ioas_iova_ranges) == sizeof(::iommu_ioas_iova_ranges));
static_assert(request_ioas_map == IOMMU_IOAS_MAP &&
              sizeof(iommu_ioas_map) == sizeof(::iommu_ioas_map));
static_assert(request_ioas_unmap == IOMMU_IOAS_UNMAP &&
              sizeof(iommu_ioas_unmap) == sizeof(::iommu_ioas_unmap));
static_assert(request_hwpt_alloc == IOMMU_HWPT_ALLOC &&
              offsetof(iommu_hwpt_alloc, data_uptr) == offsetof(::iommu_hwpt_alloc, data_uptr));
static_assert(request_get_hw_info == IOMMU_GET_HW_INFO &&
              offsetof(iommu_hw_info, out_capabilities) ==
                  offsetof(::iommu_hw_info, out_capabilities));
#endif

// KVM's TCE tables on POWER; `<linux/kvm.h>` has the struct on that architecture alone.

/// The kernel's `kvm_create_spapr_tce_64`, field by field.
struct create_spapr_tce_64 {
  /// As the kernel documents them.
  std::uint64_t liobn;
  std::uint32_t page_shift;
  std::uint32_t flags;
  std::uint64_t offset;  ///< in pages
  std::uint64_t size;    ///< in pages
};
/// Makes one, on a VM.
inline constexpr std::uint32_t request_create_spapr_tce_64 = _IOW(0xAE, 0xa8, create_spapr_tce_64);

}  // namespace kvm_vfio::sim::uapi
