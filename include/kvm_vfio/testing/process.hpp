// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Mock processes: descriptors with dup and O_PATH onto shared open files, and memory. A test
/// calls ioctl() on them as a VMM does.

#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/user_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::testing {

class process;

/// The open files of the mock system and the references on them; shared by its processes. One
/// thread only.
class open_files {
 public:
  /// `log`, and `plan` if there is one, must outlive the files.
  constexpr explicit open_files(journal& log, fault_plan* plan = nullptr) noexcept
      : log_(log), plan_(plan) {}
  open_files(const open_files&) = delete;
  open_files& operator=(const open_files&) = delete;

  /// References on a file: descriptors, and what the model holds.
  [[nodiscard]] constexpr int references(file_id f) const noexcept {
    for (const description& d : files_)
      if (d.id == f) return d.references;
    return 0;
  }
  /// References on all files.
  [[nodiscard]] constexpr int references() const noexcept {
    int sum = 0;
    for (const description& d : files_) sum += d.references;
    return sum;
  }

  /// The system has at most this many open files from now on (fs.file-max): a new one of the
  /// model's is refused with nfile.
  constexpr void limit(std::size_t files) noexcept { limit_ = files; }

  /// The files policy for the model: counts and records.
  class policy {
   public:
    /// `files` must outlive the device that counts through it.
    constexpr explicit policy(open_files& files) noexcept : files_(&files) {}
    constexpr result<file_id> get_file(const file_id& f) noexcept {
      const errc e = files_->plan_ ? files_->plan_->strike(fault::get_file) : errc::ok;
      files_->log_.add(events::get_file(f, e));
      if (e != errc::ok) return e;
      files_->get(f, nullptr);
      return f;
    }
    constexpr void fput(const file_id& f) noexcept {
      files_->log_.add(events::fput(f));
      files_->put(f);
    }

   private:
    open_files* files_;
  };

 private:
  friend process;
  struct description {
    file_id id;
    open_file<process>* made;  // null: not a file of the model's
    int references;
  };

  [[nodiscard]] constexpr bool full() const noexcept { return files_.size() >= limit_; }
  [[nodiscard]] constexpr file_id name_own() noexcept { return {-++own_}; }
  constexpr void get(file_id f, open_file<process>* made) {
    for (description& d : files_)
      if (d.id == f) {
        ++d.references;
        return;
      }
    files_.push_back({f, made, 1});
  }
  constexpr void put(file_id f) noexcept {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      if (files_[i].id != f) continue;
      if (--files_[i].references != 0) return;
      open_file<process>* const made = files_[i].made;
      files_.erase(files_.begin() + static_cast<std::ptrdiff_t>(i));
      if (made) made->release();
      return;
    }
  }
  [[nodiscard]] constexpr open_file<process>* made(file_id f) const noexcept {
    for (const description& d : files_)
      if (d.id == f) return d.made;
    return nullptr;
  }

  journal& log_;
  fault_plan* plan_;
  std::vector<description> files_;
  std::size_t limit_ = static_cast<std::size_t>(-1);
  int own_ = 0;
};
static_assert(file_references<open_files::policy, file_id>);

/// A process: the model's caller, and the test's hand in it. One thread only.
class process {
 public:
  using address_space_id = int;

  /// A process with no descriptors. `files`, `log` and `plan` must outlive it.
  constexpr process(open_files& files, journal& log, fault_plan* plan = nullptr,
                    int address_space = 1) noexcept
      : files_(files), log_(log), plan_(plan), space_(address_space) {}
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  constexpr ~process() { exit(); }

  /// The memory of the process.
  mapped_memory memory;

  // What a test does.

  /// A descriptor of the file.
  constexpr int open(file_id f) { return insert({f, false, true}, nullptr); }
  /// A descriptor of a file of the model's, a VM for example. `made` must outlive every descriptor
  /// of it: declare it before the process, or close them first.
  constexpr int open(open_file<process>& made) {
    return insert({files_.name_own(), false, true}, &made);
  }
  /// An O_PATH descriptor: EBADF for everything that needs the file.
  constexpr int open_path(file_id f) { return insert({f, true, true}, nullptr); }
  /// A descriptor of the open file that another refers to; badf: not open.
  constexpr result<int> dup(int fd) {
    if (!is_open(fd)) return errc::badf;
    return insert(slot(fd), nullptr);
  }
  /// close(2); badf: not open.
  constexpr errc close(int fd) noexcept {
    if (!is_open(fd)) return errc::badf;
    const file_id f = slot(fd).file;
    slot(fd) = {};
    files_.put(f);
    return errc::ok;
  }
  /// Closes every descriptor, as at the end of a process.
  constexpr void exit() noexcept {
    for (std::size_t fd = 0; fd < slots_.size(); ++fd) (void)close(static_cast<int>(fd));
  }
  /// fork(2): a child with the same descriptors in an address space of its own. Its memory is
  /// empty. \pre `child` has no descriptors
  constexpr void fork_into(process& child) {
    for (const descriptor& d : slots_)
      if (d.open) files_.get(d.file, nullptr);
    child.slots_ = slots_;
  }
  /// No more than this many descriptors from now on (RLIMIT_NOFILE).
  constexpr void limit(std::size_t descriptors) noexcept { limit_ = descriptors; }
  /// ioctl(2): badf, notty for a file that is not the model's, or the file's answer.
  constexpr errc ioctl(int fd, std::uint64_t request, std::uint64_t argument) noexcept {
    return on(fd, [&](open_file<process>& f) { return f.ioctl(*this, request, argument); });
  }
  /// read(2) of a file of the model's: badf, notty for another file, or the file's answer.
  [[nodiscard]] constexpr errc read(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.read(); });
  }
  /// write(2), likewise.
  [[nodiscard]] constexpr errc write(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.write(); });
  }
  /// lseek(2), likewise.
  [[nodiscard]] constexpr errc lseek(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.lseek(); });
  }
  /// mmap(2), likewise.
  [[nodiscard]] constexpr errc mmap(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.mmap(); });
  }
  /// The open file behind a descriptor; the empty id: not open.
  [[nodiscard]] constexpr file_id file_of(int fd) const noexcept {
    return is_open(fd) ? slots_[static_cast<std::size_t>(fd)].file : file_id{};
  }
  /// The name of the model's file behind a descriptor; null: none.
  [[nodiscard]] constexpr const char* name_of(int fd) const noexcept {
    const open_file<process>* const made = files_.made(file_of(fd));
    return made ? made->name() : nullptr;
  }
  /// How many descriptors are open.
  [[nodiscard]] constexpr std::size_t descriptors() const noexcept {
    std::size_t n = 0;
    for (const descriptor& d : slots_) n += d.open;
    return n;
  }

  // What the model asks.

  [[nodiscard]] constexpr int address_space() const noexcept { return space_; }
  constexpr result<file_id> fget(int fd) noexcept {
    errc e = strike(fault::fget);
    if (e == errc::ok && (!is_open(fd) || slot(fd).path)) e = errc::badf;
    log_.add(events::fget(fd, e == errc::ok ? slot(fd).file : file_id{}));
    if (e != errc::ok) return e;
    files_.get(slot(fd).file, nullptr);
    return slot(fd).file;
  }
  constexpr result<int> install(open_file<process>& made) noexcept {
    errc e = strike(fault::install);
    if (e == errc::ok && descriptors() >= limit_) e = errc::mfile;
    if (e == errc::ok && files_.full()) e = errc::nfile;
    if (e != errc::ok) {
      log_.add(events::install(e));
      return e;
    }
    const int fd = open(made);
    log_.add(events::install(fd));
    return fd;
  }
  template <class T>
  constexpr bool copy_from_user(std::uint64_t address, T& object) noexcept {
    const bool answer =
        strike(fault::copy_from_user) == errc::ok && memory.copy_from_user(address, object);
    log_.add(events::copy_from_user(answer));
    return answer;
  }
  template <class T>
  constexpr bool copy_to_user(std::uint64_t address, const T& object) noexcept {
    const bool answer =
        strike(fault::copy_to_user) == errc::ok && memory.copy_to_user(address, object);
    log_.add(events::copy_to_user(answer));
    return answer;
  }

 private:
  struct descriptor {
    file_id file;
    bool path = false;
    bool open = false;
  };
  constexpr errc strike(fault at) noexcept { return plan_ ? plan_->strike(at) : errc::ok; }
  [[nodiscard]] constexpr bool is_open(int fd) const noexcept {
    return fd >= 0 && static_cast<std::size_t>(fd) < slots_.size() &&
           slots_[static_cast<std::size_t>(fd)].open;
  }
  template <class Call>
  [[nodiscard]] constexpr errc on(int fd, Call call) noexcept {
    if (!is_open(fd) || slot(fd).path) return errc::badf;
    open_file<process>* const made = files_.made(slot(fd).file);
    return made ? call(*made) : errc::notty;
  }
  [[nodiscard]] constexpr descriptor& slot(int fd) noexcept {
    return slots_[static_cast<std::size_t>(fd)];
  }
  // The lowest free number, as open(2).
  constexpr int insert(const descriptor& d, open_file<process>* made) {
    files_.get(d.file, made);
    std::size_t fd = 0;
    while (fd < slots_.size() && slots_[fd].open) ++fd;
    if (fd == slots_.size()) slots_.push_back(d);
    else slots_[fd] = d;
    return static_cast<int>(fd);
  }

  open_files& files_;
  journal& log_;
  fault_plan* plan_;
  int space_;
  std::vector<descriptor> slots_;
  std::size_t limit_ = 1024;
};
static_assert(caller<process, file_id>);
static_assert(vm_caller<process>);

}  // namespace kvm_vfio::testing
