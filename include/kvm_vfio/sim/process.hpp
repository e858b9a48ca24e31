// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A process of the simulated system. The class `process` has functions for system calls such as
/// open and ioctl. Any number of threads may make calls of one process at the same time.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/call_fault.hpp>
#include <kvm_vfio/sim/system/descriptor_table.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_mappings.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/observer_list.hpp>
#include <kvm_vfio/sim/system/pending_faults.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

/// The process whose open, close, ioctl or exit this thread executes (the kernel's `current`).
/// Null: the thread executes no such call.
inline thread_local process* current_process = nullptr;

/// A simulated process. It has a table of descriptors, and it refers to the memory from which the
/// arguments of its calls are read. A system call throws no exception: if there is no memory for
/// it, its error is `errc::nomem`, and it has changed nothing. Closing needs no memory. The process
/// takes its own lock only for the table, and does not hold the lock while a file answers.
class process {
 public:
  /// The number of an address space.
  using address_space_id = int;

  /// Makes a process without descriptors.
  /// \param files         the file system that opens paths; must outlive the process
  /// \param mem           the memory of the process; must outlive the process
  /// \param address_space the number of the address space. Processes with equal numbers share their
  ///                      memory (clone with CLONE_VM). A VM refuses the ioctls of a process whose
  ///                      number is not the number of the VM's creator. (KVM compares `mm`.)
  process(filesystem& files, memory& mem, address_space_id address_space = 1) noexcept;
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  /// Ends the process as `exit` does, but tells no observer: the observers may be gone.
  ~process();

  // The system calls. Each observer is told of each call after the call. If an observer throws
  // std::bad_alloc, or there is no memory to describe the call, the answer does not change.

  /// The unit of mmap(2), in bytes.
  static constexpr std::uint64_t page_size = 4096;
  /// No path may have as many characters (the kernel's PATH_MAX).
  static constexpr std::size_t longest_path = 4096;

  /// Opens the file at a path (open(2)).
  /// \param path  the path of the file
  /// \param flags the flags of open(2); see `world::open`
  /// \return a new descriptor, the lowest that is free
  /// \par Errors
  /// - `errc::fault`: the path cannot be read from the memory of the process
  /// - `errc::nametoolong`: the path has 4096 characters or more
  /// - `errc::noent`: no node has this path; `errc::isdir`: a folder is opened for writing
  /// - `errc::busy`: the path names a group that is open already, or one of whose devices is bound
  ///   to an iommufd
  /// - `errc::mfile`: the process has no free descriptor
  answer open(const char* path, int flags = O_RDWR | O_CLOEXEC);
  /// Makes an eventfd with a counter of 0 (eventfd(2)).
  /// \return a new descriptor, the lowest that is free
  /// \par Errors
  /// - `errc::mfile`: the process has no free descriptor
  answer eventfd();
  /// Closes a descriptor (close(2)). If this was the last reference on the file, the file is
  /// released before this function returns.
  /// \return 0
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open
  answer close(int fd);
  /// Makes one more descriptor of an open file (dup(2)).
  /// \return a new descriptor for the open file, the lowest that is free
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::mfile`: the process has no free descriptor
  answer dup(int fd);
  /// Makes one more descriptor of an open file (fcntl(2) with F_DUPFD).
  /// \param fd     the descriptor
  /// \param lowest the smallest number that the new descriptor may have
  /// \return a new descriptor for the open file, the lowest from `lowest` on that is free
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::inval`: `lowest` is negative, or not below the limit of descriptors
  /// - `errc::mfile`: no number from `lowest` on and below the limit is free
  answer dup(int fd, int lowest);
  /// Sends a request to the file behind a descriptor (ioctl(2)).
  /// \param fd       the descriptor
  /// \param request  the request; the kernel reads only the low 32 bits
  /// \param argument the third argument of ioctl(2): a number or an address
  /// \return what the file answers
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or it was opened with O_PATH
  /// - each error of the file
  answer ioctl(int fd, std::uint64_t request, std::uint64_t argument);
  /// Reads from the file behind a descriptor (read(2)). An eventfd gives its counter, which is 0
  /// afterwards. A device file reads from its position on. Other files cannot be read.
  /// \param fd   the descriptor
  /// \param to   where the bytes go, an address in the memory of the process
  /// \param size the number of bytes
  /// \return the number of bytes that were read
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH or O_WRONLY
  /// - `errc::inval`: the file cannot be read, or an eventfd is read into less than 8 bytes
  /// - `errc::again`: the counter of the eventfd is 0
  /// - `errc::fault`: a byte of the buffer cannot be written
  /// - each error of the file
  answer read(int fd, void* to, std::size_t size);
  /// Writes to the file behind a descriptor (write(2)). An eventfd adds the number to its counter.
  /// A device file writes from its position on. Other files cannot be written.
  /// \param fd   the descriptor
  /// \param from the bytes, an address in the memory of the process
  /// \param size the number of bytes
  /// \return the number of bytes that were written
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH or O_RDONLY
  /// - `errc::inval`: the file cannot be written, or the call has not a number for an eventfd
  /// - `errc::again`: the counter of the eventfd would become too large
  /// - `errc::fault`: a byte of the buffer cannot be read
  /// - each error of the file
  answer write(int fd, const void* from, std::size_t size);
  /// Reads bytes of the file behind a descriptor (pread(2)).
  /// \param fd     the descriptor
  /// \param to     where the bytes go, an address in the memory of the process
  /// \param size   the number of bytes
  /// \param offset the position in the file, in bytes
  /// \return the number of bytes that were read
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH or O_WRONLY
  /// - `errc::fault`: a byte of the buffer cannot be written
  /// - `errc::inval`: the offset is 2^63 or more; and each error of the file
  answer pread(int fd, void* to, std::size_t size, std::uint64_t offset);
  /// Writes bytes of the file behind a descriptor (pwrite(2)).
  /// \param fd     the descriptor
  /// \param from   the bytes, an address in the memory of the process
  /// \param size   the number of bytes
  /// \param offset the position in the file, in bytes
  /// \return the number of bytes that were written
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH or O_RDONLY
  /// - `errc::fault`: a byte of the buffer cannot be read
  /// - `errc::inval`: the offset is 2^63 or more; and each error of the file
  answer pwrite(int fd, const void* from, std::size_t size, std::uint64_t offset);
  /// Maps a file (mmap(2) with MAP_SHARED). Only device files can be mapped. The mapping holds a
  /// reference on the file until `munmap` or the end of the process, also if all descriptors are
  /// closed. The memory belongs to the device: each mapping of a part has the same address, which
  /// stays valid as long as the world exists. It can be read and written with any protection.
  /// \param size       the number of bytes; a part of a page counts as a page
  /// \param protection PROT_READ, PROT_WRITE or both
  /// \param fd         the descriptor
  /// \param offset     the offset in the file, in bytes
  /// \return the address as a number
  /// \par Errors
  /// - `errc::inval`: the size is 0, the offset is not a multiple of the page size, the device is
  ///   not open or is open for reading only, or its regions cannot be mapped there
  /// - `errc::badf`: the descriptor is not open, or it was opened with O_PATH
  /// - `errc::access`: it is not open for this access; `errc::overflow`: the offset is too large
  /// - `errc::nodev`, and for an iommufd of Linux 7.3 `errc::nxio`: the file is not a device file
  /// - `errc::nomem`: the size is too large, or there is no memory
  answer mmap(std::size_t size, int protection, int fd, std::uint64_t offset) {
    return map_from(size, protection, fd, offset, nullptr);
  }
  /// Forgets a mapping or a part of it (munmap(2)). The reference on the file is given back with
  /// the last part. If several mappings contain the range, the function takes the last that was
  /// made of just this range, or else the last one. Linux also removes ranges without a mapping and
  /// ranges of several mappings; this function refuses them.
  /// \param address the start of the range
  /// \param size    the number of bytes; a part of a page counts as a page
  /// \return 0
  /// \par Errors
  /// - `errc::inval`: the size is 0, the address is not a multiple of the page size, or the process
  ///   has no mapping that contains the range
  answer munmap(void* address, std::size_t size);
  /// Ends the process. First tells the observers of a call of the kind `exit`. Then removes the
  /// mappings, and closes every descriptor, the lowest first. No observer is told of these.
  void exit() noexcept;
  /// Copies the descriptors, mappings, limits, user and capabilities of this process into `child`,
  /// as fork(2) does. Tells a call of the kind `fork` to each observer that observes both of them.
  /// \pre `child` has no descriptors and no mappings, and its address space has another number
  /// \throw std::bad_alloc there is no memory: `child` still has no descriptors and no mappings
  void fork_into(process& child);

  // What a test or an interposer needs beside the system calls.

  /// Opens a file as `open` does, but takes the path from this program, not from the memory of the
  /// process. An interposer uses this function if it has copied or changed the path.
  answer open_path(std::string_view path, int flags = O_RDWR | O_CLOEXEC);

  /// Puts a file behind a given descriptor, as dup2(2) does. If the descriptor is open, it is
  /// closed first. An interposer uses this function, because it cannot choose the number: the real
  /// system has chosen the number already. The observers are told of a call of the kind `install`.
  /// \param fd    the descriptor
  /// \param owned the file; the process takes over the reference of the caller
  /// \param use   what calls may do with the descriptor
  /// \return `fd`
  answer install_at(int fd, file* owned, descriptor_use use = descriptor_use::all_calls);
  /// Sets the number of the next descriptor that a call of this process makes. An interposer uses
  /// this function, because the real system has chosen the number already. If the number is in use,
  /// its descriptor is dropped, and no observer is told of this. Only one thread may use the
  /// process from this call on until the call that makes the descriptor has returned.
  /// \param fd the number; -1: the process chooses the number itself again
  void next_descriptor(int fd) noexcept {
    const guard held(mutex_);
    table_.choose(fd);
  }
  /// Records a mapping for which the real system has chosen the address already. Otherwise as
  /// `mmap`. The interposer itself lets the program see the memory (`device_file::share`).
  /// \param address    the address, a multiple of the page size
  /// \param size       the number of bytes
  /// \param protection PROT_READ, PROT_WRITE or both
  /// \param fd         the descriptor
  /// \param offset     the offset in the file, in bytes
  /// \return the address as a number
  /// \par Errors
  /// - each error of `mmap`
  answer map_at(std::uint64_t address, std::size_t size, int protection, int fd,
                std::uint64_t offset) {
    return map_from(size, protection, fd, offset, &address);
  }
  /// Gives a mapping another address, and tells no observer. An interposer uses this function for
  /// mremap(2), and if the real system chooses the address only after `map_at`.
  /// \param from the first address up to now
  /// \param to   the new address, a multiple of the page size
  /// \param size the size of the part that moves, in bytes: whole pages. 0: the whole mapping
  /// \return whether there was a mapping. Without memory a part does not move.
  bool move_mapping(std::uint64_t from, std::uint64_t to, std::uint64_t size = 0) noexcept;
  /// Puts a file behind a descriptor as `install_at` does, but tells no observer. An interposer
  /// uses this function for a descriptor that the program got from the real system, such as an
  /// eventfd, before a call that names the descriptor.
  /// \param fd    the descriptor
  /// \param owned the file; the process takes over the reference of the caller. Null: the
  ///              descriptor is closed, if it is open; this needs no memory.
  /// \throw std::bad_alloc there is no memory; the descriptor does not change
  void lend(int fd, file* owned);
  /// Sets the limit on descriptors (RLIMIT_NOFILE): the number of a new descriptor is below it.
  /// Descriptors with larger numbers stay open.
  void limit(std::size_t descriptors) noexcept {
    const guard held(mutex_);
    table_.limit(descriptors);
  }
  /// Sets how much memory the process may lock for DMA (RLIMIT_MEMLOCK). By default there is no
  /// limit. A container counts the memory of all processes with this address space, an iommufd the
  /// memory of all processes of this user. Call this function, `cap_ipc_lock` and `user` while no
  /// other thread makes a call.
  /// \param bytes the limit in bytes; a part of a page does not count
  void memory_lock_limit(std::uint64_t bytes) { changed_account().limit = bytes; }
  /// Sets whether the process has CAP_IPC_LOCK. The mappings that the process then makes ignore the
  /// limit, and an iommufd does not count them. By default a process does not have it.
  void cap_ipc_lock(bool yes) { changed_account().unlimited = yes; }
  /// Sets the number of the user to whom the process belongs. By default the number is 0.
  void user(int id) { changed_account().user = id; }
  /// Returns the account that is charged for locked memory. The first call of this function or of
  /// the three above makes the account, or throws std::bad_alloc and changes nothing.
  [[nodiscard]] std::shared_ptr<const memory_account> account();
  /// Sets whether the process has CAP_SYS_RAWIO, as by default. Devices without an IOMMU need it.
  void cap_sys_rawio(bool yes) noexcept { raw_io_ = yes; }
  /// Returns whether the process has CAP_SYS_RAWIO.
  [[nodiscard]] bool cap_sys_rawio() const noexcept { return raw_io_; }
  /// Adds an observer, which is told of every later call. Call this function before other threads
  /// use the process. An observer may call it while it is told of a call. The observer must outlive
  /// the process.
  void observe(trace::call_observer& observer);
  /// Lets one later system call fail. The call does not reach the file, and it has no effect except
  /// this: close closes the descriptor and then fails, as in Linux. The observers are told of the
  /// call as of every other call. If a call meets several faults, it fails with the error of the
  /// fault that was added first.
  void fail(const call_fault& fault) { faults_.add(fault, false); }
  /// Lets the n-th system call from now on fail, of whatever kind. Otherwise as `fail(call_fault)`.
  /// \param n     1 is the next call. \pre not 0
  /// \param error the error of the call. \pre not `errc::ok`
  void fail_call(std::size_t n, errc error) { faults_.add({.nth = n, .error = error}, true); }
  /// Returns the number of faults that no call has met yet.
  [[nodiscard]] std::size_t faults_left() const noexcept { return faults_.left(); }
  /// Removes the faults that no call has met yet. Otherwise a call of a destructor may meet them.
  void clear_faults() noexcept { faults_.clear(); }
  /// Returns the number of system calls up to now, without `exit`.
  [[nodiscard]] std::uint64_t calls() const noexcept;
  /// Returns the number of mappings.
  [[nodiscard]] std::size_t mappings() const noexcept {
    const guard held(mutex_);
    return mappings_.size();
  }
  /// Returns whether a mapping of a file contains a byte of a range of addresses.
  [[nodiscard]] bool maps_file(std::uint64_t address, std::uint64_t size) noexcept;
  /// Returns the memory of the process.
  [[nodiscard]] memory& mem() noexcept { return memory_; }
  /// Returns the file behind a descriptor, without a reference for the caller. Null: the descriptor
  /// is not open.
  [[nodiscard]] file* file_of(int fd) noexcept;
  /// Returns the number of open descriptors.
  [[nodiscard]] std::size_t descriptors() const noexcept {
    const guard held(mutex_);
    return table_.open();
  }

  // What the model needs (the concepts `vm_caller` and `caller`).

  /// Returns the number of the process's address space.
  [[nodiscard]] address_space_id address_space() const noexcept { return space_; }
  /// Returns the file behind a descriptor, with a reference (fget).
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or was opened with O_PATH
  result<file*> fget(int fd) noexcept;
  /// Makes a descriptor for an open file that the model made.
  /// \par Errors
  /// - `errc::mfile`: the process has no free descriptor
  /// - `errc::nomem`: no memory
  result<int> install(open_file<process>& made) noexcept;
  /// Makes a descriptor for a file.
  /// \param f    the file; the process takes over the reference, and drops it after an error
  /// \param use  what calls may do with the descriptor
  /// \return a new descriptor, the lowest that is free
  /// \par Errors
  /// - `errc::mfile`: the process has no free descriptor
  answer insert(file_ref f, descriptor_use use = descriptor_use::all_calls);
  /// Copies an object from the memory of the process. Returns false if a byte cannot be read.
  template <class T>
  bool copy_from_user(std::uint64_t address, T& object) noexcept {
    return memory_.read(address, &object, sizeof object);
  }
  /// Copies an object to the memory of the process. Returns false if a byte cannot be written.
  template <class T>
  bool copy_to_user(std::uint64_t address, const T& object) noexcept {
    return memory_.write(address, &object, sizeof object);
  }

 private:
  struct in_call {
    explicit in_call(process& p) noexcept : before(std::exchange(current_process, &p)) {}
    in_call(const in_call&) = delete;
    in_call& operator=(const in_call&) = delete;
    ~in_call() { current_process = before; }
    process* before;
  };

  // Returns the file behind a descriptor, with a reference, and tells which calls the descriptor
  // accepts. Empty: the descriptor is not open, or it was opened with O_PATH.
  file_ref look_up(int fd, descriptor_use* use = nullptr) noexcept;
  // The start of the description of a call.
  [[nodiscard]] trace::call call_of(trace::call_kind kind, int fd = -1) const noexcept {
    return {.kind = kind, .process = space_, .table = number_, .fd = fd};
  }
  // Counts a call, and returns the error that a fault gives to the call.
  errc begin(const trace::call& c) noexcept;
  // Calls `on`, a function of the file, if no fault prevents this.
  template <class Function>
  answer on_file(trace::call& c, Function on, bool described = true);
  // Opens a file. `read` writes the path into a std::string, and returns an error of that.
  template <class Read>
  answer open_from(Read read, int flags);
  answer dup_from(trace::call& c, std::size_t lowest);
  // Maps a file at its own address, or records `address` instead.
  answer map_from(std::size_t size, int protection, int fd, std::uint64_t offset,
                  const std::uint64_t* address);
  answer insert_from(file_ref f, descriptor_use use, std::size_t lowest);
  void end() noexcept;
  memory_account& changed_account();
  // Closes a descriptor. Its number may be kept until `descriptor_table::give_back`.
  errc drop(int fd, bool keep_number) noexcept;
  // Tells the observers of a call, unless it could not be described. Returns the answer.
  answer told(trace::call& c, answer a, bool described = true) noexcept;

  filesystem& filesystem_;
  memory& memory_;
  address_space_id space_;
  std::uint32_t number_ = 0;  // of the table of descriptors, for observers
  mutable mutex mutex_;
  descriptor_table table_;
  observer_list observers_;
  std::vector<file_mapping> mappings_;
  std::shared_ptr<memory_account> account_;  // null: not needed yet
  pending_faults faults_;
  std::uint64_t calls_ = 0;
  bool raw_io_ = true;
};

static_assert(caller<process, file*> && vm_caller<process>);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/process.hpp>
#endif
