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
#include <kvm_vfio/trace/seen_files.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
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

KVM_VFIO_INLINE checker::checker() noexcept = default;

KVM_VFIO_INLINE checker::~checker() = default;

KVM_VFIO_INLINE void checker::called(const call& c) {
  const guard held(mutex_);
  files_.call = ++number_;
  const int key = key_of(c.process, c.table);
  const bool forks = c.kind == call_kind::fork && c.error == errc::ok;
  const int child = forks ? key_of(static_cast<int>(c.value), c.number) : 0;
  if (key == c.process && (!forks || child == c.value)) return check(c);
  call renamed = c;
  renamed.process = key;
  if (forks) renamed.value = child;
  const std::size_t before = reports_.size();
  check(renamed);
  for (std::size_t i = before; i < reports_.size(); ++i) reports_[i].by.process = c.process;
}

KVM_VFIO_INLINE void checker::check(const call& c) {
  const std::size_t before = reports_.size();
  see(c);
  made(c, reports_.size() != before);
}

KVM_VFIO_INLINE int checker::key_of(int process, std::uint32_t table) {
  if (table == 0) return process;
  const auto known = keys_.find({process, table});
  if (known != keys_.end()) return known->second;
  const auto same = keys_.lower_bound({process, 0});
  const bool shared = same != keys_.end() && same->first.first == process;
  const int key = shared ? last_key_ - 1 : process;
  keys_.emplace(std::pair{process, table}, key);
  if (shared) last_key_ = key;
  return key;
}

KVM_VFIO_INLINE void checker::made(const call& c, bool told) {
  const bool makes = c.kind == call_kind::open || c.kind == call_kind::eventfd ||
                     c.kind == call_kind::dup || c.request == VFIO_GROUP_GET_DEVICE_FD ||
                     c.request == KVM_CREATE_VM || c.request == KVM_CREATE_DEVICE;
  const bool on_descriptor = c.kind == call_kind::dup || c.kind == call_kind::ioctl;
  if (!makes || (on_descriptor && c.fd < 0)) return;
  if (c.error != errc::ok) {
    // A report about this call has told the author of the VMM already.
    if (told) return;
    // An eventfd is the least likely descriptor for a request that needs one.
    if (c.kind == call_kind::eventfd) unmade_.try_emplace(c.process, number_, c);
    else unmade_[c.process] = {number_, c};
    return;
  }
  const auto found = unmade_.find(c.process);
  if (found == unmade_.end()) return;
  const call& failed = found->second.second;
  if (failed.kind != c.kind || failed.request != c.request || failed.text != c.text) return;
  if (c.kind != call_kind::dup || failed.fd == c.fd) unmade_.erase(found);
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
  const bool ok = c.error == errc::ok;
  // A number that a call has made now is a real descriptor, and closing it is right.
  if (c.made >= 0 && !is_test(c)) tested_.erase({c.process, c.made});
  switch (c.kind) {
    case call_kind::open: return opened(c);
    case call_kind::dup:
      if (ok) files_.copy(files_.id_at({c.process, c.fd}), {c.process, c.made});
      return;
    case call_kind::eventfd:
      if (ok) add_file(c, file_type::other, "eventfd");
      return;
    case call_kind::close: return closed(c);
    case call_kind::ioctl:
      if (!on_no_descriptor(c)) controlled(c);
      return;
    case call_kind::mmap:
      if (ok)
        files_.map({c.process, static_cast<std::uint64_t>(c.value), c.size,
                    files_.id_at({c.process, c.fd})});
      return;
    case call_kind::munmap:
      if (ok) files_.unmap(c.process, c.argument, c.size);
      return;
    case call_kind::exit: return exited(c);
    case call_kind::fork:
      if (ok) files_.fork(c.process, static_cast<int>(c.value));
      return;
    case call_kind::install: return installed(c);
    case call_kind::pread:
    case call_kind::pwrite:
    case call_kind::read:
    case call_kind::write: return;
  }
}

KVM_VFIO_INLINE void checker::opened(const call& c) {
  const std::string_view path = c.text;
  if (c.error == errc::busy) {
    for (const auto& [id, f] : files_.all())
      if (f.type == file_type::group && f.name == path && f.descriptors == 0 && !f.trackers.empty())
        return tell(rule::reopen_while_tracked, c, f.name);
  }
  if (c.error != errc::ok) return;
  file_type type = file_type::other;
  if (path == "/dev/vfio/vfio") type = file_type::container;
  else if (path == "/dev/iommu") type = file_type::iommufd;
  else if (path.starts_with("/dev/vfio/devices/")) type = file_type::device;
  else if (path.starts_with("/dev/vfio/")) type = file_type::group;
  add_file(c, type, c.text);
}

KVM_VFIO_INLINE void checker::installed(const call& c) {
  if (c.error != errc::ok) return;
  const detail::file_id of = files_.id_at({c.owner != 0 ? c.owner : c.process, c.fd});
  // The descriptor keeps its file.
  if (of != detail::no_file && of == files_.id_at({c.process, c.made})) return;
  dropped(c, {c.process, c.made});
  if (of == detail::no_file) add_file(c, c.type, c.text);
  else files_.copy(of, {c.process, c.made});
}

KVM_VFIO_INLINE void checker::closed(const call& c) {
  const slot at{c.process, c.fd};
  if (tested_.erase(at) != 0) tell(rule::test_create_closed, c, "");
  // The number belonged to another file after the kvm-vfio was closed.
  if (c.error == errc::ok) closed_.erase(at);
  // After every other error the descriptor is closed.
  if (c.error != errc::badf) dropped(c, at);
}

KVM_VFIO_INLINE void checker::dropped(const call& c, slot at) {
  const detail::file_id id = files_.id_at(at);
  const seen_file* const f = files_.find(id);
  if (!f) return;
  if (f->type == file_type::kvm_vfio) closed_.insert(at);
  if (f->descriptors == 1) {
    if (f->known && !f->trackers.empty()) tell(rule::close_without_del, c, f->name);
    if (f->known && f->type == file_type::group && f->holds != detail::no_file)
      tell(rule::left_in_container, c, f->name);
    if (f->type == file_type::device) without_vm(c, id);
    if (f->armed != 0) tell(rule::irqs_armed, c, f->name);
    if (f->type == file_type::kvm_vfio && !f->dead.contains(c.process))
      for (const auto& [other, g] : files_.all())
        if (seen_file* const left = files_.find(other);
            left && g.trackers.contains(id) && in_use(other))
          left->untracked_at = number_;
  }
  files_.drop(at);
}

// Linux cleans up behind a process that ends: it closes devices, disarms their interrupts and takes
// groups out of containers. So only one thing is a fault: a kvm-vfio that another process keeps
// open still tracks a file that nobody can name any more.
KVM_VFIO_INLINE void checker::exited(const call& c) {
  const auto gone = files_.end(c.process);
  for (const detail::file_id id : gone)
    if (const seen_file* const f = files_.find(id); f && f->type == file_type::kvm_vfio)
      files_.forget_tracker(id);
  for (const detail::file_id id : gone) {
    if (const seen_file* const f = files_.find(id); f && f->known && !f->trackers.empty())
      tell(rule::close_without_del, c, f->name);
    files_.release_unused(id);
  }
  const auto of_process = [&](const slot& at) { return at.first == c.process; };
  std::erase_if(tested_, of_process);
  std::erase_if(closed_, of_process);
  unmade_.erase(c.process);
  std::erase_if(keys_, [&](const auto& entry) { return entry.second == c.process; });
}

KVM_VFIO_INLINE void checker::controlled(const call& c) {
  seen_file* const f = files_.find({c.process, c.fd});
  const bool ok = c.error == errc::ok;
  switch (c.request) {
    case KVM_CREATE_VM:
      if (ok) add_file(c, file_type::vm, "vm");
      return;
    case KVM_CREATE_DEVICE: return created(c);
    case KVM_SET_DEVICE_ATTR: return attribute(c);
    case VFIO_GROUP_GET_DEVICE_FD: return got_device(c, f);
    case VFIO_GROUP_SET_CONTAINER: return set_container(c, f);
    default: break;
  }
  if (!f) return;
  if (f->type == file_type::group) {
    if (c.request == VFIO_GROUP_UNSET_CONTAINER) unset_container(c, *f);
  } else if (f->type == file_type::container) {
    container_request(c, *f);
  } else if (f->type == file_type::iommufd) {
    const bool maps = c.request == uapi::request_ioas_map;
    const bool unmaps = c.request == uapi::request_ioas_unmap;
    const bool asks = c.request == uapi::request_ioas_iova_ranges;
    if (c.request == uapi::request_ioas_alloc) return keep(c, *f, c.request);
    if (!maps && !unmaps && !asks) return container_request(c, *f);
    // No IOAS has the number 0, which stands in the struct if IOAS_ALLOC has failed.
    if (c.error == errc::noent && c.number == 0 && ignored(c, f, uapi::request_ioas_alloc)) return;
    if (!c.ranges.empty()) f->ranges[c.number] = c.ranges;
    else if (maps) mapped(c, *f);
    else if (unmaps) unmapped(c, *f);
  } else if (f->type == file_type::device) {
    if (ok && c.request == uapi::request_attach_iommufd_pt)
      if (seen_file* const to = files_.find(f->bound)) to->ranges.clear();
    if (c.request == uapi::request_bind_iommufd) return bound(c, *f);
    if (ignored(c, f, uapi::request_bind_iommufd)) return;
    if (c.request == uapi::request_attach_iommufd_pt) attached(c, *f);
    else if (ok && c.request == VFIO_DEVICE_SET_IRQS) armed(c, *f);
  }
}

KVM_VFIO_INLINE void checker::container_request(const call& c, seen_file& f) {
  switch (c.request) {
    case VFIO_SET_IOMMU: return set_iommu(c, f);
    case VFIO_GET_API_VERSION:
    case VFIO_CHECK_EXTENSION: return;
    case VFIO_IOMMU_GET_INFO:
    case VFIO_IOMMU_MAP_DMA:
    case VFIO_IOMMU_UNMAP_DMA: break;
    default:
      // An iommufd has requests of its own, which need no SET_IOMMU.
      if (f.type == file_type::iommufd) return;
  }
  if (!f.iommu && ignored(c, &f, VFIO_SET_IOMMU)) return;
  if (c.request == VFIO_IOMMU_GET_INFO && !c.ranges.empty()) f.ranges[0] = c.ranges;
  else if (c.request == VFIO_IOMMU_MAP_DMA) mapped(c, f);
  else if (c.request == VFIO_IOMMU_UNMAP_DMA) unmapped(c, f);
}

KVM_VFIO_INLINE void checker::created(const call& c) {
  const bool vfio = c.number == KVM_DEV_TYPE_VFIO;
  if (is_test(c)) {
    if (vfio && c.error == errc::ok) tested_.insert({c.process, c.made});
  } else if (vfio && c.error == errc::busy) {
    tell(rule::second_kvm_vfio, c, "");
  } else if (c.error == errc::ok) {
    closed_.erase({c.process, c.made});
    add_file(c, vfio ? file_type::kvm_vfio : file_type::other, vfio ? "kvm-vfio" : "kvm device");
  }
}

KVM_VFIO_INLINE void checker::attribute(const call& c) {
  const bool adds = c.attribute == kvm_vfio::uapi::dev_vfio_file_add;
  if (!adds && c.attribute != kvm_vfio::uapi::dev_vfio_file_del) return;
  // Other devices of KVM have attributes with the same numbers.
  seen_file* const tracker = files_.find({c.process, c.fd});
  const bool is_kvm_vfio = tracker && tracker->type == file_type::kvm_vfio;
  if (!is_kvm_vfio && closed_.contains({c.process, c.fd})) {
    // A file of VFIO has no attributes. Another file may have them, for example a vCPU or a VM.
    const bool attributes =
        !tracker || tracker->type == file_type::other || tracker->type == file_type::vm;
    if (attributes && c.error != errc::badf) return;
    const seen_file* const named = files_.find({c.process, c.subject});
    return tell(rule::attr_after_close, c, named ? named->name : "");
  }
  if (!tracker && adds) return added_elsewhere(c);
  if (!is_kvm_vfio) return;
  // The VM is dead, or belongs to another process. Then closing the kvm-vfio is the only way for
  // this process to take the files out.
  if (c.error == errc::io) tracker->dead.insert(c.process);
  if (c.error == errc::ok) files_.assume({c.process, c.subject}, file_type::other);
  seen_file* const f = files_.find({c.process, c.subject});
  if (!adds) return deleted(c, f);
  if (f) return added(c, *f);
  if (c.error == errc::exists) tell(rule::add_repeated, c, "");
}

KVM_VFIO_INLINE void checker::added_elsewhere(const call& c) {
  seen_file* const f = files_.find({c.process, c.subject});
  if (!f || c.error != errc::ok) return;
  f->elsewhere = true;
  f->untracked_at = 0;
}

KVM_VFIO_INLINE void checker::added(const call& c, seen_file& f) {
  f.untracked_at = 0;  // the VMM knows that the file has no VM, even if the call failed
  if (c.error == errc::exists) return tell(rule::add_repeated, c, f.name);
  keep(c, f, c.request);
  if (c.error != errc::ok) return;
  if (f.known && f.type == file_type::group) {
    seen_file* const container = files_.find(f.holds);
    // Linux releases that have iommufd ask the devices, not the container.
    const bool asks_devices = container && container->type != file_type::container;
    const bool told = container ? !container->iommu && ignored(c, container, VFIO_SET_IOMMU)
                                : ignored(c, &f, VFIO_GROUP_SET_CONTAINER);
    if (!told && !asks_devices && (!container || !container->iommu))
      tell(rule::add_before_iommu, c, f.name);
  }
  if (f.known && !f.trackers.empty()) tell(rule::file_in_two_vms, c, f.name);
  files_.track(files_.id_at({c.process, c.fd}), files_.id_at({c.process, c.subject}), true);
}

KVM_VFIO_INLINE void checker::deleted(const call& c, seen_file* f) {
  if (c.error == errc::noent && !ignored(c, f, c.request))
    tell(rule::del_untracked, c, f ? f->name : "");
  if (c.error == errc::ok)
    files_.track(files_.id_at({c.process, c.fd}), files_.id_at({c.process, c.subject}), false);
}

KVM_VFIO_INLINE bool checker::is_test(const call& c) noexcept {
  return c.kind == call_kind::ioctl && c.request == kvm_vfio::uapi::create_device &&
         (c.flags & kvm_vfio::uapi::create_device_test);
}

KVM_VFIO_INLINE bool checker::in_use(detail::file_id id) const noexcept {
  for (const auto& [other, f] : files_.all()) {
    if (other == id && f.bound != detail::no_file) return true;
    if (f.type == file_type::device && f.holds == id) return true;
  }
  return false;
}

KVM_VFIO_INLINE void checker::add_file(const call& c, file_type type, std::string name) {
  (void)files_.add({c.process, c.made}, type, std::move(name));
}

KVM_VFIO_INLINE bool checker::on_no_descriptor(const call& c) {
  if (!lacks_descriptor(c)) return false;
  const auto found = unmade_.find(c.process);
  if (found == unmade_.end()) return false;
  tell(rule::ignored_error, c, "",
       "call " + std::to_string(found->second.first) + ": " + to_string(found->second.second));
  unmade_.erase(found);
  return true;
}

KVM_VFIO_INLINE bool checker::lacks_descriptor(const call& c) noexcept {
  // After EFAULT the checker could not read the argument either.
  if (c.error == errc::ok || c.error == errc::fault) return false;
  // Other devices of KVM have attributes with the same numbers.
  const seen_file* const f = files_.find({c.process, c.fd});
  const bool attribute = c.attribute == kvm_vfio::uapi::dev_vfio_file_add ||
                         c.attribute == kvm_vfio::uapi::dev_vfio_file_del;
  const bool names = (attribute && f && f->type == file_type::kvm_vfio) ||
                     c.request == VFIO_GROUP_SET_CONTAINER ||
                     c.request == uapi::request_bind_iommufd;
  return c.fd < 0 || (names && c.subject < 0);
}

}  // namespace kvm_vfio::trace
