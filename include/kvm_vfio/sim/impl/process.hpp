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
#include <kvm_vfio/sim/system/descriptor_table.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_bytes.hpp>
#include <kvm_vfio/sim/system/file_mappings.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/model_file.hpp>
#include <kvm_vfio/sim/system/observer_list.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/system/user_addresses.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE process::process(filesystem& files, memory& mem,
                                 address_space_id address_space) noexcept
    : filesystem_(files), memory_(mem), space_(address_space) {
  static std::uint32_t last = 0;
  number_ = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED);
}

KVM_VFIO_INLINE process::~process() { end(); }

KVM_VFIO_INLINE errc process::begin(const trace::call& c) noexcept {
  __atomic_add_fetch(&calls_, 1, __ATOMIC_ACQ_REL);
  return faults_.meet(c);
}

template <class Function>
answer process::on_file(trace::call& c, Function on, bool described) {
  if (const errc e = begin(c); e != errc::ok) return told(c, e, described);
  auto use = descriptor_use::all_calls;
  const file_ref f = look_up(c.fd, &use);
  const errc e = refuse(c, f ? use : descriptor_use::path_only);
  return told(c, e == errc::ok ? detail::attempt([&] { return on(*f.get()); }) : e, described);
}

template <class Read>
answer process::open_from(Read read, int flags) {
  trace::call c = call_of(trace::call_kind::open);
  const in_call here(*this);
  std::string path;
  const answer known = detail::attempt([&] { return to_answer(read(path)); });
  const bool described = observers_.describe([&] { c.text = path; });
  if (const errc e = begin(c); e != errc::ok) return told(c, e, described);
  if (!known) return told(c, known, described);
  const answer made = detail::attempt([&]() -> answer {
    const result<file*> f = filesystem_.open(path.c_str(), flags);
    if (!f) return f.error();
    return insert(file_ref(*f), use_of(flags));
  });
  return told(c, made, described);
}

KVM_VFIO_INLINE answer process::open(const char* path, int flags) {
  const auto address = reinterpret_cast<std::uintptr_t>(path);
  return open_from(
      [&](std::string& text) {
        const errc e = trace::read_string(memory_, address, text);
        return e == errc::inval ? errc::nametoolong : e;
      },
      flags);
}

KVM_VFIO_INLINE answer process::open_path(std::string_view path, int flags) {
  return open_from(
      [&](std::string& text) {
        text = path;
        return path.size() < longest_path ? errc::ok : errc::nametoolong;
      },
      flags);
}

KVM_VFIO_INLINE answer process::eventfd() {
  trace::call c = call_of(trace::call_kind::eventfd);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  return told(c, detail::attempt([&] {
                return insert(file_ref(new event_file(filesystem_.exact_eventfds())));
              }));
}

KVM_VFIO_INLINE answer process::close(int fd) {
  trace::call c = call_of(trace::call_kind::close, fd);
  const in_call here(*this);
  const errc fault = begin(c);
  // Observers must be told of this close before a new file gets the descriptor.
  const bool keep = !observers_.empty();
  const errc dropped = drop(fd, keep);
  const answer a = to_answer(fault == errc::ok ? dropped : fault);
  (void)told(c, a);
  if (dropped != errc::ok || !keep) return a;
  const guard held(mutex_);
  table_.give_back(fd);
  return a;
}

KVM_VFIO_INLINE answer process::dup(int fd) {
  trace::call c = call_of(trace::call_kind::dup, fd);
  return dup_from(c, 0);
}

KVM_VFIO_INLINE answer process::dup(int fd, int lowest) {
  trace::call c = call_of(trace::call_kind::dup, fd);
  return dup_from(c, static_cast<std::size_t>(lowest));
}

KVM_VFIO_INLINE answer process::dup_from(trace::call& c, std::size_t lowest) {
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  descriptor_table::slot copy;
  bool below_limit = true;
  {
    const guard held(mutex_);
    if (const auto* s = table_.find(c.fd)) copy = {s->open, s->use};
    if (copy.open) copy.open->get();
    below_limit = lowest == 0 || table_.below_limit(lowest);  // a negative number is not
  }
  if (!copy.open) return told(c, errc::badf);
  file_ref f(copy.open);
  if (!below_limit) return told(c, errc::inval);
  return told(c, detail::attempt([&] { return insert_from(std::move(f), copy.use, lowest); }));
}

KVM_VFIO_INLINE answer process::ioctl(int fd, std::uint64_t request, std::uint64_t argument) {
  trace::call c = call_of(trace::call_kind::ioctl, fd);
  c.request = static_cast<std::uint32_t>(request);
  c.argument = argument;
  const in_call here(*this);
  const bool described = observers_.describe([&] { trace::decode_argument(c, memory_); });
  return on_file(
      c, [&](file& f) { return f.ioctl(*this, static_cast<std::uint32_t>(request), argument); },
      described);
}

KVM_VFIO_INLINE answer process::read(int fd, void* to, std::size_t size) {
  trace::call c = call_of(trace::call_kind::read, fd);
  c.size = size;
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  return on_file(c, [&](file& f) { return read_file(f, memory_, address, size, nullptr); });
}

KVM_VFIO_INLINE answer process::write(int fd, const void* from, std::size_t size) {
  trace::call c = call_of(trace::call_kind::write, fd);
  c.size = size;
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  return on_file(c, [&](file& f) { return write_file(f, memory_, address, size, nullptr); });
}

KVM_VFIO_INLINE answer process::pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
  trace::call c = call_of(trace::call_kind::pread, fd);
  c.argument = offset;
  c.size = size;
  const auto address = reinterpret_cast<std::uintptr_t>(to);
  return on_file(c, [&](file& f) { return read_file(f, memory_, address, size, &offset); });
}

KVM_VFIO_INLINE answer process::pwrite(int fd, const void* from, std::size_t size,
                                       std::uint64_t offset) {
  trace::call c = call_of(trace::call_kind::pwrite, fd);
  c.argument = offset;
  c.size = size;
  const auto address = reinterpret_cast<std::uintptr_t>(from);
  return on_file(c, [&](file& f) { return write_file(f, memory_, address, size, &offset); });
}

KVM_VFIO_INLINE answer process::map_from(std::size_t size, int protection, int fd,
                                         std::uint64_t offset, const std::uint64_t* address_given) {
  trace::call c = call_of(trace::call_kind::mmap, fd);
  c.argument = offset;
  c.size = size;
  const in_call here(*this);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  // The order of the checks is that of Linux.
  if (offset % page_size != 0) return told(c, errc::inval);
  auto use = descriptor_use::all_calls;
  file_ref f = look_up(fd, &use);
  if (!f) return told(c, errc::badf);
  if (size == 0) return told(c, errc::inval);
  const std::uint64_t whole = (std::uint64_t{size} + page_size - 1) / page_size * page_size;
  if (whole < size || whole > detail::end_of_user) return told(c, errc::nomem);
  if (offset / page_size > (~std::uint64_t{0} - whole) / page_size) return told(c, errc::overflow);
  if (const errc e = refuse(c, use, protection); e != errc::ok) return told(c, e);
  return told(c, detail::attempt([&]() -> answer {
                const result<void*> at = f->mmap(whole, protection, offset);
                // Linux does not share the memory of a file that cannot be written, and no file of
                // VFIO gives its memory without that.
                if (use == descriptor_use::read_only && at.error() != errc::nodev)
                  return errc::inval;
                if (!at) return at.error();
                const std::uint64_t address =
                    address_given ? *address_given : reinterpret_cast<std::uintptr_t>(*at);
                const guard held(mutex_);
                mappings_.push_back({address, whole, std::move(f)});
                return static_cast<std::int64_t>(address);
              }));
}

KVM_VFIO_INLINE answer process::munmap(void* address, std::size_t size) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  trace::call c = call_of(trace::call_kind::munmap);
  c.argument = at;
  c.size = size;
  const in_call here(*this);
  if (const errc e = begin(c); e != errc::ok) return told(c, e);
  const std::uint64_t whole = (std::uint64_t{size} + page_size - 1) / page_size * page_size;
  return told(c, detail::attempt([&]() -> answer {
                file_ref mapped;
                if (at % page_size == 0 && whole != 0) {
                  const guard held(mutex_);
                  mapped = unmap(mappings_, at, whole);
                }
                return mapped ? answer(0) : answer(errc::inval);
              }));
}

KVM_VFIO_INLINE answer process::told(trace::call& c, answer a, bool described) noexcept {
  if (described) observers_.tell(c, a, memory_);
  return a;
}

KVM_VFIO_INLINE answer process::install_at(int fd, file* owned, descriptor_use use) {
  trace::call c = call_of(trace::call_kind::install);
  c.made = fd;
  c.type = type_of(*owned);
  file_ref made(owned);
  const bool described = observers_.describe([&] { c.text = owned->name(); });
  file_ref old;
  const answer a = detail::attempt([&]() -> answer {
    const guard held(mutex_);
    old = table_.replace(fd, made, use, c.fd);
    return fd;
  });
  old.reset();
  return told(c, a, described);
}

KVM_VFIO_INLINE memory_account& process::changed_account() {
  const guard held(mutex_);
  if (!account_ || account_->ended) {  // a program may use the object again after `exit`
    const auto before = account_ ? *account_ : memory_account{.address_space = space_};
    account_ = std::make_shared<memory_account>(before);
    account_->ended = false;
  }
  return *account_;
}

KVM_VFIO_INLINE std::shared_ptr<const memory_account> process::account() {
  (void)changed_account();
  return account_;
}

KVM_VFIO_INLINE void process::observe(trace::call_observer& observer) { observers_.add(observer); }

KVM_VFIO_INLINE std::uint64_t process::calls() const noexcept {
  return __atomic_load_n(&calls_, __ATOMIC_ACQUIRE);
}

KVM_VFIO_INLINE void process::exit() noexcept {
  trace::call c = call_of(trace::call_kind::exit);
  (void)told(c, 0);
  end();
}

KVM_VFIO_INLINE bool process::move_mapping(std::uint64_t from, std::uint64_t to,
                                           std::uint64_t size) noexcept {
  return static_cast<bool>(detail::attempt([&]() -> answer {
    const guard held(mutex_);
    const bool moved =
        size == 0 ? relocate(mappings_, from, to) : relocate_part(mappings_, from, size, to);
    return moved ? answer(0) : answer(errc::inval);
  }));
}

KVM_VFIO_INLINE bool process::maps_file(std::uint64_t address, std::uint64_t size) noexcept {
  const guard held(mutex_);
  return maps(mappings_, address, size);
}

KVM_VFIO_INLINE file* process::file_of(int fd) noexcept {
  const guard held(mutex_);
  const descriptor_table::slot* const s = table_.find(fd);
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
  const answer at = table_.free_number(lowest);
  if (at) old = table_.occupy(*at, f.take(), use);
  return at;
}

KVM_VFIO_INLINE file_ref process::look_up(int fd, descriptor_use* use) noexcept {
  const guard held(mutex_);
  const descriptor_table::slot* const s = table_.find(fd);
  if (!s || s->use == descriptor_use::path_only) return {};
  if (use) *use = s->use;
  s->open->get();
  return file_ref(s->open);
}

KVM_VFIO_INLINE errc process::drop(int fd, bool keep_number) noexcept {
  file_ref f;
  const guard held(mutex_);
  if (!table_.find(fd)) return errc::badf;
  f = table_.take(fd, keep_number);
  return errc::ok;
}

// After an error the model still owns `made`, so it must not be released here. Therefore the free
// descriptor is looked for before the file is made.
KVM_VFIO_INLINE result<int> process::install(open_file<process>& made) noexcept {
  file_ref old;  // released after the lock
  const guard held(mutex_);
  const answer at = detail::attempt([&] { return table_.free_number(0); });
  if (!at) return at.error();
  auto* const f = new (std::nothrow) model_file(made);
  if (!f) return errc::nomem;
  old = table_.occupy(*at, f, descriptor_use::all_calls);
  return static_cast<int>(*at);
}

KVM_VFIO_INLINE void process::lend(int fd, file* owned) {
  file_ref made(owned);
  file_ref old;  // released after the lock
  const guard held(mutex_);
  if (made) old = table_.put(fd, made, descriptor_use::all_calls);
  else if (table_.find(fd)) old = table_.take(fd, /*keep=*/false);
}

KVM_VFIO_INLINE void process::end() noexcept {
  const in_call here(*this);
  std::vector<file_mapping> gone;
  {
    const guard held(mutex_);
    gone.swap(mappings_);
    if (account_) __atomic_store_n(&account_->ended, true, __ATOMIC_RELEASE);
  }
  gone.clear();
  // Another thread may still open files.
  const auto last = [this] {
    const guard held(mutex_);
    return table_.end();
  };
  for (int fd = 0; fd < last(); ++fd) (void)drop(fd, /*keep_number=*/false);
}

KVM_VFIO_INLINE void process::fork_into(process& child) {
  {
    const guard held(mutex_);
    auto mappings = copy(mappings_);
    std::shared_ptr<memory_account> account;
    if (account_) {
      account = std::make_shared<memory_account>(*account_);
      account->address_space = child.space_;
      account->ended = false;
    }
    child.table_.copy(table_);
    child.mappings_.swap(mappings);
    child.account_ = std::move(account);
    child.raw_io_ = raw_io_;
  }
  trace::call c = call_of(trace::call_kind::fork);
  observers_.tell_both(child.observers_, c, child.space_, memory_);
}

}  // namespace kvm_vfio::sim
