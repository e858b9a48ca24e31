// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The user-space interface of iommufd for page tables: dirty pages, faults, and virtual IOMMUs.
/// Older systems do not have all of it, so this header has its own definitions. If the system has
/// a request, the compiler checks that both agree.

#include <linux/ioctl.h>  // IWYU pragma: keep

#include <cstddef>  // IWYU pragma: keep
#include <cstdint>

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>  // IWYU pragma: export
#endif

namespace kvm_vfio::uapi {

/// The kernel's `iommu_hwpt_set_dirty_tracking`, field by field.
struct iommu_hwpt_set_dirty_tracking {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t hwpt_id;
  std::uint32_t reserved;
};
/// The kernel's `iommu_hwpt_get_dirty_bitmap`, field by field.
struct iommu_hwpt_get_dirty_bitmap {
  std::uint32_t size;
  std::uint32_t hwpt_id;
  std::uint32_t flags;
  std::uint32_t reserved;
  std::uint64_t iova;
  std::uint64_t length;
  std::uint64_t page_size;
  std::uint64_t data;
};
/// The kernel's `iommu_hwpt_invalidate`, field by field.
struct iommu_hwpt_invalidate {
  std::uint32_t size;
  std::uint32_t hwpt_id;
  std::uint64_t data_uptr;
  std::uint32_t data_type;
  std::uint32_t entry_len;
  std::uint32_t entry_num;
  std::uint32_t reserved;
};
/// The kernel's `iommu_fault_alloc`, field by field.
struct iommu_fault_alloc {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t out_fault_id;
  std::uint32_t out_fault_fd;
};
/// The kernel's `iommu_viommu_alloc`, field by field.
struct iommu_viommu_alloc {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t type;
  std::uint32_t dev_id;
  std::uint32_t hwpt_id;
  std::uint32_t out_viommu_id;
  std::uint32_t data_len;
  std::uint32_t reserved;
  std::uint64_t data_uptr;
};
/// The kernel's `iommu_vdevice_alloc`, field by field.
struct iommu_vdevice_alloc {
  std::uint32_t size;
  std::uint32_t viommu_id;
  std::uint32_t dev_id;
  std::uint32_t out_vdevice_id;
  std::uint64_t virt_id;
};
/// The kernel's `iommu_veventq_alloc`, field by field.
struct iommu_veventq_alloc {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t viommu_id;
  std::uint32_t type;
  std::uint32_t veventq_depth;
  std::uint32_t out_veventq_id;
  std::uint32_t out_veventq_fd;
  std::uint32_t reserved;
};
/// The kernel's `iommu_hw_queue_alloc`, field by field.
struct iommu_hw_queue_alloc {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t viommu_id;
  std::uint32_t type;
  std::uint32_t index;
  std::uint32_t out_hw_queue_id;
  std::uint64_t nesting_parent_iova;
  std::uint64_t length;
};

/// IOMMU_HWPT_SET_DIRTY_TRACKING: tracks the pages that devices write, or no longer.
inline constexpr std::uint32_t request_hwpt_set_dirty_tracking = _IO(';', 0x8b);
/// IOMMU_HWPT_GET_DIRTY_BITMAP: asks which pages devices have written.
inline constexpr std::uint32_t request_hwpt_get_dirty_bitmap = _IO(';', 0x8c);
/// IOMMU_HWPT_INVALIDATE: tells that a nested page table has changed.
inline constexpr std::uint32_t request_hwpt_invalidate = _IO(';', 0x8d);
/// IOMMU_FAULT_QUEUE_ALLOC: makes a queue for the faults of devices.
inline constexpr std::uint32_t request_fault_queue_alloc = _IO(';', 0x8e);
/// IOMMU_VIOMMU_ALLOC: makes a virtual IOMMU.
inline constexpr std::uint32_t request_viommu_alloc = _IO(';', 0x90);
/// IOMMU_VDEVICE_ALLOC: makes a device of a virtual IOMMU.
inline constexpr std::uint32_t request_vdevice_alloc = _IO(';', 0x91);
/// IOMMU_VEVENTQ_ALLOC: makes a queue for the events of a virtual IOMMU.
inline constexpr std::uint32_t request_veventq_alloc = _IO(';', 0x93);
/// IOMMU_HW_QUEUE_ALLOC: makes a command queue of a virtual IOMMU.
inline constexpr std::uint32_t request_hw_queue_alloc = _IO(';', 0x94);
/// IOMMU_IOAS_NOIOMMU_GET_PA: asks for a physical address (devices without an IOMMU).
inline constexpr std::uint32_t request_ioas_noiommu_get_pa = _IO(';', 0x95);

/// The size in bytes of a fault that is read from a fault queue (struct iommu_hwpt_pgfault).
inline constexpr std::size_t pgfault_size = 40;
/// The kernel's `iommu_hwpt_page_response`, field by field: what is written to a fault queue.
struct iommu_hwpt_page_response {
  std::uint32_t cookie;
  std::uint32_t code;
};

#ifdef IOMMU_FAULT_QUEUE_ALLOC
static_assert(request_hwpt_set_dirty_tracking == IOMMU_HWPT_SET_DIRTY_TRACKING &&
              sizeof(iommu_hwpt_set_dirty_tracking) == sizeof(::iommu_hwpt_set_dirty_tracking));
static_assert(request_hwpt_get_dirty_bitmap == IOMMU_HWPT_GET_DIRTY_BITMAP &&
              sizeof(iommu_hwpt_get_dirty_bitmap) == sizeof(::iommu_hwpt_get_dirty_bitmap));
static_assert(request_hwpt_invalidate == IOMMU_HWPT_INVALIDATE &&
              sizeof(iommu_hwpt_invalidate) == sizeof(::iommu_hwpt_invalidate));
static_assert(request_fault_queue_alloc == IOMMU_FAULT_QUEUE_ALLOC &&
              sizeof(iommu_fault_alloc) == sizeof(::iommu_fault_alloc) &&
              pgfault_size == sizeof(::iommu_hwpt_pgfault) &&
              sizeof(iommu_hwpt_page_response) == sizeof(::iommu_hwpt_page_response));
#endif
#ifdef IOMMU_HW_QUEUE_ALLOC
static_assert(request_viommu_alloc == IOMMU_VIOMMU_ALLOC &&
              request_vdevice_alloc == IOMMU_VDEVICE_ALLOC &&
              sizeof(iommu_vdevice_alloc) == sizeof(::iommu_vdevice_alloc));
static_assert(request_veventq_alloc == IOMMU_VEVENTQ_ALLOC &&
              sizeof(iommu_veventq_alloc) == sizeof(::iommu_veventq_alloc));
static_assert(request_hw_queue_alloc == IOMMU_HW_QUEUE_ALLOC &&
              sizeof(iommu_hw_queue_alloc) == sizeof(::iommu_hw_queue_alloc));
#endif

}  // namespace kvm_vfio::uapi
