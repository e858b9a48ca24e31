// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calls that explain.hpp knows.

#include <cstddef>

namespace kvm_vfio::native {

/// A call that can fail.
enum class operation : unsigned char {
  open_kvm,
  create_vm,
  create_device,
  file_add,
  file_del,
  set_spapr_tce,
  open_container,
  open_group,
  set_container,
  set_iommu,
  get_device,
  open_device,
  open_iommufd,
  bind_iommufd,
  attach_iommufd_pt,
  map_dma,  ///< VFIO_IOMMU_MAP_DMA, IOMMU_IOAS_MAP and IOMMU_IOAS_MAP_FILE
  unset_container,
  get_group_status,
  check_extension,
  get_iommu_info,
  unmap_dma,  ///< VFIO_IOMMU_UNMAP_DMA and IOMMU_IOAS_UNMAP
  alloc_ioas,
  get_iova_ranges,
  destroy_object,
  get_hw_info,
  detach_iommufd_pt,
  get_device_info,
  get_region_info,
  get_irq_info,
  set_irqs,
  reset_device,
  get_hot_reset_info,
  hot_reset,
  read_region,
  write_region,
  map_region,
  has_attribute,
  set_irqfd,
};
/// The number of operations.
inline constexpr std::size_t operation_count = static_cast<std::size_t>(operation::set_irqfd) + 1;

/// Returns the name of the operation for messages, for example "FILE_ADD".
[[nodiscard]] constexpr const char* name(operation what) noexcept {
  switch (what) {
    case operation::open_kvm: return "opening KVM";
    case operation::create_vm: return "KVM_CREATE_VM";
    case operation::create_device: return "KVM_CREATE_DEVICE of kvm-vfio";
    case operation::file_add: return "FILE_ADD";
    case operation::file_del: return "FILE_DEL";
    case operation::set_spapr_tce: return "GROUP_SET_SPAPR_TCE";
    case operation::open_container: return "opening a VFIO container";
    case operation::open_group: return "opening a VFIO group";
    case operation::set_container: return "VFIO_GROUP_SET_CONTAINER";
    case operation::set_iommu: return "VFIO_SET_IOMMU";
    case operation::get_device: return "VFIO_GROUP_GET_DEVICE_FD";
    case operation::open_device: return "opening a VFIO device";
    case operation::open_iommufd: return "opening an iommufd";
    case operation::bind_iommufd: return "VFIO_DEVICE_BIND_IOMMUFD";
    case operation::attach_iommufd_pt: return "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
    case operation::map_dma: return "mapping DMA";
    case operation::unset_container: return "VFIO_GROUP_UNSET_CONTAINER";
    case operation::get_group_status: return "VFIO_GROUP_GET_STATUS";
    case operation::check_extension: return "CHECK_EXTENSION";
    case operation::get_iommu_info: return "VFIO_IOMMU_GET_INFO";
    case operation::unmap_dma: return "unmapping DMA";
    case operation::alloc_ioas: return "IOMMU_IOAS_ALLOC";
    case operation::get_iova_ranges: return "IOMMU_IOAS_IOVA_RANGES";
    case operation::destroy_object: return "IOMMU_DESTROY";
    case operation::get_hw_info: return "IOMMU_GET_HW_INFO";
    case operation::detach_iommufd_pt: return "VFIO_DEVICE_DETACH_IOMMUFD_PT";
    case operation::get_device_info: return "VFIO_DEVICE_GET_INFO";
    case operation::get_region_info: return "VFIO_DEVICE_GET_REGION_INFO";
    case operation::get_irq_info: return "VFIO_DEVICE_GET_IRQ_INFO";
    case operation::set_irqs: return "VFIO_DEVICE_SET_IRQS";
    case operation::reset_device: return "VFIO_DEVICE_RESET";
    case operation::get_hot_reset_info: return "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO";
    case operation::hot_reset: return "VFIO_DEVICE_PCI_HOT_RESET";
    case operation::read_region: return "reading a region";
    case operation::write_region: return "writing a region";
    case operation::map_region: return "mapping a region";
    case operation::has_attribute: return "KVM_HAS_DEVICE_ATTR";
    case operation::set_irqfd: return "KVM_IRQFD";
  }
  return "an operation";
}

}  // namespace kvm_vfio::native
