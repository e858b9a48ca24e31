// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open files of the simulated system. A file is released when its last reference is given
/// back. This can be later than close(2).

#include <kvm_vfio/detail/ref_count.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

class process;
class event_file;

using trace::answer;
using trace::memory;
using trace::mutex;
using trace::to_answer;

/// The kind of an open file.
enum class file_kind : unsigned char {
  container,  ///< /dev/vfio/vfio
  group,      ///< /dev/vfio/N
  device,     ///< /dev/vfio/devices/vfioN, or what VFIO_GROUP_GET_DEVICE_FD returns
  iommufd,    ///< /dev/iommu
  event,      ///< eventfd(2)
  kvm,        ///< /dev/kvm, a VM, a device of a VM
  tce_table,  ///< a TCE table of a VM
  other,      ///< any other file
};

/// An open file description (the kernel's struct file). The file is on the heap and deletes itself.
class file {  // NOLINT(cppcoreguidelines-virtual-class-destructor): it deletes itself
 public:
  /// Makes a file with one reference, which belongs to the caller.
  explicit file(file_kind kind) noexcept : kind_(kind) {}
  file(const file&) = delete;
  file& operator=(const file&) = delete;

  /// The kind of the file.
  [[nodiscard]] file_kind kind() const noexcept { return kind_; }
  /// The number of references.
  [[nodiscard]] int references() const noexcept { return references_.value(); }
  /// Takes one more reference (get_file).
  void get() noexcept { references_.get(); }
  /// Gives one reference back (fput). The last one releases the file. Then the object is deleted,
  /// unless an observer still watches it.
  void put() noexcept;
  /// Keeps the object in memory, but does not keep the file open. An observer uses this function,
  /// so that the last close still releases the file while the observer reads it.
  void watch() noexcept { memory_.get(); }
  /// Ends one `watch`. Deletes the object if the file is released and nobody else watches it.
  void unwatch() noexcept;

  /// The name that /proc/PID/fd shows for a descriptor of this file. Never null.
  [[nodiscard]] virtual const char* name() const noexcept = 0;
  /// ioctl(2) with the task, the low 32 bits of the request, and the argument.
  /// \par Errors
  /// - `errc::notty`: the file has no such request
  /// - further errors: those of the kind of file
  virtual answer ioctl(process&, std::uint32_t /*request*/, std::uint64_t /*argument*/);
  /// pread(2) with the buffer, its size in bytes, and the offset in bytes.
  /// \par Errors
  /// - `errc::inval`: the file cannot be read
  /// - further errors: those of the kind of file
  virtual answer pread(void*, std::size_t, std::uint64_t /*offset*/);
  /// pwrite(2) with the bytes, their number, and the offset in bytes.
  /// \par Errors
  /// - `errc::inval`: the file cannot be written
  /// - further errors: those of the kind of file
  virtual answer pwrite(const void*, std::size_t, std::uint64_t /*offset*/);
  /// read(2) with the buffer and its size in bytes.
  /// \par Errors
  /// - `errc::inval`: the file cannot be read
  /// - further errors: those of the kind of file
  virtual answer read(void*, std::size_t);
  /// Returns how many bytes a read that failed with `errc::io` has put into its buffer before the
  /// error. The process gets these bytes.
  /// \param size   the size of the buffer in bytes
  /// \param offset the position of the read in the file, in bytes. Null: the file has a position
  /// \return the number of bytes; by default 0
  [[nodiscard]] virtual std::size_t read_before_error(std::size_t size,
                                                      const std::uint64_t* offset) noexcept;
  /// Moves the position of the file back by a number of bytes. A process calls this function if it
  /// could not take the bytes of a `read`. A file without a position does nothing.
  virtual void move_back(std::uint64_t /*bytes*/) noexcept;
  /// write(2) with the bytes and their number.
  /// \par Errors
  /// - `errc::inval`: the file cannot be written
  /// - further errors: those of the kind of file
  virtual answer write(const void*, std::size_t);
  /// mmap(2) with MAP_SHARED. The parameters are the number of bytes, the protection (PROT_READ,
  /// PROT_WRITE), and the offset in bytes. The memory must exist as long as a reference on the file
  /// does.
  /// \return the address
  /// \par Errors
  /// - `errc::nodev`: the file cannot be mapped
  /// - further errors: those of the kind of file
  virtual result<void*> mmap(std::uint64_t /*size*/, int /*protection*/, std::uint64_t /*offset*/);

  /// The number of bytes of the file that iommufd can pin (IOMMU_IOAS_MAP_FILE): the size of a file
  /// in memory, such as that of memfd_create(2). By default 0.
  [[nodiscard]] virtual std::uint64_t pinnable_bytes() const noexcept;
  /// The file as an eventfd. Null: the file is not an eventfd.
  [[nodiscard]] virtual event_file* as_event() noexcept;

 protected:
  virtual ~file() = default;
  /// Called once, when the last reference is gone (the `release` function of the kernel's
  /// struct file_operations).
  virtual void release() noexcept;

 private:
  file_kind kind_;
  kvm_vfio::detail::ref_count references_;
  kvm_vfio::detail::ref_count memory_;  // one for all references together, one for each `watch`
};

/// A reference on a file, or nothing. The destructor gives the reference back.
class file_ref {
 public:
  file_ref() = default;
  /// Takes over a reference that the caller owns. `owned` may be null.
  explicit file_ref(file* owned) noexcept : file_(owned) {}
  /// Takes over the reference of `other`, which is empty afterwards.
  file_ref(file_ref&& other) noexcept : file_(other.take()) {}
  /// Gives its reference back and takes over the reference of `other`, which is empty afterwards.
  file_ref& operator=(file_ref&& other) noexcept;
  ~file_ref() { reset(); }

  /// Gives its reference back and takes over `owned`, which may be null.
  void reset(file* owned = nullptr) noexcept;
  /// Hands the reference to the caller, who must give it back. Null: there was none.
  [[nodiscard]] file* take() noexcept;
  /// The file; this object keeps its reference. Null: there is none.
  [[nodiscard]] file* get() const noexcept { return file_; }
  /// Accesses a member of the file. \pre there is a file
  file* operator->() const noexcept { return file_; }
  /// Whether there is a file.
  [[nodiscard]] explicit operator bool() const noexcept { return file_ != nullptr; }

 private:
  file* file_ = nullptr;
};

/// The type of a file as observers know it.
[[nodiscard]] trace::file_type type_of(const file& f) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/file.hpp>
#endif
