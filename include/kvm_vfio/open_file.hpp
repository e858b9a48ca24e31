// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a descriptor of the model's refers to (the kernel's struct file_operations), and what the
/// model asks of the task that holds it.

#include <kvm_vfio/concepts.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio {

/// An open file that the model itself makes: a VM, or a device of a VM.
/// \tparam Caller the task that makes calls on it
template <class Caller>
class open_file {
 public:
  open_file() = default;
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;

  /// What /proc shows behind "anon_inode:" ("kvm-vfio").
  [[nodiscard]] virtual constexpr const char* name() const noexcept = 0;
  /// ioctl(2). Only the low 32 bits of `request` count, as in the kernel.
  /// \param argument the third argument: an address in the caller's memory
  [[nodiscard]] virtual constexpr errc ioctl(Caller& from, std::uint64_t request,
                                             std::uint64_t argument) noexcept = 0;
  /// The last reference to the open file is gone: called once, and nothing after it.
  virtual constexpr void release() noexcept = 0;

  /// lseek(2).
  [[nodiscard]] virtual constexpr errc lseek() noexcept = 0;
  /// read(2): no such file has it.
  [[nodiscard]] static constexpr errc read() noexcept { return errc::inval; }
  /// write(2), likewise.
  [[nodiscard]] static constexpr errc write() noexcept { return errc::inval; }
  /// mmap(2), likewise.
  [[nodiscard]] static constexpr errc mmap() noexcept { return errc::nodev; }

 protected:
  constexpr ~open_file() = default;
};

/// A task that can hold VMs and their devices.
template <class C>
concept vm_caller =  //
    handle<typename C::address_space_id> &&
    requires(C& task, open_file<C>& made, std::uint64_t address, kvm_create_device& create,
             kvm_device_attr& attr) {
      // Its address space; tasks that are equal in it share their memory (current->mm).
      { task.address_space() } noexcept -> std::same_as<typename C::address_space_id>;
      // A new descriptor of the open file, O_RDWR and O_CLOEXEC: mfile, nfile or nomem. On success
      // the task's descriptor owns the file and calls release() when its last reference goes.
      { task.install(made) } noexcept -> std::same_as<result<int>>;
      // As user_memory has it, for the arguments of the two ioctls.
      { task.copy_from_user(address, create) } noexcept -> std::same_as<bool>;
      { task.copy_from_user(address, attr) } noexcept -> std::same_as<bool>;
      // Copies an object to the task's memory; false when any byte cannot be written
      // (copy_to_user).
      { task.copy_to_user(address, create) } noexcept -> std::same_as<bool>;
    };

}  // namespace kvm_vfio
