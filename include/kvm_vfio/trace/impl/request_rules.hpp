// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of request_rules.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
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

KVM_VFIO_INLINE void request_rules::set_container(const call& c, seen_file* group) {
  seen_file* const container = files_.find({c.process, c.subject});
  if (group) keep(c, *group, c.request);
  if (container) keep(c, *container, c.request);
  if (c.error != errc::ok) return;
  // A container that the checker does not know may be a container or an iommufd.
  const file_id held = files_.assume({c.process, c.subject}, file_type::other);
  const file_id user = files_.assume({c.process, c.fd}, file_type::group);
  if (seen_file* const f = files_.find(user)) f->type = file_type::group;
  files_.hold(user, held);
}

KVM_VFIO_INLINE void request_rules::unset_container(const call& c, seen_file& group) {
  const file_id id = files_.id_at({c.process, c.fd});
  if (c.error == errc::ok) return files_.hold(id, no_file);
  if (c.error != errc::busy) return;
  const std::string open = files_.open_devices(id, c.process);
  if (!open.empty()) tell(rule::unset_while_open, c, group.name, "still open: " + open);
}

KVM_VFIO_INLINE void request_rules::got_device(const call& c, seen_file* group) {
  if (group && group->known) {
    seen_file* const container = files_.find(group->holds);
    const bool told = container ? !container->iommu && ignored(c, container, VFIO_SET_IOMMU)
                                : ignored(c, group, VFIO_GROUP_SET_CONTAINER);
    if (!told && opens(c) && lacks_vm(*group) && !ignored(c, group, KVM_SET_DEVICE_ATTR))
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

KVM_VFIO_INLINE std::size_t request_rules::erase_lost(seen_file& in, std::uint64_t first,
                                                      std::uint64_t last) {
  std::size_t at = 0;
  for (auto entry = in.lost.begin(); entry != in.lost.end();) {
    const auto& [iova, mapping] = *entry;
    if (iova > last || iova + (mapping.size - 1) < first) {
      ++entry;
      continue;
    }
    at = mapping.at;
    entry = in.lost.erase(entry);
  }
  return at;
}

KVM_VFIO_INLINE void request_rules::mapped(const call& c, seen_file& in) {
  const std::pair key{c.number, c.iova};
  if (c.error != errc::ok) {
    // The VMM gives the memory of a mapping a new address.
    if ((c.flags & uapi::dma_map_vaddr) && c.error == errc::noent && names_lost(c, in)) return;
    // A program that tries one address after the other must not fill the memory.
    constexpr std::size_t most = 64;
    if (in.failed_maps.size() < most)
      in.failed_maps.try_emplace(key, failed_call{number_, to_string(c), c.error});
    return refused(c, in);
  }
  in.failed_maps.erase(key);
  if ((c.flags & uapi::dma_map_vaddr) || in.type != file_type::container) return;
  in.mapped[c.iova] = c.size;
  erase_lost(in, c.iova, c.iova + c.size - 1);
}

KVM_VFIO_INLINE bool request_rules::names_lost(const call& c, seen_file& in) {
  if (c.size == 0) return false;
  const std::size_t at = erase_lost(in, c.iova, c.iova + c.size - 1);
  if (at == 0) return false;
  tell(rule::mappings_lost, c, in.name,
       std::to_string(c.size) + " bytes at IOVA " + in_hex(c.iova) + ", but call " +
           std::to_string(at) + " removed all mappings");
  return true;
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
  if (c.flags & uapi::dma_unmap_vaddr) return;
  const std::uint64_t bytes = ok ? c.unmapped : 0;
  const bool all = c.flags & uapi::dma_unmap_all;
  const std::uint64_t last = all ? ~std::uint64_t{0} : c.iova + (c.size - 1);
  if (bytes != 0 && last >= c.iova)
    in.mapped.erase(in.mapped.lower_bound(c.iova), in.mapped.upper_bound(last));
  // A VMM that unmaps everything makes no use of a mapping that is gone.
  if (all) in.lost.clear();
  // Such a range is everything, perhaps the whole address width of a virtual IOMMU: the VMM does
  // not know what is mapped, and does not claim it.
  constexpr std::uint64_t everything = std::uint64_t{1} << 39;
  if (bytes >= c.size || c.size >= everything) return;
  const auto failed = in.failed_maps.find({c.number, c.iova});
  if (bytes == 0 && failed != in.failed_maps.end()) {
    // iommufd cannot map a BAR of a device. A VMM that tries to unmap it loses nothing.
    const bool not_memory = !ok && failed->second.error == errc::fault;
    if (!not_memory)
      tell(rule::ignored_error, c, in.name,
           "call " + std::to_string(failed->second.number) + ": " + failed->second.text);
    in.failed_maps.erase(failed);
    return;
  }
  const std::string range = std::to_string(c.size) + " bytes at IOVA " + in_hex(c.iova);
  if (bytes == 0 && names_lost(c, in)) return;
  tell(rule::unmapped_less, c, in.name,
       "asked to unmap " + range + ", unmapped " + std::to_string(bytes) + " bytes");
}

KVM_VFIO_INLINE void request_rules::bound(const call& c, seen_file& device) {
  if (opens(c) && lacks_vm(device) && !ignored(c, &device, KVM_SET_DEVICE_ATTR))
    tell(rule::bind_before_add, c, device.name);
  if (c.error == errc::ok) device.bound = files_.assume({c.process, c.subject}, file_type::other);
  if (device.bound == no_file || c.error == errc::ok) keep(c, device, c.request);
}

KVM_VFIO_INLINE void request_rules::attached(const call& c, seen_file& device) {
  // No IOAS has the number 0, which stands in the struct if IOAS_ALLOC has failed.
  if (c.error == errc::noent && c.number == 0)
    (void)ignored(c, files_.find(device.bound), uapi::request_ioas_alloc);
}

KVM_VFIO_INLINE void request_rules::armed(const call& c, seen_file& device) {
  if (!(c.flags & VFIO_IRQ_SET_ACTION_TRIGGER)) return;
  const std::uint32_t bit = std::uint32_t{1} << (c.number & 31);
  const bool single = c.number >= VFIO_PCI_ERR_IRQ_INDEX;
  if (c.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
    if (single && c.subject < 0) device.armed &= ~bit;
    else if (c.count != 0) device.armed |= bit;
    if (c.count != 0) without_vm(c, files_.id_at({c.process, c.fd}));
  } else if ((c.flags & VFIO_IRQ_SET_DATA_NONE) && c.count == 0) {
    device.armed &= ~bit;
  }
}

KVM_VFIO_INLINE void request_rules::without_vm(const call& c, file_id device) {
  const seen_file* const f = files_.find(device);
  if (!f) return;
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

KVM_VFIO_INLINE bool request_rules::lacks_vm(const seen_file& f) const noexcept {
  return f.known && !f.elsewhere && f.trackers.empty() && has_vm();
}

KVM_VFIO_INLINE void request_rules::tell(rule r, const call& c, std::string about,
                                         std::string detail) {
  reports_.push_back({r, c, number_, std::move(about), std::move(detail)});
}

KVM_VFIO_INLINE void request_rules::keep(const call& c, seen_file& f, std::uint32_t request) {
  if (c.error == errc::ok) f.failed.erase(request);
  else f.failed.try_emplace(request, failed_call{number_, to_string(c), c.error});
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
