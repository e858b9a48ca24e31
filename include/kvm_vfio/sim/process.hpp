// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process of the simulated system: descriptors and memory, called as the kernel is, by
/// (descriptor, request, argument). Any number of threads may call.

#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/sim/decode.hpp>
#include <kvm_vfio/sim/mutex.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>

#include <new>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

/// What opens paths. The world knows VFIO's nodes, a kernel /dev/kvm as well.
class filesystem {
 public:
  filesystem() = default;
  filesystem(const filesystem&) = delete;
  filesystem& operator=(const filesystem&) = delete;
  /// A new open file, with a reference for the caller.
  virtual result<file*> open(const char* path, int flags) = 0;

 protected:
  ~filesystem() = default;
};

/// The task whose call this thread is in: the kernel's `current`; null outside of calls.
inline thread_local process* current_process = nullptr;

/// A process: a table of descriptors, and memory for arguments.
class process {
 public:
  using address_space_id = int;

  /// A process without descriptors. Both must outlive it.
  /// \param address_space equal ones share their memory: a clone, not a fork
  process(filesystem& files, memory& mem, address_space_id address_space = 1) noexcept
      : filesystem_(files), memory_(mem), space_(address_space) {}
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process() { exit(); }

  // The system calls. None throws, but where memory runs out.

  /// \return noent, busy … as the node says · mfile
  answer open(const char* path, int flags = O_RDWR | O_CLOEXEC) {
    call c{.kind = call_kind::open, .process = space_, .text = path};
    const in_call here(*this);
    const result<file*> f = filesystem_.open(path, flags);
    return told(c, f ? insert(file_ref(*f), (flags & O_PATH) != 0) : answer(f.error()));
  }
  /// eventfd(2). \return mfile
  answer eventfd() {
    call c{.kind = call_kind::eventfd, .process = space_};
    return told(c, insert(file_ref(new event_file), false));
  }
  /// \return badf; otherwise 0, even if the release fails inside
  answer close(int fd) {
    call c{.kind = call_kind::close, .process = space_, .fd = fd};
    const in_call here(*this);
    return told(c, to_answer(drop(fd)));
  }
  /// dup(2). \return badf · mfile
  answer dup(int fd) {
    call c{.kind = call_kind::dup, .process = space_, .fd = fd};
    slot copy;
    {
      const guard held(mutex_);
      if (const slot* s = find(fd)) copy = {s->open, s->path};
      if (copy.open) copy.open->get();
    }
    return told(c, copy.open ? insert(file_ref(copy.open), copy.path) : answer(errc::badf));
  }
  /// \param request only the low 32 bits count
  answer ioctl(int fd, std::uint64_t request, std::uint64_t argument) {
    call c{.kind = call_kind::ioctl,
           .process = space_,
           .fd = fd,
           .request = static_cast<std::uint32_t>(request),
           .argument = argument};
    const in_call here(*this);
    if (!observers_.empty()) decode_argument(c, memory_);
    const file_ref f = look_up(fd);
    return told(c, f ? f->ioctl(*this, c.request, argument) : answer(errc::badf));
  }
  /// pread(2) and pwrite(2), as the file has them; badf.
  answer pread(int fd, void* to, std::size_t size, std::uint64_t offset) {
    call c{.kind = call_kind::pread, .process = space_, .fd = fd, .argument = offset};
    const file_ref f = look_up(fd);
    return told(c, f ? f->pread(to, size, offset) : answer(errc::badf));
  }
  /// pwrite(2), likewise.
  answer pwrite(int fd, const void* from, std::size_t size, std::uint64_t offset) {
    call c{.kind = call_kind::pwrite, .process = space_, .fd = fd, .argument = offset};
    const file_ref f = look_up(fd);
    return told(c, f ? f->pwrite(from, size, offset) : answer(errc::badf));
  }
  /// The end of the process: every descriptor is closed, lowest first. No observer is told.
  void exit() noexcept {
    const in_call here(*this);
    for (std::size_t fd = 0; fd < slots_.size(); ++fd) (void)drop(static_cast<int>(fd));
  }
  /// fork(2): `child`, new and of another address space, gets the same descriptors.
  void fork_into(process& child) {
    const guard held(mutex_);
    child.slots_ = slots_;
    child.open_ = open_;
    for (const slot& s : slots_)
      if (s.open) s.open->get();
  }

  // Around them.

  /// Puts a file behind a given descriptor number, as dup2(2): for an interposer, whose numbers
  /// are the real system's. Takes the reference over.
  answer install_at(int fd, file* owned, bool path = false) {
    file_ref old;
    const guard held(mutex_);
    const auto i = static_cast<std::size_t>(fd);
    if (i >= slots_.size()) slots_.resize(i + 1);
    if (slots_[i].open) old.reset(slots_[i].open);
    else ++open_;
    slots_[i] = {owned, path};
    return fd;
  }
  /// No more than this many descriptors from now on (RLIMIT_NOFILE).
  void limit(std::size_t descriptors) noexcept { limit_ = descriptors; }
  /// The observer hears of every call from now on; it must outlive the process.
  void observe(call_observer& observer) { observers_.push_back(&observer); }
  /// Its memory.
  [[nodiscard]] memory& mem() noexcept { return memory_; }
  /// The file behind a descriptor, not referenced; null: not open.
  [[nodiscard]] file* file_of(int fd) noexcept {
    const guard held(mutex_);
    const slot* const s = find(fd);
    return s ? s->open : nullptr;
  }
  /// How many descriptors are open.
  [[nodiscard]] std::size_t descriptors() const noexcept { return open_; }

  // What the model asks (`vm_caller`, `caller`).

  [[nodiscard]] address_space_id address_space() const noexcept { return space_; }
  result<file*> fget(int fd) noexcept {
    file_ref f = look_up(fd);
    if (!f) return errc::badf;
    return f.take();
  }
  result<int> install(open_file<process>& made) noexcept;
  /// A descriptor for a file whose reference the caller hands over; mfile drops it.
  answer insert(file_ref f, bool path = false) {
    const guard held(mutex_);
    if (open_ >= limit_) return errc::mfile;
    while (lowest_ < slots_.size() && slots_[lowest_].open) ++lowest_;
    if (lowest_ == slots_.size()) slots_.emplace_back();
    slots_[lowest_] = {f.take(), path};
    ++open_;
    return answer(static_cast<std::int64_t>(lowest_++));
  }
  template <class T>
  bool copy_from_user(std::uint64_t address, T& object) noexcept {
    return memory_.read(address, &object, sizeof object);
  }
  template <class T>
  bool copy_to_user(std::uint64_t address, const T& object) noexcept {
    return memory_.write(address, &object, sizeof object);
  }

 private:
  struct slot {
    file* open = nullptr;
    bool path = false;
  };
  struct in_call {
    explicit in_call(process& p) noexcept : before(std::exchange(current_process, &p)) {}
    in_call(const in_call&) = delete;
    in_call& operator=(const in_call&) = delete;
    ~in_call() { current_process = before; }
    process* before;
  };

  [[nodiscard]] const slot* find(int fd) const noexcept {
    const auto i = static_cast<std::size_t>(fd);
    return fd >= 0 && i < slots_.size() && slots_[i].open ? &slots_[i] : nullptr;
  }
  // With a reference; an O_PATH descriptor finds nothing.
  file_ref look_up(int fd) noexcept {
    const guard held(mutex_);
    const slot* const s = find(fd);
    if (!s || s->path) return {};
    s->open->get();
    return file_ref(s->open);
  }
  errc drop(int fd) noexcept {
    file_ref f;
    {
      const guard held(mutex_);
      if (!find(fd)) return errc::badf;
      const auto i = static_cast<std::size_t>(fd);
      f.reset(std::exchange(slots_[i].open, nullptr));
      if (i < lowest_) lowest_ = i;
      --open_;
    }
    return errc::ok;
  }
  answer told(call& c, answer a) {
    if (observers_.empty()) return a;
    decode_answer(c, memory_, a);
    for (call_observer* o : observers_) o->called(c);
    return a;
  }

  filesystem& filesystem_;
  memory& memory_;
  address_space_id space_;
  mutex mutex_;
  std::vector<slot> slots_;
  std::vector<call_observer*> observers_;
  std::size_t open_ = 0;
  std::size_t lowest_ = 0;
  std::size_t limit_ = 1 << 20;
};

/// A descriptor's file that the model made: a VM, or a device of one.
class model_file final : public file {
 public:
  /// A file for what the model made; `made` is released with it.
  explicit model_file(open_file<process>& made) noexcept : file(file_kind::kvm), made_(made) {}
  [[nodiscard]] const char* name() const noexcept override { return made_.name(); }
  answer ioctl(process& from, std::uint32_t request, std::uint64_t argument) override {
    return to_answer(made_.ioctl(from, request, argument));
  }
  answer pread(void*, std::size_t, std::uint64_t) override { return error(ESPIPE); }
  answer pwrite(const void*, std::size_t, std::uint64_t) override { return error(ESPIPE); }

 private:
  void release() noexcept override { made_.release(); }
  open_file<process>& made_;
};

// On failure the model keeps what it made, so there must be no release: the descriptor comes first.
inline result<int> process::install(open_file<process>& made) noexcept {
  const guard held(mutex_);
  if (open_ >= limit_) return errc::mfile;
  auto* const f = new (std::nothrow) model_file(made);
  if (!f) return errc::nomem;
  return static_cast<int>(*insert(file_ref(f)));
}

static_assert(caller<process, file*> && vm_caller<process>);

}  // namespace kvm_vfio::sim
