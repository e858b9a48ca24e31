// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The user-space interface of VFIO. This header includes `<linux/vfio.h>`. It has the definitions
/// that the system's header lacks in some releases. If the system's header has them, the compiler
/// checks that both agree.

#include <linux/ioctl.h>  // IWYU pragma: keep
#include <linux/vfio.h>   // IWYU pragma: export

#include <cstddef>  // IWYU pragma: keep
#include <cstdint>

namespace kvm_vfio::uapi {

/// The extension VFIO_TYPE1_NESTING_IOMMU. The header of Linux 7.3 no longer has it.
inline constexpr std::uint64_t nesting_extension = 6;
/// The extension VFIO_UNMAP_ALL (since Linux 5.12).
inline constexpr std::uint64_t unmap_all_extension = 9;
/// The extension VFIO_UPDATE_VADDR (since Linux 5.12).
inline constexpr std::uint64_t update_vaddr_extension = 10;
/// VFIO_DMA_MAP_FLAG_VADDR (since Linux 5.12): the call gives a new address to a mapping.
inline constexpr std::uint32_t dma_map_vaddr = 1U << 2;
/// VFIO_DMA_UNMAP_FLAG_ALL (since Linux 5.12): the call unmaps all mappings.
inline constexpr std::uint32_t dma_unmap_all = 1U << 1;
/// VFIO_DMA_UNMAP_FLAG_VADDR (since Linux 5.12): the mappings stay, but lose their addresses.
inline constexpr std::uint32_t dma_unmap_vaddr = 1U << 2;
#ifdef VFIO_TYPE1_NESTING_IOMMU
static_assert(nesting_extension == VFIO_TYPE1_NESTING_IOMMU);
#endif
#ifdef VFIO_DMA_UNMAP_FLAG_ALL
static_assert(unmap_all_extension == VFIO_UNMAP_ALL && dma_unmap_all == VFIO_DMA_UNMAP_FLAG_ALL);
static_assert(update_vaddr_extension == VFIO_UPDATE_VADDR &&
              dma_map_vaddr == VFIO_DMA_MAP_FLAG_VADDR &&
              dma_unmap_vaddr == VFIO_DMA_UNMAP_FLAG_VADDR);
#endif

// The requests of character devices, since Linux 6.6.

/// The kernel's `vfio_device_bind_iommufd`, field by field.
struct device_bind_iommufd {
  std::uint32_t argsz;
  std::uint32_t flags;
  std::int32_t iommufd;
  std::uint32_t out_devid;
};
/// The flag VFIO_DEVICE_BIND_FLAG_TOKEN (Linux 7.3 has it): the struct is a
/// `device_bind_iommufd_token`.
inline constexpr std::uint32_t bind_flag_token = 1U << 0;
/// The kernel's `vfio_device_bind_iommufd` with its last member, which old headers lack.
struct device_bind_iommufd_token {
  device_bind_iommufd bind;      ///< its argsz is the size of both members
  std::uint64_t token_uuid_ptr;  ///< the address of the 16 bytes of the token
};
/// The kernel's `vfio_device_attach_iommufd_pt`, field by field.
struct device_attach_iommufd_pt {
  std::uint32_t argsz;
  std::uint32_t flags;
  std::uint32_t pt_id;
};
/// The kernel's `vfio_device_detach_iommufd_pt`, field by field.
struct device_detach_iommufd_pt {
  std::uint32_t argsz;
  std::uint32_t flags;
};

/// VFIO_DEVICE_BIND_IOMMUFD: opens the device and binds it to an iommufd.
inline constexpr std::uint32_t request_bind_iommufd = _IO(VFIO_TYPE, VFIO_BASE + 18);
/// VFIO_DEVICE_ATTACH_IOMMUFD_PT: attaches the device to an IOAS or to a page table.
inline constexpr std::uint32_t request_attach_iommufd_pt = _IO(VFIO_TYPE, VFIO_BASE + 19);
/// VFIO_DEVICE_DETACH_IOMMUFD_PT: detaches the device.
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
#ifdef VFIO_DEVICE_BIND_FLAG_TOKEN
static_assert(bind_flag_token == VFIO_DEVICE_BIND_FLAG_TOKEN);
static_assert(sizeof(device_bind_iommufd_token) == sizeof(vfio_device_bind_iommufd) &&
              offsetof(device_bind_iommufd_token, token_uuid_ptr) ==
                  offsetof(vfio_device_bind_iommufd, token_uuid_ptr));
#endif

}  // namespace kvm_vfio::uapi
