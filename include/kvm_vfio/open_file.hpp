// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open files that the model makes (the kernel's struct file_operations). `vm_caller` is the
/// concept of a task that holds descriptors of these files.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio {

/// An open file that the model makes: a VM, or a device of a VM.
/// \tparam Caller the task that makes calls on the file
template <class Caller>
class open_file {
 public:
  open_file() = default;
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  /// Returns the name that /proc shows after "anon_inode:", for example "kvm-vfio".
  [[nodiscard]] virtual constexpr const char* name() const noexcept = 0;
  /// Handles ioctl(2). As in the kernel, only the low 32 bits of `request` count. Which errors are
  /// possible depends on the kind of file and on the request.
  /// \param argument the third argument of ioctl(2): an address in the memory of `from`
  [[nodiscard]] virtual constexpr errc ioctl(Caller& from, std::uint64_t request,
                                             std::uint64_t argument) noexcept = 0;
  /// Called once, when the last reference on the open file is gone. No call follows.
  virtual constexpr void release() noexcept = 0;

  /// Handles lseek(2).
  /// \par Errors
  /// - `errc::spipe`: the file has no position (a VM's device)
  [[nodiscard]] virtual constexpr errc lseek() noexcept = 0;
  /// Handles read(2), which VMs and their devices do not support.
  /// \par Errors
  /// - `errc::inval`: always
  [[nodiscard]] static constexpr errc read() noexcept { return errc::inval; }
  /// Handles write(2), which VMs and their devices do not support.
  /// \par Errors
  /// - `errc::inval`: always
  [[nodiscard]] static constexpr errc write() noexcept { return errc::inval; }
  /// Handles mmap(2), which VMs and their devices do not support.
  /// \par Errors
  /// - `errc::nodev`: always
  [[nodiscard]] static constexpr errc mmap() noexcept { return errc::nodev; }

 protected:
  constexpr ~open_file() = default;
};

/// A task that can hold descriptors of VMs and of their devices.
template <class C>
concept vm_caller =  //
    handle<typename C::address_space_id> &&
    requires(C& task, open_file<C>& made, std::uint64_t address, kvm_create_device& create,
             kvm_device_attr& attr) {
      // Identifies the task's address space (current->mm). Equal values mean shared memory.
      { task.address_space() } noexcept -> std::same_as<typename C::address_space_id>;
      // Makes a new descriptor of the open file, with O_RDWR and O_CLOEXEC. Returns mfile, nfile or
      // nomem on failure. On success the descriptor owns the file. The task calls release() when
      // the last reference on the file goes.
      { task.install(made) } noexcept -> std::same_as<result<int>>;
      // Copies an argument of KVM_CREATE_DEVICE or KVM_SET_DEVICE_ATTR from the task's memory.
      // Returns false if any byte cannot be read.
      { task.copy_from_user(address, create) } noexcept -> std::same_as<bool>;
      { task.copy_from_user(address, attr) } noexcept -> std::same_as<bool>;
      // Copies an object to the task's memory (copy_to_user). Returns false if any byte cannot be
      // written.
      { task.copy_to_user(address, create) } noexcept -> std::same_as<bool>;
    };

}  // namespace kvm_vfio
