// SPDX-License-Identifier: BSL-1.0
#include "requests.hpp"

#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <charconv>
#include <cstddef>
#include <iterator>

namespace kvm_vfio_sim {
namespace {

using kvm_vfio::trace::call_kind;
using kvm_vfio::trace::file_type;

struct named {
  const char* name;
  std::uint32_t number;
  file_type on = file_type::other;  // other: any file
};

// The numbers of VFIO and iommufd count from ';' << 8 on.
constexpr std::uint32_t vfio(unsigned n) { return ';' << 8 | n; }

// The names for one file come before the names for any file.
constexpr named requests[] = {
    {"VFIO_DEVICE_PCI_HOT_RESET", vfio(113), file_type::device},
    {"VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", vfio(112), file_type::device},
    {"VFIO_DEVICE_FEATURE", vfio(117), file_type::device},
    {"VFIO_DEVICE_BIND_IOMMUFD", vfio(118), file_type::device},
    {"VFIO_DEVICE_ATTACH_IOMMUFD_PT", vfio(119), file_type::device},
    {"VFIO_DEVICE_DETACH_IOMMUFD_PT", vfio(120), file_type::device},
    {"VFIO_DEVICE_QUERY_GFX_PLANE", vfio(114), file_type::device},
    {"VFIO_DEVICE_GET_GFX_DMABUF", vfio(115), file_type::device},
    {"VFIO_DEVICE_IOEVENTFD", vfio(116), file_type::device},
    {"VFIO_IOMMU_GET_INFO", vfio(112), file_type::container},
    {"VFIO_IOMMU_MAP_DMA", vfio(113), file_type::container},
    {"VFIO_IOMMU_UNMAP_DMA", vfio(114), file_type::container},
    {"VFIO_IOMMU_ENABLE", vfio(115), file_type::container},
    {"VFIO_IOMMU_DISABLE", vfio(116), file_type::container},
    {"VFIO_IOMMU_DIRTY_PAGES", vfio(117), file_type::container},
    {"VFIO_GET_API_VERSION", vfio(100)},
    {"VFIO_CHECK_EXTENSION", vfio(101)},
    {"VFIO_SET_IOMMU", vfio(102)},
    {"VFIO_GROUP_GET_STATUS", vfio(103)},
    {"VFIO_GROUP_SET_CONTAINER", vfio(104)},
    {"VFIO_GROUP_UNSET_CONTAINER", vfio(105)},
    {"VFIO_GROUP_GET_DEVICE_FD", vfio(106)},
    {"VFIO_DEVICE_GET_INFO", vfio(107)},
    {"VFIO_DEVICE_GET_REGION_INFO", vfio(108)},
    {"VFIO_DEVICE_GET_IRQ_INFO", vfio(109)},
    {"VFIO_DEVICE_SET_IRQS", vfio(110)},
    {"VFIO_DEVICE_RESET", vfio(111)},
    {"VFIO_IOMMU_GET_INFO", vfio(112)},
    {"VFIO_IOMMU_MAP_DMA", vfio(113)},
    {"VFIO_IOMMU_UNMAP_DMA", vfio(114)},
    {"VFIO_DEVICE_BIND_IOMMUFD", vfio(118)},
    {"VFIO_DEVICE_ATTACH_IOMMUFD_PT", vfio(119)},
    {"VFIO_DEVICE_DETACH_IOMMUFD_PT", vfio(120)},
    {"IOMMU_DESTROY", vfio(128)},
    {"IOMMU_IOAS_ALLOC", vfio(129)},
    {"IOMMU_IOAS_ALLOW_IOVAS", vfio(130)},
    {"IOMMU_IOAS_COPY", vfio(131)},
    {"IOMMU_IOAS_IOVA_RANGES", vfio(132)},
    {"IOMMU_IOAS_MAP", vfio(133)},
    {"IOMMU_IOAS_UNMAP", vfio(134)},
    {"IOMMU_OPTION", vfio(135)},
    {"IOMMU_VFIO_IOAS", vfio(136)},
    {"IOMMU_HWPT_ALLOC", vfio(137)},
    {"IOMMU_GET_HW_INFO", vfio(138)},
    {"IOMMU_HWPT_SET_DIRTY_TRACKING", vfio(139)},
    {"IOMMU_HWPT_GET_DIRTY_BITMAP", vfio(140)},
    {"IOMMU_HWPT_INVALIDATE", vfio(141)},
    {"IOMMU_FAULT_QUEUE_ALLOC", vfio(142)},
    {"IOMMU_IOAS_MAP_FILE", vfio(143)},
    {"IOMMU_VIOMMU_ALLOC", vfio(144)},
    {"IOMMU_VDEVICE_ALLOC", vfio(145)},
    {"IOMMU_IOAS_CHANGE_PROCESS", vfio(146)},
    {"KVM_GET_API_VERSION", KVM_GET_API_VERSION},
    {"KVM_CREATE_VM", KVM_CREATE_VM},
    {"KVM_CHECK_EXTENSION", KVM_CHECK_EXTENSION},
    {"KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE},
    {"KVM_CREATE_DEVICE", KVM_CREATE_DEVICE},
    {"KVM_SET_DEVICE_ATTR", KVM_SET_DEVICE_ATTR},
    {"KVM_GET_DEVICE_ATTR", KVM_GET_DEVICE_ATTR},
    {"KVM_HAS_DEVICE_ATTR", KVM_HAS_DEVICE_ATTR},
    {"KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION},
    {"KVM_IRQFD", KVM_IRQFD},
    {"KVM_IOEVENTFD", KVM_IOEVENTFD},
};

// In the order of call_kind.
constexpr const char* calls[] = {"open", "close", "dup",  "ioctl",  "pread", "pwrite", "eventfd",
                                 "read", "write", "mmap", "munmap", "exit",  "fork",   "install"};

}  // namespace

std::string request_name(std::uint32_t request, file_type on) {
  for (const named& r : requests)
    if (r.number == request && (r.on == on || r.on == file_type::other)) return r.name;
  char digits[8];
  const auto end = std::to_chars(digits, std::end(digits), request, 16).ptr;
  return "0x" + std::string(digits, end);
}

std::optional<std::uint32_t> request_number(std::string_view name) {
  for (const named& r : requests)
    if (name == r.name) return r.number;
  if (!name.starts_with("0x")) return {};
  name.remove_prefix(2);
  std::uint32_t number = 0;
  const auto read = std::from_chars(name.data(), name.data() + name.size(), number, 16);
  if (read.ec != std::errc() || read.ptr != name.data() + name.size()) return {};
  return number;
}

const char* call_name(call_kind kind) noexcept { return calls[static_cast<std::size_t>(kind)]; }

std::optional<call_kind> call_kind_of(std::string_view name) {
  for (std::size_t i = 0; i < std::size(calls); ++i)
    if (name == calls[i]) return static_cast<call_kind>(i);
  return {};
}

}  // namespace kvm_vfio_sim
