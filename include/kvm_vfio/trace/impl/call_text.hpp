// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of call_text.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::trace {

KVM_VFIO_INLINE const char* request_name(std::uint32_t request) noexcept {
  switch (request) {
    case KVM_CREATE_VM: return "KVM_CREATE_VM";
    case KVM_CREATE_DEVICE: return "KVM_CREATE_DEVICE";
    case KVM_SET_DEVICE_ATTR: return "KVM_SET_DEVICE_ATTR";
    case KVM_GET_DEVICE_ATTR: return "KVM_GET_DEVICE_ATTR";
    case KVM_HAS_DEVICE_ATTR: return "KVM_HAS_DEVICE_ATTR";
    case VFIO_GET_API_VERSION: return "GET_API_VERSION";
    case VFIO_CHECK_EXTENSION: return "CHECK_EXTENSION";
    case VFIO_SET_IOMMU: return "SET_IOMMU";
    case VFIO_GROUP_GET_STATUS: return "GET_STATUS";
    case VFIO_GROUP_SET_CONTAINER: return "SET_CONTAINER";
    case VFIO_GROUP_UNSET_CONTAINER: return "UNSET_CONTAINER";
    case VFIO_GROUP_GET_DEVICE_FD: return "GET_DEVICE_FD";
    case VFIO_DEVICE_GET_INFO: return "DEVICE_GET_INFO";
    case VFIO_DEVICE_GET_REGION_INFO: return "GET_REGION_INFO";
    case VFIO_DEVICE_GET_IRQ_INFO: return "GET_IRQ_INFO";
    case VFIO_DEVICE_SET_IRQS: return "SET_IRQS";
    case VFIO_DEVICE_RESET: return "DEVICE_RESET";
    case VFIO_IOMMU_GET_INFO: return "IOMMU_GET_INFO";
    case VFIO_IOMMU_MAP_DMA: return "MAP_DMA";
    case VFIO_IOMMU_UNMAP_DMA: return "UNMAP_DMA";
    case uapi::request_bind_iommufd: return "BIND_IOMMUFD";
    case uapi::request_attach_iommufd_pt: return "ATTACH_IOMMUFD_PT";
    case uapi::request_detach_iommufd_pt: return "DETACH_IOMMUFD_PT";
    case uapi::request_destroy: return "IOMMU_DESTROY";
    case uapi::request_ioas_alloc: return "IOAS_ALLOC";
    case uapi::request_ioas_iova_ranges: return "IOVA_RANGES";
    case uapi::request_ioas_map: return "IOAS_MAP";
    case uapi::request_ioas_unmap: return "IOAS_UNMAP";
    case uapi::request_ioas_copy: return "IOAS_COPY";
    case uapi::request_hwpt_alloc: return "HWPT_ALLOC";
    case uapi::request_get_hw_info: return "GET_HW_INFO";
    case uapi::request_ioas_map_file: return "IOAS_MAP_FILE";
    case uapi::request_ioas_change_process: return "IOAS_CHANGE_PROCESS";
    default: return "";
  }
}

KVM_VFIO_INLINE std::string detail::in_hex(std::uint64_t number) {
  std::string digits;
  for (; number != 0 || digits.empty(); number >>= 4)
    digits.insert(digits.begin(), "0123456789abcdef"[number & 15]);
  return "0x" + digits;
}

KVM_VFIO_INLINE std::string to_string(const call& c) {
  const std::string fd = std::to_string(c.fd);
  std::string s;
  switch (c.kind) {
    case call_kind::open: s = "open(\"" + c.text + "\")"; break;
    case call_kind::close: s = "close(" + fd + ")"; break;
    case call_kind::dup: s = "dup(" + fd + ")"; break;
    case call_kind::pread: s = "pread(" + fd + ")"; break;
    case call_kind::pwrite: s = "pwrite(" + fd + ")"; break;
    case call_kind::eventfd: s = "eventfd()"; break;
    case call_kind::read: s = "read(" + fd + ")"; break;
    case call_kind::write: s = "write(" + fd + ")"; break;
    case call_kind::mmap: s = "mmap(" + fd + ", " + detail::in_hex(c.argument) + ")"; break;
    case call_kind::munmap: s = "munmap(" + detail::in_hex(c.argument) + ")"; break;
    case call_kind::exit: return "exit()";
    case call_kind::fork: s = "fork()"; break;
    case call_kind::install:
      s = "install(" + (c.fd >= 0 ? fd : "\"" + c.text + "\"");
      if (c.owner != 0) s += " of process " + std::to_string(c.owner);
      s += ")";
      break;
    case call_kind::ioctl: {
      static constexpr const char* attributes[] = {"", "FILE_ADD", "FILE_DEL", "SET_SPAPR_TCE"};
      const bool attribute = c.attribute > 0 && c.attribute < 4;
      std::string what = attribute ? attributes[c.attribute] : request_name(c.request);
      if (what.empty()) what = "request " + std::to_string(c.request);
      if (c.subject >= 0) what += " fd " + std::to_string(c.subject);
      if (!c.text.empty()) what += " \"" + c.text + "\"";
      if (c.request == KVM_CREATE_DEVICE && (c.flags & KVM_CREATE_DEVICE_TEST)) what += " TEST";
      s = "ioctl(" + fd + ", " + what + ")";
    }
  }
  if (c.error != errc::ok)
    return s + " = " +
           (has_name(c.error) ? kvm_vfio::name(c.error)
                              : "error " + std::to_string(static_cast<int>(c.error)));
  if (c.kind == call_kind::mmap)
    return s + " = " + detail::in_hex(static_cast<std::uint64_t>(c.value));
  const bool made_by_struct = c.request == KVM_CREATE_DEVICE && c.made >= 0;
  return s + " = " + std::to_string(c.value) +
         (made_by_struct ? ", fd " + std::to_string(c.made) : "");
}

}  // namespace kvm_vfio::trace
