// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of descriptor_table.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/descriptor_table.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE descriptor_use use_of(int flags) noexcept {
  if (flags & O_PATH) return descriptor_use::path_only;
  const int access = flags & O_ACCMODE;
  return access == O_RDONLY   ? descriptor_use::read_only
         : access == O_WRONLY ? descriptor_use::write_only
                              : descriptor_use::all_calls;
}

KVM_VFIO_INLINE errc refuse(const trace::call& c, descriptor_use use, int protection) noexcept {
  using kind = trace::call_kind;
  const bool at_offset = c.kind == kind::pread || c.kind == kind::pwrite;
  if (at_offset && c.argument >> 63 != 0) return errc::inval;
  if (use == descriptor_use::path_only) return errc::badf;
  const bool reads = use != descriptor_use::write_only;
  const bool writes = use != descriptor_use::read_only;
  switch (c.kind) {
    case kind::read:
    case kind::pread: return reads ? errc::ok : errc::badf;
    case kind::write:
    case kind::pwrite: return writes ? errc::ok : errc::badf;
    case kind::mmap:
      return reads && (writes || (protection & PROT_WRITE) == 0) ? errc::ok : errc::access;
    default: return errc::ok;
  }
}

KVM_VFIO_INLINE const descriptor_table::slot* descriptor_table::find(int fd) const noexcept {
  const auto i = static_cast<std::size_t>(fd);
  return fd >= 0 && i < slots_.size() && slots_[i].open ? &slots_[i] : nullptr;
}

KVM_VFIO_INLINE answer descriptor_table::free_number(std::size_t lowest) {
  if (chosen_ >= 0) {
    make_room(static_cast<std::size_t>(chosen_));
    return chosen_;
  }
  while (lowest_ < slots_.size() && (slots_[lowest_].open || slots_[lowest_].kept)) ++lowest_;
  std::size_t at = std::max(lowest, lowest_);
  while (at < slots_.size() && (slots_[at].open || slots_[at].kept)) ++at;
  if (at >= limit_) return errc::mfile;
  make_room(at);
  return answer(static_cast<std::int64_t>(at));
}

KVM_VFIO_INLINE file_ref descriptor_table::occupy(std::int64_t found, file* owned,
                                                  descriptor_use use) noexcept {
  const auto at = static_cast<std::size_t>(found);
  chosen_ = -1;
  file_ref old(slots_[at].open);
  if (!old) ++open_;
  slots_[at] = {owned, use};
  if (at == lowest_) ++lowest_;
  return old;
}

KVM_VFIO_INLINE file_ref descriptor_table::put(int fd, file_ref& made, descriptor_use use) {
  const auto at = static_cast<std::size_t>(fd);
  make_room(at);
  file_ref old(slots_[at].open);
  if (!old) ++open_;
  slots_[at] = {made.take(), use};
  return old;
}

KVM_VFIO_INLINE file_ref descriptor_table::replace(int fd, file_ref& made, descriptor_use use,
                                                   int& other) {
  const auto i = static_cast<std::size_t>(fd);
  make_room(i);
  for (std::size_t at = slots_.size(); at-- != 0;)
    if (slots_[at].open == made.get()) other = static_cast<int>(at);
  if (slots_[i].open == made.get()) other = fd;
  return put(fd, made, use);
}

KVM_VFIO_INLINE file_ref descriptor_table::take(int fd, bool keep) noexcept {
  const auto i = static_cast<std::size_t>(fd);
  file_ref taken(std::exchange(slots_[i].open, nullptr));
  --open_;
  slots_[i].kept = true;
  if (!keep) give_back(fd);
  return taken;
}

KVM_VFIO_INLINE void descriptor_table::make_room(std::size_t number) {
  if (number >= slots_.size()) slots_.resize(number + 1);
}

KVM_VFIO_INLINE void descriptor_table::give_back(int fd) noexcept {
  const auto i = static_cast<std::size_t>(fd);
  slots_[i].kept = false;
  lowest_ = std::min(lowest_, i);
}

KVM_VFIO_INLINE void descriptor_table::copy(const descriptor_table& from) {
  slots_ = from.slots_;
  open_ = from.open_;
  limit_ = from.limit_;
  for (slot& s : slots_) {
    s.kept = false;
    if (s.open) s.open->get();
  }
}

}  // namespace kvm_vfio::sim
