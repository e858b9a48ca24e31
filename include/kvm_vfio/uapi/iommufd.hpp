// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The user-space interface of iommufd (since Linux 6.2). Older systems do not have
/// `<linux/iommufd.h>`, so this header has its own definitions. If the system has the header, the
/// compiler checks that both agree.

#include <linux/ioctl.h>  // IWYU pragma: keep

#include <cstddef>  // IWYU pragma: keep
#include <cstdint>

#if __has_include(<linux/iommufd.h>)
#include <linux/iommufd.h>  // IWYU pragma: export
#endif

namespace kvm_vfio::uapi {

// The first member of each struct of a request is the size of the struct in bytes.

/// The kernel's `iommu_destroy`, field by field.
struct iommu_destroy {
  std::uint32_t size;
  std::uint32_t id;
};
/// The kernel's `iommu_ioas_alloc`, field by field.
struct iommu_ioas_alloc {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t out_ioas_id;
};
/// The kernel's `iommu_iova_range`, field by field.
struct iommu_iova_range {
  std::uint64_t start;
  std::uint64_t last;
};
/// The kernel's `iommu_ioas_iova_ranges`, field by field.
struct iommu_ioas_iova_ranges {
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint32_t num_iovas;
  std::uint32_t reserved;
  std::uint64_t allowed_iovas;
  std::uint64_t out_iova_alignment;
};
/// The kernel's `iommu_ioas_map`, field by field.
struct iommu_ioas_map {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t ioas_id;
  std::uint32_t reserved;
  std::uint64_t user_va;
  std::uint64_t length;
  std::uint64_t iova;
};
/// The kernel's `iommu_ioas_map_file`, field by field.
struct iommu_ioas_map_file {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t ioas_id;
  std::int32_t fd;
  std::uint64_t start;
  std::uint64_t length;
  std::uint64_t iova;
};
/// The kernel's `iommu_ioas_change_process`, field by field.
struct iommu_ioas_change_process {
  std::uint32_t size;
  std::uint32_t reserved;
};
/// The kernel's `iommu_ioas_copy`, field by field.
struct iommu_ioas_copy {
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t dst_ioas_id;
  std::uint32_t src_ioas_id;
  std::uint64_t length;
  std::uint64_t dst_iova;
  std::uint64_t src_iova;
};
/// The kernel's `iommu_ioas_allow_iovas`, field by field.
struct iommu_ioas_allow_iovas {
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint32_t num_iovas;
  std::uint32_t reserved;
  std::uint64_t allowed_iovas;
};
/// The kernel's `iommu_option`, field by field.
struct iommu_option {
  std::uint32_t size;
  std::uint32_t option_id;
  std::uint16_t op;
  std::uint16_t reserved;
  std::uint32_t object_id;
  std::uint64_t val64;
};
/// The kernel's `iommu_ioas_unmap`, field by field.
struct iommu_ioas_unmap {
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint64_t iova;
  std::uint64_t length;
};
/// The kernel's `iommu_hwpt_alloc`, field by field.
struct iommu_hwpt_alloc {
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
  std::uint32_t size;
  std::uint32_t flags;
  std::uint32_t dev_id;
  std::uint32_t data_len;
  std::uint64_t data_uptr;
  std::uint32_t out_data_type;
  std::uint32_t reserved;
  std::uint64_t out_capabilities;
};
/// The kernel's `iommu_hw_info_vtd`, field by field.
struct iommu_hw_info_vtd {
  std::uint32_t flags;
  std::uint32_t reserved;
  std::uint64_t cap_reg;
  std::uint64_t ecap_reg;
};
/// The kernel's `iommu_vfio_ioas`, field by field.
struct iommu_vfio_ioas {
  std::uint32_t size;
  std::uint32_t ioas_id;
  std::uint16_t op;
  std::uint16_t reserved;
};

/// Operation of IOMMU_VFIO_IOAS: asks for the address space for VFIO (IOMMU_VFIO_IOAS_GET).
inline constexpr std::uint16_t vfio_ioas_get = 0;
/// Operation of IOMMU_VFIO_IOAS: chooses the address space for VFIO (IOMMU_VFIO_IOAS_SET).
inline constexpr std::uint16_t vfio_ioas_set = 1;
/// Operation of IOMMU_VFIO_IOAS: VFIO has no address space from now on (IOMMU_VFIO_IOAS_CLEAR).
inline constexpr std::uint16_t vfio_ioas_clear = 2;
/// Flag of IOMMU_HWPT_ALLOC: the page table can be the parent of a nested one
/// (IOMMU_HWPT_ALLOC_NEST_PARENT).
inline constexpr std::uint32_t hwpt_nest_parent = 1;
/// Flag of IOMMU_HWPT_ALLOC: the page table tells which pages devices have written
/// (IOMMU_HWPT_ALLOC_DIRTY_TRACKING).
inline constexpr std::uint32_t hwpt_dirty_tracking = 2;
/// Flag of IOMMU_HWPT_ALLOC: `fault_id` names a fault queue (IOMMU_HWPT_FAULT_ID_VALID).
inline constexpr std::uint32_t hwpt_fault_id_valid = 4;
/// Flag of IOMMU_HWPT_ALLOC: devices can be attached with a PASID (IOMMU_HWPT_ALLOC_PASID).
inline constexpr std::uint32_t hwpt_pasid = 8;
/// Flag of IOMMU_IOAS_MAP: the caller chooses the IOVA (IOMMU_IOAS_MAP_FIXED_IOVA).
inline constexpr std::uint32_t map_fixed_iova = 1;
/// Flag of IOMMU_IOAS_MAP: devices may write (IOMMU_IOAS_MAP_WRITEABLE).
inline constexpr std::uint32_t map_writeable = 2;
/// Flag of IOMMU_IOAS_MAP: devices may read (IOMMU_IOAS_MAP_READABLE).
inline constexpr std::uint32_t map_readable = 4;

/// IOMMU_DESTROY: destroys an object.
inline constexpr std::uint32_t request_destroy = _IO(';', 0x80);
/// IOMMU_IOAS_ALLOC: makes an I/O address space.
inline constexpr std::uint32_t request_ioas_alloc = _IO(';', 0x81);
/// IOMMU_IOAS_ALLOW_IOVAS: says between which IOVAs iommufd may choose.
inline constexpr std::uint32_t request_ioas_allow_iovas = _IO(';', 0x82);
/// IOMMU_IOAS_COPY: maps the memory of mappings at further addresses.
inline constexpr std::uint32_t request_ioas_copy = _IO(';', 0x83);
/// IOMMU_IOAS_IOVA_RANGES: asks which IOVAs an I/O address space can map.
inline constexpr std::uint32_t request_ioas_iova_ranges = _IO(';', 0x84);
/// IOMMU_IOAS_MAP: maps memory.
inline constexpr std::uint32_t request_ioas_map = _IO(';', 0x85);
/// IOMMU_IOAS_UNMAP: unmaps memory.
inline constexpr std::uint32_t request_ioas_unmap = _IO(';', 0x86);
/// IOMMU_OPTION: tells or changes an option of an iommufd or of an I/O address space.
inline constexpr std::uint32_t request_option = _IO(';', 0x87);
/// IOMMU_VFIO_IOAS: tells or changes which address space answers VFIO's requests.
inline constexpr std::uint32_t request_vfio_ioas = _IO(';', 0x88);
/// IOMMU_HWPT_ALLOC: makes a page table.
inline constexpr std::uint32_t request_hwpt_alloc = _IO(';', 0x89);
/// IOMMU_GET_HW_INFO: asks for facts about the IOMMU of a device.
inline constexpr std::uint32_t request_get_hw_info = _IO(';', 0x8a);
/// IOMMU_IOAS_MAP_FILE: maps memory of a file, such as that of memfd_create(2).
inline constexpr std::uint32_t request_ioas_map_file = _IO(';', 0x8f);
/// IOMMU_IOAS_CHANGE_PROCESS: charges the caller for the memory of all mappings of files.
inline constexpr std::uint32_t request_ioas_change_process = _IO(';', 0x92);

/// Option of an iommufd: whose limit counts for locked memory, 0 the user's, 1 the process's
/// (IOMMU_OPTION_RLIMIT_MODE).
inline constexpr std::uint32_t option_rlimit_mode = 0;
/// Option of an I/O address space: whether page tables may have large pages
/// (IOMMU_OPTION_HUGE_PAGES).
inline constexpr std::uint32_t option_huge_pages = 1;
/// Changes an option (IOMMU_OPTION_OP_SET).
inline constexpr std::uint16_t option_set = 0;
/// Tells an option (IOMMU_OPTION_OP_GET).
inline constexpr std::uint16_t option_get = 1;

/// Type of IOMMU_GET_HW_INFO: the kernel does not describe the IOMMU (IOMMU_HW_INFO_TYPE_NONE).
inline constexpr std::uint32_t hw_info_type_none = 0;
/// Type of IOMMU_GET_HW_INFO: the IOMMU is Intel's, and an `iommu_hw_info_vtd` describes it
/// (IOMMU_HW_INFO_TYPE_INTEL_VTD).
inline constexpr std::uint32_t hw_info_type_intel_vtd = 1;
/// Flag of `iommu_hw_info_vtd`, which Linux always sets (IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17).
inline constexpr std::uint32_t hw_info_vtd_errata_772415_spr17 = 1;
/// Bit of `iommu_hw_info::out_capabilities`: the device has no address translation service
/// (IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED, since Linux 7.3).
inline constexpr std::uint64_t hw_cap_pci_ats_not_supported = 8;
/// Bit of the extended capability register of Intel's IOMMUs: snoop control.
inline constexpr std::uint64_t vtd_ecap_snoop_control = std::uint64_t{1} << 7;

#ifdef IOMMU_HWPT_ALLOC
static_assert(request_destroy == IOMMU_DESTROY && sizeof(iommu_destroy) == sizeof(::iommu_destroy));
static_assert(request_ioas_alloc == IOMMU_IOAS_ALLOC &&
              sizeof(iommu_ioas_alloc) == sizeof(::iommu_ioas_alloc));
static_assert(request_ioas_iova_ranges == IOMMU_IOAS_IOVA_RANGES &&
              sizeof(iommu_ioas_iova_ranges) == sizeof(::iommu_ioas_iova_ranges));
static_assert(request_ioas_map == IOMMU_IOAS_MAP &&
              sizeof(iommu_ioas_map) == sizeof(::iommu_ioas_map));
static_assert(request_ioas_copy == IOMMU_IOAS_COPY &&
              sizeof(iommu_ioas_copy) == sizeof(::iommu_ioas_copy) &&
              offsetof(iommu_ioas_copy, src_iova) == offsetof(::iommu_ioas_copy, src_iova));
static_assert(request_ioas_allow_iovas == IOMMU_IOAS_ALLOW_IOVAS &&
              sizeof(iommu_ioas_allow_iovas) == sizeof(::iommu_ioas_allow_iovas));
static_assert(request_option == IOMMU_OPTION && sizeof(iommu_option) == sizeof(::iommu_option) &&
              offsetof(iommu_option, object_id) == offsetof(::iommu_option, object_id));
static_assert(option_rlimit_mode == IOMMU_OPTION_RLIMIT_MODE &&
              option_huge_pages == IOMMU_OPTION_HUGE_PAGES && option_set == IOMMU_OPTION_OP_SET &&
              option_get == IOMMU_OPTION_OP_GET);
static_assert(request_ioas_unmap == IOMMU_IOAS_UNMAP &&
              sizeof(iommu_ioas_unmap) == sizeof(::iommu_ioas_unmap));
static_assert(request_vfio_ioas == IOMMU_VFIO_IOAS &&
              sizeof(iommu_vfio_ioas) == sizeof(::iommu_vfio_ioas) &&
              vfio_ioas_clear == IOMMU_VFIO_IOAS_CLEAR);
static_assert(request_hwpt_alloc == IOMMU_HWPT_ALLOC &&
              offsetof(iommu_hwpt_alloc, data_uptr) == offsetof(::iommu_hwpt_alloc, data_uptr));
#ifdef IOMMU_IOAS_MAP_FILE
static_assert(request_ioas_map_file == IOMMU_IOAS_MAP_FILE &&
              sizeof(iommu_ioas_map_file) == sizeof(::iommu_ioas_map_file) &&
              offsetof(iommu_ioas_map_file, start) == offsetof(::iommu_ioas_map_file, start));
#endif
#ifdef IOMMU_IOAS_CHANGE_PROCESS
static_assert(request_ioas_change_process == IOMMU_IOAS_CHANGE_PROCESS &&
              sizeof(iommu_ioas_change_process) == sizeof(::iommu_ioas_change_process));
#endif
static_assert(request_get_hw_info == IOMMU_GET_HW_INFO &&
              offsetof(iommu_hw_info, out_capabilities) ==
                  offsetof(::iommu_hw_info, out_capabilities));
static_assert(hw_info_type_none == IOMMU_HW_INFO_TYPE_NONE &&
              hw_info_type_intel_vtd == IOMMU_HW_INFO_TYPE_INTEL_VTD &&
              sizeof(iommu_hw_info_vtd) == sizeof(::iommu_hw_info_vtd) &&
              offsetof(iommu_hw_info_vtd, ecap_reg) == offsetof(::iommu_hw_info_vtd, ecap_reg));
#endif

}  // namespace kvm_vfio::uapi
