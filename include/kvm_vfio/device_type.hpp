// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The kinds of device that a VM can have, and the kernel's table of them.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio {

/// A device's attributes, behind its descriptor.
/// \tparam Vm the VMs that have such devices
template <class Vm>
class device_operations {
 public:
  /// The tasks that make calls on it.
  using caller_type = typename Vm::caller_type;

  device_operations() = default;
  device_operations(const device_operations&) = delete;
  device_operations& operator=(const device_operations&) = delete;

  [[nodiscard]] virtual constexpr errc set_attr(caller_type& from,
                                                const kvm_device_attr& attr) noexcept = 0;
  [[nodiscard]] virtual constexpr errc has_attr(const kvm_device_attr& attr) noexcept = 0;

 protected:
  constexpr ~device_operations() = default;
};

/// A kind of device (the kernel's struct kvm_device_ops).
/// \tparam Vm the VMs that have such devices
template <class Vm>
class device_type {
 public:
  /// What such a device answers to.
  using operations = device_operations<Vm>;

  device_type() = default;
  device_type(const device_type&) = delete;
  device_type& operator=(const device_type&) = delete;

  /// The name of its descriptors.
  [[nodiscard]] virtual constexpr const char* name() const noexcept = 0;
  /// Makes a device's state. Called with the VM's lock held; the device is not linked to the VM
  /// yet. Errors: the type's own (busy), nomem.
  [[nodiscard]] virtual constexpr result<operations*> create(Vm& vm) noexcept = 0;
  /// Releases and frees what `create` made. Called with the VM's lock held; the device is not
  /// linked any more.
  virtual constexpr void release(operations& device) noexcept = 0;

 protected:
  constexpr ~device_type() = default;
};

/// The device types that KVM_CREATE_DEVICE knows (kvm_register_device_ops). Not synchronised: the
/// kernel registers when modules come and go.
/// \tparam Size one past the largest type
template <class Vm, std::uint32_t Size = KVM_DEV_TYPE_MAX>
class device_type_table {
 public:
  /// \return nospc: `number` is past the end · exists: the slot is taken
  constexpr errc register_type(std::uint32_t number, device_type<Vm>& type) noexcept {
    if (number >= Size) return errc::nospc;
    if (slots_[number]) return errc::exists;
    slots_[number] = &type;
    return errc::ok;
  }
  /// Empties the slot. Devices that exist go on. A number without a type is ignored.
  constexpr void unregister_type(std::uint32_t number) noexcept {
    if (number < Size) slots_[number] = nullptr;
  }
  /// The type, or null.
  [[nodiscard]] constexpr device_type<Vm>* find(std::uint32_t number) const noexcept {
    return number < Size ? slots_[number] : nullptr;
  }

 private:
  device_type<Vm>* slots_[Size] = {};
};

}  // namespace kvm_vfio
