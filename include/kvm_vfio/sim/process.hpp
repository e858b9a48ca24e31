// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process of the simulated system: descriptors and memory, called as the kernel is, by
/// (descriptor, request, argument). Any number of threads may call.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/sim/file.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
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
  process(filesystem& files, memory& mem, address_space_id address_space = 1) noexcept;
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  ~process();

  // The system calls. None throws, but where memory runs out.

  /// \return noent, busy … as the node says · mfile
  answer open(const char* path, int flags = O_RDWR | O_CLOEXEC);
  /// eventfd(2). \return mfile
  answer eventfd();
  /// \return badf; otherwise 0, even if the release fails inside
  answer close(int fd);
  /// dup(2). \return badf · mfile
  answer dup(int fd);
  /// \param request only the low 32 bits count
  answer ioctl(int fd, std::uint64_t request, std::uint64_t argument);
  /// pread(2) and pwrite(2), as the file has them; badf.
  answer pread(int fd, void* to, std::size_t size, std::uint64_t offset);
  /// pwrite(2), likewise.
  answer pwrite(int fd, const void* from, std::size_t size, std::uint64_t offset);
  /// The end of the process: every descriptor is closed, lowest first. No observer is told.
  void exit() noexcept;
  /// fork(2): `child`, new and of another address space, gets the same descriptors.
  void fork_into(process& child);

  // Around them.

  /// Puts a file behind a given descriptor number, as dup2(2): for an interposer, whose numbers
  /// are the real system's. Takes the reference over.
  answer install_at(int fd, file* owned, bool path = false);
  /// No more than this many descriptors from now on (RLIMIT_NOFILE).
  void limit(std::size_t descriptors) noexcept { limit_ = descriptors; }
  /// The observer hears of every call from now on; it must outlive the process.
  void observe(trace::call_observer& observer);
  /// Its memory.
  [[nodiscard]] memory& mem() noexcept { return memory_; }
  /// The file behind a descriptor, not referenced; null: not open.
  [[nodiscard]] file* file_of(int fd) noexcept;
  /// How many descriptors are open.
  [[nodiscard]] std::size_t descriptors() const noexcept { return open_; }

  // What the model asks (`vm_caller`, `caller`).

  [[nodiscard]] address_space_id address_space() const noexcept { return space_; }
  result<file*> fget(int fd) noexcept;
  result<int> install(open_file<process>& made) noexcept;
  /// A descriptor for a file whose reference the caller hands over; mfile drops it.
  answer insert(file_ref f, bool path = false);
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
    bool kept = false;  // closed, but no observer has been told yet
  };
  struct in_call {
    explicit in_call(process& p) noexcept : before(std::exchange(current_process, &p)) {}
    in_call(const in_call&) = delete;
    in_call& operator=(const in_call&) = delete;
    ~in_call() { current_process = before; }
    process* before;
  };

  [[nodiscard]] const slot* find(int fd) const noexcept;
  // With a reference; an O_PATH descriptor finds nothing.
  file_ref look_up(int fd) noexcept;
  // Closes a descriptor. `keep`: nobody gets the number until `give_number_back`.
  errc drop(int fd, bool keep) noexcept;
  void give_number_back(int fd) noexcept;
  answer told(trace::call& c, answer a);

  filesystem& filesystem_;
  memory& memory_;
  address_space_id space_;
  mutex mutex_;
  std::vector<slot> slots_;
  std::vector<trace::call_observer*> observers_;
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
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  answer pread(void*, std::size_t, std::uint64_t) override;
  answer pwrite(const void*, std::size_t, std::uint64_t) override;

 private:
  void release() noexcept override;
  open_file<process>& made_;
};

static_assert(caller<process, file*> && vm_caller<process>);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/process.hpp>
#endif
