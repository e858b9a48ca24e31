// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of decode_ioctl.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::trace::detail {

KVM_VFIO_INLINE void decode_attr(call& c, memory& from) noexcept {
  kvm_device_attr attr{};
  if (!peek(from, c.argument, attr) || attr.group != kvm_vfio::uapi::dev_vfio_file) return;
  c.attribute = attr.attr;
  // The struct of attribute 3 (GROUP_SET_SPAPR_TCE) also starts with the descriptor of the group.
  std::int32_t fd = -1;
  if (peek(from, attr.addr, fd)) c.subject = fd;
}

// VFIO_DEVICE_PCI_HOT_RESET and VFIO_DEVICE_QUERY_GFX_PLANE have the numbers of MAP_DMA and
// UNMAP_DMA, but may have shorter structs. So nothing is read behind the size that `argsz` names.
template <class T>
[[nodiscard]] bool peek_argsz(memory& from, std::uint64_t address, T& object) noexcept {
  std::uint32_t argsz = 0;
  return peek(from, address, argsz) && argsz >= sizeof object && peek(from, address, object);
}

KVM_VFIO_INLINE void decode_range(call& c, memory& from) noexcept {
  if (c.request == VFIO_IOMMU_MAP_DMA) {
    vfio_iommu_type1_dma_map map{};
    if (!peek_argsz(from, c.argument, map)) return;
    c.flags = map.flags;
    c.iova = map.iova;
    c.size = map.size;
  } else if (c.request == VFIO_IOMMU_UNMAP_DMA) {
    vfio_iommu_type1_dma_unmap unmap{};
    if (!peek_argsz(from, c.argument, unmap)) return;
    c.flags = unmap.flags;
    c.iova = unmap.iova;
    c.size = unmap.size;
  } else if (c.request == uapi::request_ioas_map) {
    uapi::iommu_ioas_map map{};
    if (!peek_argsz(from, c.argument, map)) return;
    c.flags = map.flags;
    c.number = map.ioas_id;
    c.iova = map.iova;
    c.size = map.length;
  } else {
    uapi::iommu_ioas_unmap unmap{};
    if (!peek_argsz(from, c.argument, unmap)) return;
    c.number = unmap.ioas_id;
    c.iova = unmap.iova;
    c.size = unmap.length;
  }
}

KVM_VFIO_INLINE void decode_unmapped(call& c, memory& from) noexcept {
  if (c.request == VFIO_IOMMU_UNMAP_DMA) {
    vfio_iommu_type1_dma_unmap unmap{};
    if (peek_argsz(from, c.argument, unmap)) c.unmapped = unmap.size;
  } else {
    uapi::iommu_ioas_unmap unmap{};
    if (peek_argsz(from, c.argument, unmap)) c.unmapped = unmap.length;
  }
}

KVM_VFIO_INLINE void read_ranges(call& c, memory& from, std::uint64_t address,
                                 std::uint32_t count) {
  constexpr std::uint32_t most = 64;
  if (count > most) return;
  std::vector<iova_span> found;
  for (iova_span range{}; found.size() < count; found.push_back(range))
    if (!peek(from, address + found.size() * sizeof range, range)) return;
  c.ranges = std::move(found);
}

KVM_VFIO_INLINE void decode_ranges(call& c, memory& from) {
  if (c.request == uapi::request_ioas_iova_ranges) {
    uapi::iommu_ioas_iova_ranges ranges{};
    if (peek_argsz(from, c.argument, ranges))
      read_ranges(c, from, ranges.allowed_iovas, ranges.num_iovas);
    return;
  }
  // The struct of VFIO_IOMMU_GET_INFO. Headers older than Linux 5.4 do not have `cap_offset`.
  struct {
    std::uint32_t argsz, flags;
    std::uint64_t page_sizes;
    std::uint32_t cap_offset, padding;
  } info{};
  struct {
    std::uint16_t id, version;
    std::uint32_t next;
    std::uint32_t count, reserved;
  } cap{};
  constexpr std::uint32_t has_caps = 1U << 1;  // VFIO_IOMMU_INFO_CAPS
  constexpr std::uint16_t iova_ranges = 1;     // VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE
  if (!peek_argsz(from, c.argument, info) || !(info.flags & has_caps)) return;
  for (std::uint32_t at = info.cap_offset, seen = 0; at != 0 && seen < 16; at = cap.next, ++seen) {
    if (at > info.argsz || info.argsz - at < sizeof cap) return;
    if (!peek(from, c.argument + at, cap)) return;
    if (cap.id != iova_ranges) continue;
    if ((info.argsz - at - sizeof cap) / sizeof(iova_span) < cap.count) return;
    return read_ranges(c, from, c.argument + at + sizeof cap, cap.count);
  }
}

}  // namespace kvm_vfio::trace::detail

namespace kvm_vfio::trace {

KVM_VFIO_INLINE void decode_argument(call& c, memory& from) {
  namespace u = uapi;
  switch (c.request) {
    case kvm_vfio::uapi::set_device_attr: return detail::decode_attr(c, from);
    case kvm_vfio::uapi::create_device: {
      kvm_create_device create{};
      if (!detail::peek(from, c.argument, create)) return;
      c.number = create.type;
      c.flags = create.flags;
      return;
    }
    case VFIO_GROUP_SET_CONTAINER: {
      std::int32_t fd = -1;
      if (detail::peek(from, c.argument, fd)) c.subject = fd;
      return;
    }
    case VFIO_GROUP_GET_DEVICE_FD: (void)peek_string(from, c.argument, c.text); return;
    case VFIO_SET_IOMMU: c.number = static_cast<std::uint32_t>(c.argument); return;
    case VFIO_DEVICE_SET_IRQS: {
      vfio_irq_set set{};
      if (!from.peek(c.argument, &set, offsetof(vfio_irq_set, data))) return;
      c.number = set.index;
      c.flags = set.flags;
      c.count = set.count;
      std::int32_t event = -1;
      if ((set.flags & VFIO_IRQ_SET_DATA_EVENTFD) && set.count != 0 &&
          detail::peek(from, c.argument + offsetof(vfio_irq_set, data), event))
        c.subject = event;
      return;
    }
    case u::request_bind_iommufd: {
      u::device_bind_iommufd bind{};
      if (detail::peek(from, c.argument, bind)) c.subject = bind.iommufd;
      return;
    }
    case VFIO_IOMMU_MAP_DMA:
    case VFIO_IOMMU_UNMAP_DMA:
    case u::request_ioas_map:
    case u::request_ioas_unmap: return detail::decode_range(c, from);
    case u::request_ioas_iova_ranges: {
      u::iommu_ioas_iova_ranges ranges{};
      if (detail::peek(from, c.argument, ranges)) c.number = ranges.ioas_id;
      return;
    }
    case u::request_attach_iommufd_pt: {
      u::device_attach_iommufd_pt attach{};
      if (detail::peek(from, c.argument, attach)) c.number = attach.pt_id;
      return;
    }
    default: return;
  }
}

KVM_VFIO_INLINE void decode_answer(call& c, memory& from, const answer& a) {
  c.error = a.error();
  c.value = a ? *a : -1;
  if (!a) return;
  switch (c.kind) {
    case call_kind::open:
    case call_kind::dup:
    case call_kind::eventfd: c.made = static_cast<int>(*a); return;
    case call_kind::ioctl: break;
    case call_kind::close:
    case call_kind::pread:
    case call_kind::pwrite:
    case call_kind::read:
    case call_kind::write:
    case call_kind::mmap:
    case call_kind::munmap:
    case call_kind::exit:
    case call_kind::fork:
    case call_kind::install: return;
  }
  if (c.request == VFIO_GROUP_GET_DEVICE_FD || c.request == KVM_CREATE_VM)
    c.made = static_cast<int>(*a);
  if (c.request == VFIO_IOMMU_GET_INFO || c.request == uapi::request_ioas_iova_ranges)
    return detail::decode_ranges(c, from);
  if (c.request == VFIO_IOMMU_UNMAP_DMA || c.request == uapi::request_ioas_unmap)
    return detail::decode_unmapped(c, from);
  if (c.request != kvm_vfio::uapi::create_device) return;
  // With the TEST flag the kernel makes no descriptor and leaves `fd` as it was. The checker needs
  // this number to notice a VMM that closes it.
  kvm_create_device create{};
  if (detail::peek(from, c.argument, create)) c.made = static_cast<int>(create.fd);
}

}  // namespace kvm_vfio::trace
