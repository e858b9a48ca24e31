// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of checker.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/trace/rules.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::trace {

KVM_VFIO_INLINE std::string to_string(const report& r) {
  const rule_text t = text_of(r.broken);
  return "call " + std::to_string(r.number) + ": " + to_string(r.by) +
         (r.about.empty() ? "" : " [" + r.about + "]") + "\n  " + t.id + ": " + t.what +
         "\n  fix: " + t.fix + "\n";
}

KVM_VFIO_INLINE checker::checker() noexcept = default;

KVM_VFIO_INLINE checker::~checker() = default;

KVM_VFIO_INLINE void checker::called(const call& c) {
  const guard held(mutex_);
  ++number_;
  see(c);
}

KVM_VFIO_INLINE std::vector<report> checker::reports() const {
  const guard held(mutex_);
  return reports_;
}

KVM_VFIO_INLINE std::string checker::text() const {
  std::string out;
  for (const report& r : reports()) out += to_string(r);
  return out;
}

KVM_VFIO_INLINE std::size_t checker::count(rule r) const {
  std::size_t n = 0;
  for (const report& seen : reports()) n += seen.broken == r;
  return n;
}

KVM_VFIO_INLINE void checker::see(const call& c) {
  // A number that a call has made now is a real descriptor, and closing it is right.
  if (c.made >= 0 && !is_test(c)) tested_.erase({c.process, c.made});
  switch (c.kind) {
    case call_kind::open: return opened(c);
    case call_kind::dup:
      if (c.error == errc::ok) copy(c);
      return;
    case call_kind::eventfd:
      if (c.error == errc::ok) add_file(c, what::other, "eventfd");
      return;
    case call_kind::close: return closed(c);
    case call_kind::ioctl: return controlled(c);
    case call_kind::pread:
    case call_kind::pwrite:
    case call_kind::read:
    case call_kind::write:
    case call_kind::mmap:
    case call_kind::munmap:
    case call_kind::exit: return;
  }
}

KVM_VFIO_INLINE void checker::opened(const call& c) {
  const std::string_view path = c.text;
  if (c.error == errc::busy) {
    for (const auto& [id, f] : files_)
      if (f.kind == what::group && f.name == path && f.descriptors == 0 && !f.trackers.empty())
        return tell(rule::reopen_while_tracked, c, f.name);
  }
  if (c.error != errc::ok) return;
  what kind = what::other;
  if (path == "/dev/vfio/vfio") kind = what::container;
  else if (path.starts_with("/dev/vfio/devices/")) kind = what::device;
  else if (path.starts_with("/dev/vfio/")) kind = what::group;
  add_file(c, kind, c.text);
}

KVM_VFIO_INLINE void checker::closed(const call& c) {
  if (tested_.erase({c.process, c.fd}) != 0) tell(rule::test_create_closed, c, "");
  // After every other error the descriptor is closed.
  if (c.error == errc::badf) return;
  const auto found = slots_.find({c.process, c.fd});
  if (found == slots_.end()) return;
  const file_id id = found->second;
  slots_.erase(found);
  seen_file& f = files_[id];
  if (--f.descriptors != 0) return;
  if (!f.trackers.empty()) tell(rule::close_without_del, c, f.name);
  if (f.kind == what::group && f.container != none) tell(rule::left_in_container, c, f.name);
  if (f.armed != 0) tell(rule::irqs_armed, c, f.name);
  if (f.kind == what::kvm_vfio)
    for (auto& [other, g] : files_) g.trackers.erase(id);
  forget_unused();
}

KVM_VFIO_INLINE void checker::controlled(const call& c) {
  seen_file* const f = find(c.process, c.fd);
  const bool ok = c.error == errc::ok;
  switch (c.request) {
    case KVM_CREATE_VM:
      if (ok) add_file(c, what::vm, "vm");
      return;
    case KVM_CREATE_DEVICE: return created(c);
    case KVM_SET_DEVICE_ATTR: return attribute(c);
    case VFIO_GROUP_SET_CONTAINER:
      if (ok && f) f->container = id_at(c.process, c.subject);
      return;
    case VFIO_GROUP_UNSET_CONTAINER:
      if (ok && f) f->container = none;
      return;
    case VFIO_SET_IOMMU:
      if (ok && f) f->iommu = true;
      return;
    case VFIO_GROUP_GET_DEVICE_FD:
      if (f && opens(c) && f->trackers.empty() && has_vm()) tell(rule::open_before_add, c, c.text);
      if (ok) add_file(c, what::device, c.text);
      return;
    case uapi::request_bind_iommufd:
      if (f && opens(c) && f->trackers.empty() && has_vm()) tell(rule::bind_before_add, c, f->name);
      return;
    case VFIO_DEVICE_SET_IRQS:
      if (ok && f) armed(c, *f);
      return;
    default: return;
  }
}

KVM_VFIO_INLINE void checker::created(const call& c) {
  if (c.number != KVM_DEV_TYPE_VFIO) return;
  if (is_test(c)) {
    if (c.error == errc::ok) tested_.insert({c.process, c.made});
  } else if (c.error == errc::busy) {
    tell(rule::second_kvm_vfio, c, "");
  } else if (c.error == errc::ok) {
    add_file(c, what::kvm_vfio, "kvm-vfio");
  }
}

KVM_VFIO_INLINE void checker::attribute(const call& c) {
  const file_id tracker = id_at(c.process, c.fd);
  // The checker did not see this file being opened, so it knows only the descriptor.
  if (c.error == errc::ok && id_at(c.process, c.subject) == none)
    add_file(c.process, c.subject, what::other, "fd " + std::to_string(c.subject));
  seen_file* const f = find(c.process, c.subject);
  const std::string name = f ? f->name : "";
  if (c.attribute == kvm_vfio::uapi::dev_vfio_file_add) {
    if (c.error == errc::exists) return tell(rule::add_repeated, c, name);
    if (c.error != errc::ok) return;
    if (f->kind == what::group && (f->container == none || !files_[f->container].iommu))
      tell(rule::add_before_iommu, c, name);
    if (!f->trackers.empty()) tell(rule::file_in_two_vms, c, name);
    f->trackers.insert(tracker);
  } else if (c.attribute == kvm_vfio::uapi::dev_vfio_file_del) {
    if (c.error == errc::noent) return tell(rule::del_untracked, c, name);
    if (c.error == errc::ok) f->trackers.erase(tracker);
  }
}

KVM_VFIO_INLINE void checker::armed(const call& c, seen_file& f) noexcept {
  if (!(c.flags & VFIO_IRQ_SET_ACTION_TRIGGER)) return;
  const std::uint32_t bit = std::uint32_t{1} << (c.number & 31);
  const bool single = c.number >= VFIO_PCI_ERR_IRQ_INDEX;
  if (c.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
    if (single && c.subject < 0) f.armed &= ~bit;
    else if (c.count != 0) f.armed |= bit;
  } else if ((c.flags & VFIO_IRQ_SET_DATA_NONE) && c.count == 0) {
    f.armed &= ~bit;
  }
}

KVM_VFIO_INLINE bool checker::is_test(const call& c) noexcept {
  return c.kind == call_kind::ioctl && c.request == kvm_vfio::uapi::create_device &&
         (c.flags & kvm_vfio::uapi::create_device_test);
}

KVM_VFIO_INLINE bool checker::opens(const call& c) noexcept {
  return c.error == errc::ok || c.error == errc::srch;
}

KVM_VFIO_INLINE bool checker::has_vm() const noexcept {
  for (const auto& [id, f] : files_)
    if (f.kind == what::vm || f.kind == what::kvm_vfio) return true;
  return false;
}

KVM_VFIO_INLINE void checker::tell(rule r, const call& c, std::string about) {
  reports_.push_back({r, c, number_, std::move(about)});
}

KVM_VFIO_INLINE void checker::add_file(const call& c, what kind, std::string name) {
  add_file(c.process, c.made, kind, std::move(name));
}

KVM_VFIO_INLINE void checker::add_file(int process, int fd, what kind, std::string name) {
  files_[++last_] = {.kind = kind, .name = std::move(name), .descriptors = 1};
  slots_[{process, fd}] = last_;
}

KVM_VFIO_INLINE void checker::copy(const call& c) {
  const file_id id = id_at(c.process, c.fd);
  if (id == none) return;
  ++files_[id].descriptors;
  slots_[{c.process, c.made}] = id;
}

KVM_VFIO_INLINE checker::file_id checker::id_at(int process, int fd) const noexcept {
  const auto found = slots_.find({process, fd});
  return found == slots_.end() ? none : found->second;
}

KVM_VFIO_INLINE checker::seen_file* checker::find(int process, int fd) noexcept {
  const file_id id = id_at(process, fd);
  return id == none ? nullptr : &files_[id];
}

KVM_VFIO_INLINE void checker::forget_unused() {
  std::erase_if(files_, [this](const auto& entry) {
    const auto& [id, f] = entry;
    if (f.descriptors != 0 || !f.trackers.empty()) return false;
    for (const auto& [other, g] : files_)
      if (g.container == id) return false;
    return true;
  });
}

}  // namespace kvm_vfio::trace
