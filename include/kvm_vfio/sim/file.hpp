// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An open file of the simulated system: released at its last reference, not at close(2).

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/ref_count.hpp>
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

/// What user space sees behind a descriptor.
enum class file_kind : unsigned char {
  container,  ///< /dev/vfio/vfio
  group,      ///< /dev/vfio/N
  device,     ///< /dev/vfio/devices/vfioN, or a descriptor that a group handed out
  iommufd,    ///< /dev/iommu
  event,      ///< eventfd(2)
  kvm,        ///< /dev/kvm, a VM, a device of a VM
  tce_table,  ///< a TCE table of a VM
  other,
};

/// An open file description. Starts with one reference, its maker's.
class file {  // NOLINT(cppcoreguidelines-virtual-class-destructor): it deletes itself
 public:
  /// With its maker's reference.
  explicit file(file_kind kind) noexcept : kind_(kind) {}
  file(const file&) = delete;
  file& operator=(const file&) = delete;

  /// What it is.
  [[nodiscard]] file_kind kind() const noexcept { return kind_; }
  /// How many refer to it.
  [[nodiscard]] int references() const noexcept { return references_.value(); }
  /// One reference more.
  void get() noexcept { references_.get(); }
  /// One reference less; at the last the file is released and freed.
  void put() noexcept;
  /// Keeps the object, not the file open: for those who look on, and must not make a close that
  /// they happen to see one that is not the last.
  void watch() noexcept { memory_.get(); }
  /// The end of it.
  void unwatch() noexcept;

  /// What /proc shows for the descriptor.
  [[nodiscard]] virtual const char* name() const noexcept = 0;
  /// ioctl(2), by the low 32 bits of the request.
  virtual answer ioctl(process&, std::uint32_t /*request*/, std::uint64_t /*argument*/);
  /// pread(2).
  virtual answer pread(void*, std::size_t, std::uint64_t /*offset*/);
  /// pwrite(2).
  virtual answer pwrite(const void*, std::size_t, std::uint64_t /*offset*/);

  /// What an interrupt can be sent to, or null.
  [[nodiscard]] virtual event_file* as_event() noexcept;

 protected:
  virtual ~file() = default;
  /// The last reference is gone.
  virtual void release() noexcept;

 private:
  file_kind kind_;
  kvm_vfio::detail::ref_count references_;
  kvm_vfio::detail::ref_count memory_;  // one of all references together
};

/// A counted reference on a file.
class file_ref {
 public:
  file_ref() = default;
  /// Takes over a reference that the caller owns.
  explicit file_ref(file* owned) noexcept : file_(owned) {}
  /// Takes over the other one's, which is empty then.
  file_ref(file_ref&& other) noexcept : file_(other.take()) {}
  /// Gives back its own and takes over the other one's, which is empty then.
  file_ref& operator=(file_ref&& other) noexcept;
  ~file_ref() { reset(); }

  /// Lets go of what it holds; takes over `owned`.
  void reset(file* owned = nullptr) noexcept;
  /// Gives the reference to the caller.
  [[nodiscard]] file* take() noexcept;
  /// The file, which stays referenced, or null.
  [[nodiscard]] file* get() const noexcept { return file_; }
  /// A member of the file. \pre there is one
  file* operator->() const noexcept { return file_; }
  /// Whether there is a file.
  [[nodiscard]] explicit operator bool() const noexcept { return file_ != nullptr; }

 private:
  file* file_ = nullptr;
};

/// The files policy of `kvm_vfio::device` over simulated files.
struct counted_files {
  result<file*> get_file(file* const& f) noexcept;
  void fput(file* const& f) noexcept { f->put(); }
};
static_assert(file_references<counted_files, file*>);

/// What onlookers hold on simulated files.
struct watched_files {
  result<file*> get_file(file* const& f) noexcept;
  void fput(file* const& f) noexcept { f->unwatch(); }
};
static_assert(file_references<watched_files, file*>);

/// eventfd(2): a counter. An interposer derives from it to signal a real one.
class event_file : public file {
 public:
  event_file() noexcept : file(file_kind::event) {}
  [[nodiscard]] const char* name() const noexcept override { return "[eventfd]"; }
  [[nodiscard]] event_file* as_event() noexcept override;
  /// Adds one to the counter.
  virtual void signal() noexcept;
  /// read(2) of eight bytes: the counter, which starts over; error EAGAIN while it is 0, inval
  /// for a smaller buffer.
  answer pread(void* to, std::size_t size, std::uint64_t) override;

 private:
  std::uint64_t count_ = 0;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/file.hpp>
#endif
