// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The types of device that a VM can have. KVM finds a type by its number in a table.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio {

/// The attributes of one device, which its descriptor can set and query.
/// \tparam Vm the class of the VMs that have such devices
template <class Vm>
class device_operations {
 public:
  /// The class of the tasks that make calls on the device.
  using caller_type = typename Vm::caller_type;

  device_operations() = default;
  device_operations(const device_operations&) = delete;
  device_operations& operator=(const device_operations&) = delete;

  /// Handles KVM_SET_DEVICE_ATTR. Which errors are possible depends on the type of device.
  /// \param from the calling task
  [[nodiscard]] virtual constexpr errc set_attr(caller_type& from,
                                                const kvm_device_attr& attr) noexcept = 0;
  /// Handles KVM_HAS_DEVICE_ATTR.
  /// \par Errors
  /// - `errc::nxio`: the device has no such attribute
  [[nodiscard]] virtual constexpr errc has_attr(const kvm_device_attr& attr) noexcept = 0;

 protected:
  constexpr ~device_operations() = default;
};

/// A type of device (the kernel's struct kvm_device_ops).
/// \tparam Vm the class of the VMs that have such devices
template <class Vm>
class device_type {
 public:
  /// The attributes of a device of this type.
  using operations = device_operations<Vm>;

  device_type() = default;
  device_type(const device_type&) = delete;
  device_type& operator=(const device_type&) = delete;

  /// Returns the name of the open file behind a device's descriptor.
  [[nodiscard]] virtual constexpr const char* name() const noexcept = 0;
  /// Makes the state of a new device. The VM holds its lock during the call and links the device
  /// afterwards.
  /// \par Errors
  /// - `errc::busy`: the VM cannot have one more device of this type
  /// - `errc::nomem`: no memory
  [[nodiscard]] virtual constexpr result<operations*> create(Vm& vm) noexcept = 0;
  /// Releases and frees a device that `create` made. The VM has unlinked the device before, and
  /// holds its lock during the call.
  virtual constexpr void release(operations& device) noexcept = 0;

 protected:
  constexpr ~device_type() = default;
};

/// The table of the device types that KVM_CREATE_DEVICE knows (kvm_register_device_ops). The table
/// has no lock. The kernel, too, changes its table only when a module is loaded or unloaded.
/// \tparam Size the largest type number plus one
template <class Vm, std::uint32_t Size = KVM_DEV_TYPE_MAX>
class device_type_table {
 public:
  /// Enters a device type under a number. `type` must outlive its entry in the table and each of
  /// its devices.
  /// \par Errors
  /// - `errc::nospc`: `number` is not less than `Size`
  /// - `errc::exists`: the number has a type already
  constexpr errc register_type(std::uint32_t number, device_type<Vm>& type) noexcept {
    if (number >= Size) return errc::nospc;
    if (slots_[number]) return errc::exists;
    slots_[number] = &type;
    return errc::ok;
  }
  /// Removes the type with this number. Existing devices stay usable. The call has no effect if the
  /// number has no type.
  constexpr void unregister_type(std::uint32_t number) noexcept {
    if (number < Size) slots_[number] = nullptr;
  }
  /// Returns the type with this number, or null if there is none.
  [[nodiscard]] constexpr device_type<Vm>* find(std::uint32_t number) const noexcept {
    return number < Size ? slots_[number] : nullptr;
  }

 private:
  device_type<Vm>* slots_[Size] = {};
};

}  // namespace kvm_vfio
