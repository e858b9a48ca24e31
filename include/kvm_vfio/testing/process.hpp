// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Mock processes. A mock process has descriptors and memory. Descriptors refer to open files,
/// which processes share. They can be duplicated and can have O_PATH. A test calls ioctl() on a
/// process as a VMM does.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/testing/faults.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/user_memory.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::testing {

class process;

/// The open files of a mock system, and the number of references on each. All processes of the
/// system share this object. For one thread only.
class open_files {
 public:
  /// Makes a system without open files. `log`, and `plan` if it is not null, must outlive the
  /// system.
  constexpr explicit open_files(journal& log, fault_plan* plan = nullptr) noexcept
      : log_(log), plan_(plan) {}
  open_files(const open_files&) = delete;
  open_files& operator=(const open_files&) = delete;

  /// Returns the number of references on a file. Descriptors and the model hold references.
  [[nodiscard]] constexpr int references(file_id f) const noexcept {
    for (const description& d : files_)
      if (d.id == f) return d.references;
    return 0;
  }
  /// Returns the number of references on all files together.
  [[nodiscard]] constexpr int references() const noexcept {
    int sum = 0;
    for (const description& d : files_) sum += d.references;
    return sum;
  }

  /// Limits the number of open files in the system (fs.file-max). Beyond the limit, `install` fails
  /// with nfile.
  constexpr void limit(std::size_t files) noexcept { limit_ = files; }

  /// A files policy for the model that counts references and records each call.
  class policy {
   public:
    /// Makes a policy that counts in `files`, which must outlive each device with this policy.
    constexpr explicit policy(open_files& files) noexcept : files_(&files) {}
    /// Takes one more reference, or returns the error of the plan.
    constexpr result<file_id> get_file(const file_id& f) noexcept {
      const errc e = files_->plan_ ? files_->plan_->strike(fault::get_file) : errc::ok;
      files_->log_.add(events::get_file(f, e));
      if (e != errc::ok) return e;
      files_->get(f, nullptr);
      return f;
    }
    /// Gives one reference back.
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
    open_file<process>* made;  // null: the model did not make the file
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

/// A mock process. A test acts as the process with the first functions, and the model calls the
/// others. For one thread only.
class process {
 public:
  /// The number of an address space.
  using address_space_id = int;

  /// Makes a process without descriptors. `files`, `log`, and `plan` if it is not null, must
  /// outlive it.
  /// \param address_space processes with the same number count as one address space
  constexpr process(open_files& files, journal& log, fault_plan* plan = nullptr,
                    int address_space = 1) noexcept
      : files_(files), log_(log), plan_(plan), space_(address_space) {}
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  constexpr ~process() { exit(); }

  /// The memory of the process.
  mapped_memory memory;

  // Functions for tests.

  /// Makes a descriptor of a file.
  constexpr int open(file_id f) { return insert({f, false, true}, nullptr); }
  /// Makes a descriptor of a file that the model made, for example of a VM. `made` must outlive all
  /// its descriptors. So declare it before the process, or close its descriptors first.
  constexpr int open(open_file<process>& made) {
    return insert({files_.name_own(), false, true}, &made);
  }
  /// Makes a descriptor with O_PATH. Each call that needs the file fails with badf.
  constexpr int open_path(file_id f) { return insert({f, true, true}, nullptr); }
  /// Makes one more descriptor of the open file behind `fd`.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open
  constexpr result<int> dup(int fd) {
    if (!is_open(fd)) return errc::badf;
    return insert(slot(fd), nullptr);
  }
  /// Closes a descriptor.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open
  constexpr errc close(int fd) noexcept {
    if (!is_open(fd)) return errc::badf;
    const file_id f = slot(fd).file;
    slot(fd) = {};
    files_.put(f);
    return errc::ok;
  }
  /// Closes every descriptor, as the end of a process does.
  constexpr void exit() noexcept {
    for (std::size_t fd = 0; fd < slots_.size(); ++fd) (void)close(static_cast<int>(fd));
  }
  /// Gives `child` a copy of all descriptors, as fork(2) does. The memory is not copied.
  /// \pre `child` has no descriptors
  constexpr void fork_into(process& child) {
    for (const descriptor& d : slots_)
      if (d.open) files_.get(d.file, nullptr);
    child.slots_ = slots_;
  }
  /// Limits the number of descriptors (RLIMIT_NOFILE). Beyond the limit, `install` fails with
  /// mfile.
  constexpr void limit(std::size_t descriptors) noexcept { limit_ = descriptors; }
  /// Calls ioctl(2) on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - each error of the file's own ioctl
  constexpr errc ioctl(int fd, std::uint64_t request, std::uint64_t argument) noexcept {
    return on(fd, [&](open_file<process>& f) { return f.ioctl(*this, request, argument); });
  }
  /// Calls read(2) on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - `errc::inval`: the file cannot be read
  [[nodiscard]] constexpr errc read(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.read(); });
  }
  /// Calls write(2) on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - `errc::inval`: the file cannot be written
  [[nodiscard]] constexpr errc write(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.write(); });
  }
  /// Calls lseek(2) on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - `errc::spipe`: the file has no position
  [[nodiscard]] constexpr errc lseek(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.lseek(); });
  }
  /// Calls mmap(2) on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - `errc::nodev`: the file cannot be mapped
  [[nodiscard]] constexpr errc mmap(int fd) noexcept {
    return on(fd, [](open_file<process>& f) { return f.mmap(); });
  }
  /// Returns the open file behind a descriptor, or 0 if the descriptor is not open.
  [[nodiscard]] constexpr file_id file_of(int fd) const noexcept {
    return is_open(fd) ? slots_[static_cast<std::size_t>(fd)].file : file_id{};
  }
  /// Returns the name of the file behind a descriptor, or null if the model did not make the file.
  [[nodiscard]] constexpr const char* name_of(int fd) const noexcept {
    const open_file<process>* const made = files_.made(file_of(fd));
    return made ? made->name() : nullptr;
  }
  /// Returns the number of open descriptors.
  [[nodiscard]] constexpr std::size_t descriptors() const noexcept {
    std::size_t n = 0;
    for (const descriptor& d : slots_) n += d.open;
    return n;
  }

  // Functions that the model calls.

  /// Returns the number of the process's address space.
  [[nodiscard]] constexpr int address_space() const noexcept { return space_; }
  /// Returns the file behind a descriptor, with a reference (fget).
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH
  /// - each error of the plan
  constexpr result<file_id> fget(int fd) noexcept {
    errc e = strike(fault::fget);
    if (e == errc::ok && (!is_open(fd) || slot(fd).path)) e = errc::badf;
    log_.add(events::fget(fd, e == errc::ok ? slot(fd).file : file_id{}));
    if (e != errc::ok) return e;
    files_.get(slot(fd).file, nullptr);
    return slot(fd).file;
  }
  /// Makes a descriptor of an open file.
  /// \par Errors
  /// - `errc::mfile`: the process has no free descriptor
  /// - `errc::nfile`: the system has too many open files
  /// - each error of the plan
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
  /// Copies an object from the memory of the process. Returns false if a byte cannot be read.
  template <class T>
  constexpr bool copy_from_user(std::uint64_t address, T& object) noexcept {
    const bool answer =
        strike(fault::copy_from_user) == errc::ok && memory.copy_from_user(address, object);
    log_.add(events::copy_from_user(answer));
    return answer;
  }
  /// Copies an object to the memory of the process. Returns false if a byte cannot be written.
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
  // The new descriptor gets the lowest free number, as with open(2).
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
