// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of request_rules.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/report.hpp>
#include <kvm_vfio/trace/request_rules.hpp>
#include <kvm_vfio/trace/rules.hpp>
#include <kvm_vfio/trace/seen_files.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace kvm_vfio::trace::detail {

KVM_VFIO_INLINE request_rules::request_rules() noexcept = default;

KVM_VFIO_INLINE request_rules::~request_rules() = default;

KVM_VFIO_INLINE void request_rules::set_container(const call& c, seen_file& group) {
  seen_file* const container = files_.find({c.process, c.subject});
  keep(c, group, c.request);
  if (container) keep(c, *container, c.request);
  if (c.error == errc::ok)
    files_.hold(files_.id_at({c.process, c.fd}), files_.id_at({c.process, c.subject}));
}

KVM_VFIO_INLINE void request_rules::unset_container(const call& c, seen_file& group) {
  const file_id id = files_.id_at({c.process, c.fd});
  if (c.error == errc::ok) return files_.hold(id, no_file);
  if (c.error != errc::busy) return;
  const std::string open = files_.open_devices(id, c.process);
  if (!open.empty()) tell(rule::unset_while_open, c, group.name, "still open: " + open);
}

KVM_VFIO_INLINE void request_rules::got_device(const call& c, seen_file* group) {
  if (group) {
    seen_file* const container = files_.find(group->holds);
    const bool told = container ? !container->iommu && ignored(c, container, VFIO_SET_IOMMU)
                                : ignored(c, group, VFIO_GROUP_SET_CONTAINER);
    if (!told && opens(c) && group->trackers.empty() && has_vm() &&
        !ignored(c, group, KVM_SET_DEVICE_ATTR))
      tell(rule::open_before_add, c, c.text);
  }
  if (c.error != errc::ok) return;
  const file_id held = files_.id_at({c.process, c.fd});
  const file_id made = files_.add({c.process, c.made}, file_type::device, c.text);
  files_.hold(made, held);
}

KVM_VFIO_INLINE void request_rules::set_iommu(const call& c, seen_file& container) {
  if (c.error == errc::ok) container.iommu = true;
  // An empty container refuses SET_IOMMU, because the group's SET_CONTAINER failed.
  else if (container.groups == 0 && ignored(c, &container, VFIO_GROUP_SET_CONTAINER)) return;
  if (c.error == errc::ok || !container.iommu) keep(c, container, c.request);
}

KVM_VFIO_INLINE void request_rules::mapped(const call& c, seen_file& in) {
  const std::pair key{c.number, c.iova};
  if (c.error != errc::ok) {
    // A program that tries one address after the other must not fill the memory.
    constexpr std::size_t most = 64;
    if (in.failed_maps.size() < most)
      in.failed_maps.try_emplace(key, failed_call{number_, to_string(c)});
    return refused(c, in);
  }
  in.failed_maps.erase(key);
  if (c.flags & uapi::dma_map_vaddr) return;
  in.mapped += c.size;
  in.lost = 0;
}

KVM_VFIO_INLINE void request_rules::refused(const call& c, const seen_file& in) {
  if ((c.error != errc::inval && c.error != errc::range) || c.size == 0) return;
  const auto known = in.ranges.find(c.number);
  if (known == in.ranges.end()) return;
  const std::uint64_t last = c.iova + c.size - 1;
  std::string text = "from IOVA " + in_hex(c.iova) + " to " + in_hex(last) + "; the ranges are";
  const char* before = " ";
  for (const iova_span& r : known->second) {
    if (c.iova >= r.first && last <= r.last && last >= c.iova) return;  // another reason
    text += before + in_hex(r.first) + " to " + in_hex(r.last);
    before = ", ";
  }
  tell(rule::mapped_outside, c, in.name, std::move(text));
}

KVM_VFIO_INLINE void request_rules::unmapped(const call& c, seen_file& in) {
  const bool ok = c.error == errc::ok;
  const bool container = in.type == file_type::container;
  // A container answers 0 bytes. An iommufd has an error for this case.
  if (!ok && (container || c.error != errc::noent)) return;
  if (container && (c.flags & uapi::dma_unmap_vaddr)) return;
  const std::uint64_t bytes = ok ? c.unmapped : 0;
  in.mapped -= bytes < in.mapped ? bytes : in.mapped;
  // Such a range is everything, perhaps the whole address width of a virtual IOMMU: the VMM does
  // not know what is mapped, and does not claim it.
  constexpr std::uint64_t everything = std::uint64_t{1} << 39;
  if (bytes >= c.size || c.size >= everything) return;
  const auto failed = in.failed_maps.find({c.number, c.iova});
  if (bytes == 0 && failed != in.failed_maps.end()) {
    tell(rule::ignored_error, c, in.name,
         "call " + std::to_string(failed->second.number) + ": " + failed->second.text);
    in.failed_maps.erase(failed);
    return;
  }
  const std::string range = std::to_string(c.size) + " bytes at IOVA " + in_hex(c.iova);
  if (in.lost != 0 && bytes == 0) {
    tell(rule::mappings_lost, c, in.name,
         range + ", but call " + std::to_string(in.lost_at) + " removed all mappings");
    in.lost = 0;
    return;
  }
  tell(rule::unmapped_less, c, in.name,
       "asked to unmap " + range + ", unmapped " + std::to_string(bytes) + " bytes");
}

KVM_VFIO_INLINE void request_rules::bound(const call& c, seen_file& device) {
  if (opens(c) && device.trackers.empty() && has_vm() && !ignored(c, &device, KVM_SET_DEVICE_ATTR))
    tell(rule::bind_before_add, c, device.name);
  if (c.error == errc::ok) device.bound = files_.id_at({c.process, c.subject});
  if (device.bound == no_file || c.error == errc::ok) keep(c, device, c.request);
}

KVM_VFIO_INLINE void request_rules::attached(const call& c, seen_file& device) {
  if (c.error == errc::noent) (void)ignored(c, files_.find(device.bound), uapi::request_ioas_alloc);
}

KVM_VFIO_INLINE void request_rules::armed(const call& c, seen_file& device) {
  if (!(c.flags & VFIO_IRQ_SET_ACTION_TRIGGER)) return;
  const std::uint32_t bit = std::uint32_t{1} << (c.number & 31);
  const bool single = c.number >= VFIO_PCI_ERR_IRQ_INDEX;
  if (c.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
    if (single && c.subject < 0) device.armed &= ~bit;
    else if (c.count != 0) device.armed |= bit;
    // A driver in the guest that enables MSI is about to start DMA.
    const bool msi = c.number == VFIO_PCI_MSI_IRQ_INDEX || c.number == VFIO_PCI_MSIX_IRQ_INDEX;
    if (msi && c.count != 0) works(c, device);
    if (c.count != 0) without_vm(c, files_.id_at({c.process, c.fd}));
  } else if ((c.flags & VFIO_IRQ_SET_DATA_NONE) && c.count == 0) {
    device.armed &= ~bit;
  }
}

KVM_VFIO_INLINE void request_rules::works(const call& c, const seen_file& device) {
  const seen_file* const group = files_.find(device.holds);
  seen_file* const container = group ? files_.find(group->holds) : nullptr;
  if (!container || container->lost == 0) return;
  tell(rule::mappings_lost, c, device.name,
       "call " + std::to_string(container->lost_at) + " removed the mappings of " +
           std::to_string(container->lost) + " bytes, and no MAP_DMA followed");
  container->lost = 0;
}

KVM_VFIO_INLINE void request_rules::without_vm(const call& c, file_id device) {
  const seen_file* const f = files_.find(device);
  seen_file* const tracked = files_.find(f->holds == no_file ? device : f->holds);
  if (!tracked || tracked->untracked_at == 0) return;
  tell(rule::closed_while_tracking, c, f->name,
       "call " + std::to_string(tracked->untracked_at) + " closed the kvm-vfio that tracked " +
           tracked->name);
  tracked->untracked_at = 0;
}

KVM_VFIO_INLINE bool request_rules::opens(const call& c) noexcept {
  return c.error == errc::ok || c.error == errc::srch;
}

KVM_VFIO_INLINE bool request_rules::has_vm() const noexcept {
  for (const auto& [id, f] : files_.all())
    if (f.type == file_type::vm || f.type == file_type::kvm_vfio) return true;
  return false;
}

KVM_VFIO_INLINE void request_rules::tell(rule r, const call& c, std::string about,
                                         std::string detail) {
  reports_.push_back({r, c, number_, std::move(about), std::move(detail)});
}

KVM_VFIO_INLINE void request_rules::keep(const call& c, seen_file& f, std::uint32_t request) {
  if (c.error == errc::ok) f.failed.erase(request);
  else f.failed.try_emplace(request, failed_call{number_, to_string(c)});
}

KVM_VFIO_INLINE bool request_rules::ignored(const call& c, seen_file* f, std::uint32_t request) {
  if (!f) return false;
  const auto found = f->failed.find(request);
  if (found == f->failed.end()) return false;
  tell(rule::ignored_error, c, f->name,
       "call " + std::to_string(found->second.number) + ": " + found->second.text);
  f->failed.erase(found);
  return true;
}

}  // namespace kvm_vfio::trace::detail
