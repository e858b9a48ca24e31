// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the system's VFIO headers may lack: the character devices of VFIO (Linux 6.6) and iommufd
/// (Linux 6.2). Checked against the headers that have it.

#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>
#endif

namespace kvm_vfio::native::vfio_uapi {

/// VFIO_DEVICE_BIND_IOMMUFD and its companions.
inline constexpr unsigned long device_bind_iommufd = _IO(VFIO_TYPE, VFIO_BASE + 18);
inline constexpr unsigned long device_attach_iommufd_pt = _IO(VFIO_TYPE, VFIO_BASE + 19);
inline constexpr unsigned long device_detach_iommufd_pt = _IO(VFIO_TYPE, VFIO_BASE + 20);

/// The first members of the kernel's structures; it takes any `argsz` from here on.
struct bind_iommufd {
  std::uint32_t argsz, flags;
  std::int32_t iommufd;
  std::uint32_t out_devid;
};
struct attach_iommufd_pt {
  std::uint32_t argsz, flags, pt_id;
};
struct detach_iommufd_pt {
  std::uint32_t argsz, flags;
};

/// iommufd's ioctls.
inline constexpr unsigned long iommu_destroy = _IO(';', 0x80);
inline constexpr unsigned long iommu_ioas_alloc = _IO(';', 0x81);
inline constexpr unsigned long iommu_ioas_map = _IO(';', 0x85);
inline constexpr unsigned long iommu_ioas_unmap = _IO(';', 0x86);

inline constexpr std::uint32_t map_fixed_iova = 1;
inline constexpr std::uint32_t map_writeable = 2;
inline constexpr std::uint32_t map_readable = 4;

struct destroy {
  std::uint32_t size, id;
};
struct ioas_alloc {
  std::uint32_t size, flags, out_ioas_id;
};
struct ioas_map {
  std::uint32_t size, flags, ioas_id, reserved;
  std::uint64_t user_va, length, iova;
};
struct ioas_unmap {
  std::uint32_t size, ioas_id;
  std::uint64_t iova, length;
};

#ifdef VFIO_DEVICE_BIND_IOMMUFD
static_assert(device_bind_iommufd == VFIO_DEVICE_BIND_IOMMUFD);
static_assert(device_attach_iommufd_pt == VFIO_DEVICE_ATTACH_IOMMUFD_PT);
static_assert(device_detach_iommufd_pt == VFIO_DEVICE_DETACH_IOMMUFD_PT);
static_assert(offsetof(bind_iommufd, iommufd) == offsetof(vfio_device_bind_iommufd, iommufd));
static_assert(offsetof(bind_iommufd, out_devid) == offsetof(vfio_device_bind_iommufd, out_devid));
static_assert(offsetof(attach_iommufd_pt, pt_id) == offsetof(vfio_device_attach_iommufd_pt, pt_id));
static_assert(sizeof(detach_iommufd_pt) <= sizeof(vfio_device_detach_iommufd_pt));
#endif
#ifdef IOMMU_IOAS_ALLOC
static_assert(iommu_destroy == IOMMU_DESTROY && iommu_ioas_alloc == IOMMU_IOAS_ALLOC);
static_assert(iommu_ioas_map == IOMMU_IOAS_MAP && iommu_ioas_unmap == IOMMU_IOAS_UNMAP);
static_assert(map_fixed_iova == IOMMU_IOAS_MAP_FIXED_IOVA);
static_assert(map_writeable == IOMMU_IOAS_MAP_WRITEABLE);
static_assert(map_readable == IOMMU_IOAS_MAP_READABLE);
static_assert(sizeof(destroy) == sizeof(::iommu_destroy));
static_assert(sizeof(ioas_alloc) == sizeof(::iommu_ioas_alloc));
static_assert(sizeof(ioas_map) == sizeof(::iommu_ioas_map));
static_assert(sizeof(ioas_unmap) == sizeof(::iommu_ioas_unmap));
static_assert(offsetof(ioas_map, user_va) == offsetof(::iommu_ioas_map, user_va));
static_assert(offsetof(ioas_map, iova) == offsetof(::iommu_ioas_map, iova));
static_assert(offsetof(ioas_unmap, iova) == offsetof(::iommu_ioas_unmap, iova));
#endif

}  // namespace kvm_vfio::native::vfio_uapi
