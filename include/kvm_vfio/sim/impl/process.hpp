// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of process.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/model_file.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE process::process(filesystem& files, memory& mem,
                                 address_space_id address_space) noexcept
    : filesystem_(files), memory_(mem), space_(address_space) {}

KVM_VFIO_INLINE process::~process() { exit(); }

KVM_VFIO_INLINE void process::observe(trace::call_observer& observer) {
  observers_.push_back(&observer);
}

KVM_VFIO_INLINE answer process::open(const char* path, int flags) {
  trace::call c{.kind = trace::call_kind::open, .process = space_, .text = path};
  const in_call here(*this);
  const result<file*> f = filesystem_.open(path, flags);
  if (!f) return told(c, f.error());
  const auto use = flags & O_PATH ? descriptor_use::path_only : descriptor_use::all_calls;
  return told(c, insert(file_ref(*f), use));
}

KVM_VFIO_INLINE answer process::eventfd() {
  trace::call c{.kind = trace::call_kind::eventfd, .process = space_};
  return told(c, insert(file_ref(new event_file)));
}

KVM_VFIO_INLINE answer process::close(int fd) {
  trace::call c{.kind = trace::call_kind::close, .process = space_, .fd = fd};
  const in_call here(*this);
  // Observers must be told of this close before a new file gets the descriptor.
  const bool keep = !observers_.empty();
  const answer a = to_answer(drop(fd, keep ? number::is_kept : number::is_free));
  (void)told(c, a);
  if (a && keep) give_number_back(fd);
  return a;
}

KVM_VFIO_INLINE answer process::dup(int fd) {
  trace::call c{.kind = trace::call_kind::dup, .process = space_, .fd = fd};
  slot copy;
  {
    const guard held(mutex_);
    if (const slot* s = find(fd)) copy = {s->open, s->use};
    if (copy.open) copy.open->get();
  }
  return told(c, copy.open ? insert(file_ref(copy.open), copy.use) : answer(errc::badf));
}

KVM_VFIO_INLINE answer process::ioctl(int fd, std::uint64_t request, std::uint64_t argument) {
  trace::call c{.kind = trace::call_kind::ioctl,
                .process = space_,
                .fd = fd,
                .request = static_cast<std::uint32_t>(request),
                .argument = argument};
  const in_call here(*this);
  if (!observers_.empty()) trace::decode_argument(c, memory_);
  const file_ref f = look_up(fd);
  return told(c, f ? f->ioctl(*this, c.request, argument) : answer(errc::badf));
}

KVM_VFIO_INLINE answer process::pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
  trace::call c{.kind = trace::call_kind::pread, .process = space_, .fd = fd, .argument = offset};
  const file_ref f = look_up(fd);
  return told(c, f ? f->pread(to, size, offset) : answer(errc::badf));
}

KVM_VFIO_INLINE answer process::pwrite(int fd, const void* from, std::size_t size,
                                       std::uint64_t offset) {
  trace::call c{.kind = trace::call_kind::pwrite, .process = space_, .fd = fd, .argument = offset};
  const file_ref f = look_up(fd);
  return told(c, f ? f->pwrite(from, size, offset) : answer(errc::badf));
}

KVM_VFIO_INLINE void process::exit() noexcept {
  const in_call here(*this);
  for (std::size_t fd = 0; fd < slots_.size(); ++fd)
    (void)drop(static_cast<int>(fd), number::is_free);
}

KVM_VFIO_INLINE void process::fork_into(process& child) {
  const guard held(mutex_);
  child.slots_ = slots_;
  child.open_ = open_;
  for (slot& s : child.slots_) {
    s.kept = false;
    if (s.open) s.open->get();
  }
}

KVM_VFIO_INLINE answer process::install_at(int fd, file* owned, descriptor_use use) {
  file_ref old;
  const guard held(mutex_);
  const auto i = static_cast<std::size_t>(fd);
  if (i >= slots_.size()) slots_.resize(i + 1);
  if (slots_[i].open) old.reset(slots_[i].open);
  else ++open_;
  slots_[i] = {owned, use};
  return fd;
}

KVM_VFIO_INLINE file* process::file_of(int fd) noexcept {
  const guard held(mutex_);
  const slot* const s = find(fd);
  return s ? s->open : nullptr;
}

KVM_VFIO_INLINE result<file*> process::fget(int fd) noexcept {
  file_ref f = look_up(fd);
  if (!f) return errc::badf;
  return f.take();
}

KVM_VFIO_INLINE answer process::insert(file_ref f, descriptor_use use) {
  const guard held(mutex_);
  if (open_ >= limit_) return errc::mfile;
  while (lowest_ < slots_.size() && (slots_[lowest_].open || slots_[lowest_].kept)) ++lowest_;
  if (lowest_ == slots_.size()) slots_.emplace_back();
  slots_[lowest_] = {f.take(), use};
  ++open_;
  return answer(static_cast<std::int64_t>(lowest_++));
}

KVM_VFIO_INLINE const process::slot* process::find(int fd) const noexcept {
  const auto i = static_cast<std::size_t>(fd);
  return fd >= 0 && i < slots_.size() && slots_[i].open ? &slots_[i] : nullptr;
}

KVM_VFIO_INLINE file_ref process::look_up(int fd) noexcept {
  const guard held(mutex_);
  const slot* const s = find(fd);
  if (!s || s->use == descriptor_use::path_only) return {};
  s->open->get();
  return file_ref(s->open);
}

KVM_VFIO_INLINE errc process::drop(int fd, number then) noexcept {
  file_ref f;
  {
    const guard held(mutex_);
    if (!find(fd)) return errc::badf;
    const auto i = static_cast<std::size_t>(fd);
    f.reset(std::exchange(slots_[i].open, nullptr));
    slots_[i].kept = then == number::is_kept;
    if (then == number::is_free && i < lowest_) lowest_ = i;
    --open_;
  }
  return errc::ok;
}

KVM_VFIO_INLINE void process::give_number_back(int fd) noexcept {
  const guard held(mutex_);
  const auto i = static_cast<std::size_t>(fd);
  slots_[i].kept = false;
  if (i < lowest_) lowest_ = i;
}

KVM_VFIO_INLINE answer process::told(trace::call& c, answer a) {
  if (observers_.empty()) return a;
  trace::decode_answer(c, memory_, a);
  for (trace::call_observer* o : observers_) o->called(c);
  return a;
}

// After an error the model still owns `made`, so it must not be released here. Therefore the free
// descriptor is looked for before the file is made.
KVM_VFIO_INLINE result<int> process::install(open_file<process>& made) noexcept {
  const guard held(mutex_);
  if (open_ >= limit_) return errc::mfile;
  auto* const f = new (std::nothrow) model_file(made);
  if (!f) return errc::nomem;
  return static_cast<int>(*insert(file_ref(f)));
}

}  // namespace kvm_vfio::sim
