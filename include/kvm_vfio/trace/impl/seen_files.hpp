// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of seen_files.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/seen_files.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::trace::detail {

KVM_VFIO_INLINE seen_files::seen_files() noexcept = default;

KVM_VFIO_INLINE seen_files::~seen_files() = default;

KVM_VFIO_INLINE file_id seen_files::add(slot at, file_type type, std::string name) {
  drop(at);
  seen_file& f = files_[++last_];
  f.type = type;
  f.name = std::move(name);
  f.descriptors = 1;
  f.users = 1;
  slots_[at] = last_;
  return last_;
}

KVM_VFIO_INLINE file_id seen_files::assume(slot at, file_type type) {
  if (const file_id id = id_at(at); id != no_file) return id;
  const file_id made = add(at, type, "fd " + std::to_string(at.second));
  files_[made].known = false;
  return made;
}

KVM_VFIO_INLINE void seen_files::copy(file_id of, slot to) {
  seen_file* const f = find(of);
  if (!f) return;
  ++f->descriptors;
  ++f->users;
  drop(to);
  slots_[to] = of;
}

KVM_VFIO_INLINE void seen_files::drop(slot at) {
  const auto found = slots_.find(at);
  if (found == slots_.end()) return;
  const file_id id = found->second;
  slots_.erase(found);
  seen_file& f = files_[id];
  --f.users;
  if (--f.descriptors == 0 && f.type == file_type::kvm_vfio) forget_tracker(id);
  release_unused(id);
}

KVM_VFIO_INLINE void seen_files::hold(file_id user, file_id held) {
  seen_file* const f = find(user);
  if (!f || f->holds == held) return;
  const file_id before = std::exchange(f->holds, held);
  if (seen_file* const h = find(held)) {
    ++h->users;
    if (f->type == file_type::group) ++h->groups;
    h->ranges.clear();  // a group may bring reserved ranges
  }
  seen_file* const b = find(before);
  if (!b) return;
  if (f->type == file_type::group) leave(before);
  --b->users;
  release_unused(before);
}

KVM_VFIO_INLINE void seen_files::leave(file_id container) {
  seen_file& c = files_[container];
  c.ranges.clear();
  // An iommufd keeps its mappings, and needs no further SET_IOMMU.
  if (--c.groups != 0 || c.type != file_type::container) return;
  c.iommu = false;
  for (const auto& [iova, size] : c.mapped) c.lost[iova] = {size, call};
  c.mapped.clear();
}

KVM_VFIO_INLINE void seen_files::track(file_id tracker, file_id file, bool tracked) {
  seen_file* const f = find(file);
  if (!f) return;
  const bool changed =
      tracked ? f->trackers.insert(tracker).second : f->trackers.erase(tracker) != 0;
  if (!changed) return;
  f->users += tracked ? 1 : -1;
  release_unused(file);
}

KVM_VFIO_INLINE void seen_files::forget_tracker(file_id tracker) {
  std::vector<file_id> tracked;
  for (const auto& [id, f] : files_)
    if (f.trackers.contains(tracker)) tracked.push_back(id);
  for (const file_id id : tracked) track(tracker, id, false);
}

KVM_VFIO_INLINE void seen_files::map(const seen_mapping& made) {
  seen_file* const f = find(made.file);
  if (!f) return;
  ++f->mappings;
  ++f->users;
  mappings_.push_back(made);
}

KVM_VFIO_INLINE void seen_files::unmap(int process, std::uint64_t address, std::uint64_t size) {
  std::vector<file_id> gone;
  const auto remove = [&](std::size_t i) {
    seen_file& f = files_[mappings_[i].file];
    --f.mappings;
    --f.users;
    gone.push_back(mappings_[i].file);
    mappings_.erase(mappings_.begin() + static_cast<std::ptrdiff_t>(i));
  };
  for (std::size_t i = mappings_.size(); i-- != 0 && gone.empty();)
    if (mappings_[i].process == process && mappings_[i].address == address) remove(i);
  const std::uint64_t end = address + size;
  for (std::size_t i = gone.empty() ? mappings_.size() : 0; i-- != 0;) {
    const seen_mapping& m = mappings_[i];
    if (m.process == process && m.address >= address && m.address + m.size <= end) remove(i);
  }
  for (const file_id id : gone) release_unused(id);
}

KVM_VFIO_INLINE void seen_files::fork(int parent, int child) {
  constexpr int lowest = std::numeric_limits<int>::min();
  std::vector<std::pair<slot, file_id>> copies;
  for (auto at = slots_.lower_bound({parent, lowest});
       at != slots_.end() && at->first.first == parent; ++at)
    copies.push_back({{child, at->first.second}, at->second});
  for (const auto& [to, id] : copies) copy(id, to);
  for (std::size_t i = 0, n = mappings_.size(); i < n; ++i) {
    seen_mapping m = mappings_[i];
    if (m.process != parent) continue;
    m.process = child;
    map(m);
  }
}

KVM_VFIO_INLINE std::vector<file_id> seen_files::end(int process) {
  std::vector<file_id> closed;
  std::erase_if(slots_, [&](const auto& entry) {
    if (entry.first.first != process) return false;
    seen_file& f = files_[entry.second];
    --f.users;
    if (--f.descriptors == 0) closed.push_back(entry.second);
    return true;
  });
  std::erase_if(mappings_, [&](const seen_mapping& m) {
    if (m.process != process) return false;
    seen_file& f = files_[m.file];
    --f.users;
    if (--f.mappings == 0 && f.descriptors == 0) closed.push_back(m.file);
    return true;
  });
  return closed;
}

KVM_VFIO_INLINE void seen_files::release_unused(file_id id) {
  const auto found = files_.find(id);
  if (found == files_.end() || found->second.users != 0) return;
  hold(id, no_file);
  files_.erase(id);
}

KVM_VFIO_INLINE file_id seen_files::id_at(slot at) const noexcept {
  const auto found = slots_.find(at);
  return found == slots_.end() ? no_file : found->second;
}

KVM_VFIO_INLINE seen_file* seen_files::find(file_id id) noexcept {
  const auto found = files_.find(id);
  return found == files_.end() ? nullptr : &found->second;
}

KVM_VFIO_INLINE std::string seen_files::open_devices(file_id group, int process) const {
  std::string text;
  const auto keeps = [&](file_id id) {
    const auto found = files_.find(id);
    return found != files_.end() && found->second.type == file_type::device &&
           found->second.holds == group;
  };
  const auto name = [&](const std::string& what, file_id id, int of) {
    text += (text.empty() ? "" : ", ") + what;
    if (of != process) text += of < 0 ? " of another process" : " of process " + std::to_string(of);
    text += " (" + files_.find(id)->second.name + ")";
  };
  for (const auto& [at, id] : slots_)
    if (keeps(id)) name("descriptor " + std::to_string(at.second), id, at.first);
  for (const seen_mapping& m : mappings_)
    if (keeps(m.file))
      name("the mapping of " + std::to_string(m.size) + " bytes at " + in_hex(m.address), m.file,
           m.process);
  return text;
}

}  // namespace kvm_vfio::trace::detail
