// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Every ioctl that the simulator answers, with the layout of its argument.

#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string_view>

namespace fuzz {

namespace u = kvm_vfio::uapi;

/// The files that answer a request.
enum class asked : unsigned char { kvm, vm, kvm_vfio, group, container, device, iommufd };

/// An ioctl. `layout` has a letter for each member of its argument:
/// - a: the size of the argument, 32 bits
/// - f: flags, 32 bits
/// - i: a small number, 32 bits
/// - o: the number of an object of an iommufd, 32 bits
/// - d: a descriptor, 32 bits
/// - h: a small number, 16 bits
/// - S: a page shift, 32 bits
/// - k: a small number, 64 bits
/// - v: an I/O virtual address or an address of the VM
/// - s: the size of a range, 64 bits
/// - p: an address in the process, 64 bits
/// - P: the address of two descriptors, 64 bits
/// - n: the name of a device, 40 bytes
/// - q: any number, 64 bits
///
/// An empty layout: the argument is a number.
struct request {
  asked of;
  std::uint32_t number;
  std::string_view layout;
};

inline constexpr request requests[] = {
    {asked::kvm, KVM_GET_API_VERSION, ""},
    {asked::kvm, KVM_CHECK_EXTENSION, ""},
    {asked::kvm, KVM_GET_VCPU_MMAP_SIZE, ""},
    {asked::kvm, KVM_CREATE_VM, ""},
    {asked::vm, KVM_CHECK_EXTENSION, ""},
    {asked::vm, KVM_CREATE_IRQCHIP, ""},
    {asked::vm, KVM_CREATE_DEVICE, "iif"},
    {asked::vm, KVM_SET_USER_MEMORY_REGION, "ifvsp"},
    {asked::vm, KVM_IRQFD, "difdqq"},
    {asked::vm, KVM_IOEVENTFD, "kvidfiqqqq"},
    {asked::vm, u::request_create_spapr_tce_64, "kSfkk"},
    {asked::vm, u::request_create_spapr_tce, "ki"},
    {asked::kvm_vfio, KVM_SET_DEVICE_ATTR, "fikP"},
    {asked::kvm_vfio, KVM_GET_DEVICE_ATTR, "fikP"},
    {asked::kvm_vfio, KVM_HAS_DEVICE_ATTR, "fikP"},
    {asked::group, VFIO_GROUP_GET_STATUS, "af"},
    {asked::group, VFIO_GROUP_SET_CONTAINER, "d"},
    {asked::group, VFIO_GROUP_UNSET_CONTAINER, ""},
    {asked::group, VFIO_GROUP_GET_DEVICE_FD, "n"},
    {asked::container, VFIO_GET_API_VERSION, ""},
    {asked::container, VFIO_CHECK_EXTENSION, ""},
    {asked::container, VFIO_SET_IOMMU, ""},
    {asked::container, VFIO_IOMMU_GET_INFO, "afqiiqqqqqqqqqqqqqqqq"},
    {asked::container, VFIO_IOMMU_MAP_DMA, "afpvs"},
    {asked::container, VFIO_IOMMU_UNMAP_DMA, "afvsksp"},
    {asked::container, VFIO_IOMMU_ENABLE, ""},
    {asked::container, VFIO_IOMMU_DISABLE, ""},
    {asked::container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, "afiiqii"},
    {asked::container, VFIO_IOMMU_DIRTY_PAGES, "afvsksp"},
    {asked::device, VFIO_DEVICE_GET_INFO, "afiii"},
    {asked::device, VFIO_DEVICE_GET_REGION_INFO, "afiikkqqqq"},
    {asked::device, VFIO_DEVICE_GET_IRQ_INFO, "afii"},
    {asked::device, VFIO_DEVICE_SET_IRQS, "afiiidddddddd"},
    {asked::device, VFIO_DEVICE_RESET, ""},
    {asked::device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, "afiqqqqqq"},
    {asked::device, VFIO_DEVICE_PCI_HOT_RESET, "afidddd"},
    {asked::device, VFIO_DEVICE_FEATURE, "afq"},
    {asked::device, u::request_bind_iommufd, "afdi"},
    {asked::device, u::request_attach_iommufd_pt, "afo"},
    {asked::device, u::request_detach_iommufd_pt, "af"},
    {asked::iommufd, u::request_destroy, "ao"},
    {asked::iommufd, u::request_ioas_alloc, "afo"},
    {asked::iommufd, u::request_ioas_iova_ranges, "aoiipk"},
    {asked::iommufd, u::request_ioas_map, "afoipsv"},
    {asked::iommufd, u::request_ioas_unmap, "aovs"},
    {asked::iommufd, u::request_hwpt_alloc, "afoooiiipii"},
    {asked::iommufd, u::request_get_hw_info, "afoipiiq"},
    {asked::iommufd, u::request_vfio_ioas, "aohh"},
    // As a container of VFIO.
    {asked::iommufd, VFIO_CHECK_EXTENSION, ""},
    {asked::iommufd, VFIO_SET_IOMMU, ""},
    {asked::iommufd, VFIO_IOMMU_GET_INFO, "afqiiqqqqqqqqqqqqqqqq"},
    {asked::iommufd, VFIO_IOMMU_MAP_DMA, "afpvs"},
    {asked::iommufd, VFIO_IOMMU_UNMAP_DMA, "afvsksp"},
};

/// Whether a file answers the requests of `of`.
[[nodiscard]] inline bool answers(const kvm_vfio::sim::file& f, asked of) {
  using kvm_vfio::sim::file_kind;
  const std::string_view name = f.name();
  switch (of) {
    case asked::kvm: return name == "/dev/kvm";
    case asked::vm: return name == "kvm-vm";
    case asked::kvm_vfio: return name == "kvm-vfio";
    case asked::group: return f.kind() == file_kind::group;
    case asked::container: return f.kind() == file_kind::container;
    case asked::device: return f.kind() == file_kind::device;
    case asked::iommufd: return f.kind() == file_kind::iommufd;
  }
  return false;
}

}  // namespace fuzz
