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
#include <kvm_vfio/sim/system/file_mappings.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/model_file.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE process::process(filesystem& files, memory& mem,
                                 address_space_id address_space) noexcept
    : filesystem_(files), memory_(mem), space_(address_space) {}

KVM_VFIO_INLINE process::~process() { end(); }

KVM_VFIO_INLINE memory_account& process::changed_account() {
  const guard held(mutex_);
  if (!account_)
    account_ = std::make_shared<memory_account>(memory_account{.address_space = space_});
  return *account_;
}

KVM_VFIO_INLINE std::shared_ptr<const memory_account> process::account() {
  (void)changed_account();
  return account_;
}

KVM_VFIO_INLINE void process::observe(trace::call_observer& observer) {
  observers_.push_back(&observer);
}

KVM_VFIO_INLINE std::uint64_t process::calls() const noexcept {
  return __atomic_load_n(&calls_, __ATOMIC_ACQUIRE);
}

KVM_VFIO_INLINE errc process::begin(const trace::call& c) noexcept {
  __atomic_add_fetch(&calls_, 1, __ATOMIC_ACQ_REL);
  return faults_.meet(c);
}

template <class Function>
answer process::on_file(trace::call& c, Function on) {
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  const file_ref f = look_up(c.fd);
  return told(c, f ? on(*f.get()) : answer(errc::badf));
}

KVM_VFIO_INLINE answer process::open(const char* path, int flags) {
  trace::call c{
      .kind = trace::call_kind::open, .process = space_, .text = path ? path : std::string()};
  const in_call here(*this);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  if (!path) return told(c, errc::fault);
  const result<file*> f = filesystem_.open(path, flags);
  if (!f) return told(c, f.error());
  const auto use = flags & O_PATH ? descriptor_use::path_only : descriptor_use::all_calls;
  return told(c, insert(file_ref(*f), use));
}

KVM_VFIO_INLINE answer process::eventfd() {
  trace::call c{.kind = trace::call_kind::eventfd, .process = space_};
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  return told(c, insert(file_ref(new event_file)));
}

KVM_VFIO_INLINE answer process::close(int fd) {
  trace::call c{.kind = trace::call_kind::close, .process = space_, .fd = fd};
  const in_call here(*this);
  const errc fault = begin(c);
  // Observers must be told of this close before a new file gets the descriptor.
  const bool keep = !observers_.empty();
  const errc dropped = drop(fd, keep ? number::is_kept : number::is_free);
  const answer a = to_answer(fault == errc::ok ? dropped : fault);
  (void)told(c, a);
  if (dropped == errc::ok && keep) give_number_back(fd);
  return a;
}

KVM_VFIO_INLINE answer process::dup(int fd) {
  trace::call c{.kind = trace::call_kind::dup, .process = space_, .fd = fd};
  return dup_from(c, 0);
}

KVM_VFIO_INLINE answer process::dup(int fd, int lowest) {
  trace::call c{.kind = trace::call_kind::dup, .process = space_, .fd = fd};
  return dup_from(c, static_cast<std::size_t>(lowest));
}

KVM_VFIO_INLINE answer process::dup_from(trace::call& c, std::size_t lowest) {
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  slot copy;
  {
    const guard held(mutex_);
    if (const slot* s = find(c.fd)) copy = {s->open, s->use};
    if (copy.open) copy.open->get();
  }
  if (!copy.open) return told(c, errc::badf);
  file_ref f(copy.open);
  if (lowest != 0 && lowest >= limit_) return told(c, errc::inval);  // also a negative number
  return told(c, insert_from(std::move(f), copy.use, lowest));
}

KVM_VFIO_INLINE answer process::ioctl(int fd, std::uint64_t request, std::uint64_t argument) {
  trace::call c{.kind = trace::call_kind::ioctl,
                .process = space_,
                .fd = fd,
                .request = static_cast<std::uint32_t>(request),
                .argument = argument};
  const in_call here(*this);
  if (!observers_.empty()) trace::decode_argument(c, memory_);
  return on_file(c, [&](file& f) { return f.ioctl(*this, c.request, argument); });
}

KVM_VFIO_INLINE answer process::read(int fd, void* to, std::size_t size) {
  trace::call c{.kind = trace::call_kind::read, .process = space_, .fd = fd, .size = size};
  return on_file(c, [&](file& f) { return f.read(to, size); });
}

KVM_VFIO_INLINE answer process::write(int fd, const void* from, std::size_t size) {
  trace::call c{.kind = trace::call_kind::write, .process = space_, .fd = fd, .size = size};
  return on_file(c, [&](file& f) { return f.write(from, size); });
}

KVM_VFIO_INLINE answer process::pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
  trace::call c{.kind = trace::call_kind::pread,
                .process = space_,
                .fd = fd,
                .argument = offset,
                .size = size};
  return on_file(c, [&](file& f) { return f.pread(to, size, offset); });
}

KVM_VFIO_INLINE answer process::pwrite(int fd, const void* from, std::size_t size,
                                       std::uint64_t offset) {
  trace::call c{.kind = trace::call_kind::pwrite,
                .process = space_,
                .fd = fd,
                .argument = offset,
                .size = size};
  return on_file(c, [&](file& f) { return f.pwrite(from, size, offset); });
}

KVM_VFIO_INLINE answer process::map_from(std::size_t size, int protection, int fd,
                                         std::uint64_t offset, const std::uint64_t* address_given) {
  trace::call c{.kind = trace::call_kind::mmap,
                .process = space_,
                .fd = fd,
                .argument = offset,
                .size = size};
  const in_call here(*this);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  // The order of the checks is that of Linux.
  if (offset % page_size != 0) return told(c, errc::inval);
  file_ref f = look_up(fd);
  if (!f) return told(c, errc::badf);
  if (size == 0) return told(c, errc::inval);
  const std::uint64_t whole = (std::uint64_t{size} + page_size - 1) / page_size * page_size;
  if (whole < size) return told(c, errc::nomem);
  const result<void*> at = f->mmap(whole, protection, offset);
  if (!at) return told(c, at.error());
  const std::uint64_t address =
      address_given ? *address_given : reinterpret_cast<std::uintptr_t>(*at);
  {
    const guard held(mutex_);
    mappings_.push_back({address, whole, std::move(f)});
  }
  return told(c, static_cast<std::int64_t>(address));
}

KVM_VFIO_INLINE answer process::munmap(void* address, std::size_t size) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  trace::call c{.kind = trace::call_kind::munmap, .process = space_, .argument = at, .size = size};
  const in_call here(*this);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  const std::uint64_t whole = (std::uint64_t{size} + page_size - 1) / page_size * page_size;
  file_ref mapped;
  if (at % page_size == 0 && whole != 0) {
    const guard held(mutex_);
    mapped = unmap(mappings_, at, whole);
  }
  if (!mapped) return told(c, errc::inval);
  mapped.reset();
  return told(c, 0);
}

KVM_VFIO_INLINE void process::exit() noexcept {
  trace::call c{.kind = trace::call_kind::exit, .process = space_};
  (void)told(c, 0);
  end();
}

KVM_VFIO_INLINE void process::end() noexcept {
  const in_call here(*this);
  std::vector<file_mapping> gone;
  {
    const guard held(mutex_);
    gone.swap(mappings_);
  }
  gone.clear();
  for (std::size_t fd = 0; fd < slots_.size(); ++fd)
    (void)drop(static_cast<int>(fd), number::is_free);
}

KVM_VFIO_INLINE void process::fork_into(process& child) {
  {
    const guard held(mutex_);
    for (const file_mapping& m : mappings_) {
      m.mapped->get();
      child.mappings_.push_back({m.address, m.size, file_ref(m.mapped.get())});
    }
    child.slots_ = slots_;
    child.open_ = open_;
    for (slot& s : child.slots_) {
      s.kept = false;
      if (s.open) s.open->get();
    }
  }
  trace::call c{.kind = trace::call_kind::fork, .process = space_};
  trace::decode_answer(c, memory_, child.space_);
  for (trace::call_observer* o : observers_)
    if (std::find(child.observers_.begin(), child.observers_.end(), o) != child.observers_.end())
      tell(*o, c);
}

KVM_VFIO_INLINE answer process::install_at(int fd, file* owned, descriptor_use use) {
  trace::call c{.kind = trace::call_kind::install,
                .process = space_,
                .text = owned->name(),
                .made = fd,
                .type = type_of(*owned)};
  file_ref old;
  {
    const guard held(mutex_);
    const auto i = static_cast<std::size_t>(fd);
    for (std::size_t at = 0; at < slots_.size() && c.fd < 0; ++at)
      if (at != i && slots_[at].open == owned) c.fd = static_cast<int>(at);
    old.reset(put_at(i, owned, use));
  }
  old.reset();
  return told(c, fd);
}

KVM_VFIO_INLINE bool process::move_mapping(std::uint64_t from, std::uint64_t to) noexcept {
  const guard held(mutex_);
  return relocate(mappings_, from, to);
}

KVM_VFIO_INLINE void process::lend(int fd, file* owned) {
  file_ref old;
  const guard held(mutex_);
  const auto i = static_cast<std::size_t>(fd);
  if (owned || i < slots_.size()) old.reset(put_at(i, owned, descriptor_use::all_calls));
}

KVM_VFIO_INLINE file* process::put_at(std::size_t at, file* owned, descriptor_use use) {
  if (at >= slots_.size()) slots_.resize(at + 1);
  file* const old = std::exchange(slots_[at].open, owned);
  slots_[at].use = use;
  slots_[at].kept = false;
  if (owned && !old) ++open_;
  if (old && !owned) --open_;
  if (!owned && at < lowest_) lowest_ = at;
  return old;
}

KVM_VFIO_INLINE bool process::maps_file(std::uint64_t address, std::uint64_t size) noexcept {
  const guard held(mutex_);
  return maps(mappings_, address, size);
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
  return insert_from(std::move(f), use, 0);
}

KVM_VFIO_INLINE answer process::insert_from(file_ref f, descriptor_use use, std::size_t lowest) {
  file_ref old;  // released after the lock
  const guard held(mutex_);
  if (next_ >= 0) {
    const int chosen = std::exchange(next_, -1);
    old.reset(put_at(static_cast<std::size_t>(chosen), f.take(), use));
    return chosen;
  }
  if (open_ >= limit_) return errc::mfile;
  while (lowest_ < slots_.size() && (slots_[lowest_].open || slots_[lowest_].kept)) ++lowest_;
  std::size_t at = std::max(lowest, lowest_);
  while (at < slots_.size() && (slots_[at].open || slots_[at].kept)) ++at;
  if (lowest != 0 && at >= limit_) return errc::mfile;
  if (at >= slots_.size()) slots_.resize(at + 1);
  slots_[at] = {f.take(), use};
  ++open_;
  if (at == lowest_) ++lowest_;
  return answer(static_cast<std::int64_t>(at));
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

KVM_VFIO_INLINE answer process::told(trace::call& c, answer a) noexcept {
  if (observers_.empty()) return a;
  // The call was executed, so an observer without memory must not make the call fail.
  try {
    trace::decode_answer(c, memory_, a);
  } catch (const std::bad_alloc&) {
    return a;
  }
  for (trace::call_observer* o : observers_) tell(*o, c);
  return a;
}

KVM_VFIO_INLINE void process::tell(trace::call_observer& o, const trace::call& c) noexcept {
  try {
    o.called(c);
  } catch (const std::bad_alloc&) {
    return;
  }
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
