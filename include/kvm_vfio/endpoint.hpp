// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A kvm-vfio device as its user holds it, whoever implements it: the kernel's own in production,
/// the model in the VMM's tests. Code written against `endpoint` runs on both.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

/// A kvm-vfio device's descriptor.
template <class E>
concept endpoint =
    requires(E& device, const kvm_device_attr& attr, unsigned long request, void* argument) {
      // KVM_SET_DEVICE_ATTR.
      { device.set_attr(attr) } noexcept -> std::same_as<errc>;
      // KVM_HAS_DEVICE_ATTR.
      { device.has_attr(attr) } noexcept -> std::same_as<errc>;
      // Any ioctl, argument as given.
      { device.ioctl(request, argument) } noexcept -> std::same_as<errc>;
    };

namespace detail {
/// The attribute of group FILE whose argument stands at `argument`.
template <class T>
[[nodiscard]] inline kvm_device_attr file_attr(std::uint64_t attr, const T& argument) noexcept {
  return {.flags = 0,
          .group = uapi::dev_vfio_file,
          .attr = attr,
          .addr = reinterpret_cast<std::uintptr_t>(&argument)};
}
}  // namespace detail

/// FILE_ADD of a descriptor. Does not allocate; one ioctl.
/// \return as `device::set_attr`; inval: not a VFIO file, or VFIO is not loaded
template <endpoint E>
[[nodiscard]] errc file_add(E& device, int fd) noexcept {
  const std::int32_t argument = fd;
  return device.set_attr(detail::file_attr(uapi::dev_vfio_file_add, argument));
}

/// FILE_DEL of a descriptor. Does not allocate; one ioctl.
/// \return as `device::set_attr`; noent: not tracked
template <endpoint E>
[[nodiscard]] errc file_del(E& device, int fd) noexcept {
  const std::int32_t argument = fd;
  return device.set_attr(detail::file_attr(uapi::dev_vfio_file_del, argument));
}

/// GROUP_SET_SPAPR_TCE: attaches a tracked group to a TCE table of the VM. POWER only.
/// \return as `device::set_attr`; nxio: not a POWER kernel
template <endpoint E>
[[nodiscard]] errc set_spapr_tce(E& device, int groupfd, int tablefd) noexcept {
  const kvm_vfio_spapr_tce argument{.groupfd = groupfd, .tablefd = tablefd};
  return device.set_attr(detail::file_attr(uapi::dev_vfio_group_set_spapr_tce, argument));
}

/// Keeps a VFIO file attached to a VM: FILE_DEL when it goes. Movable; the endpoint must outlive
/// it and stay where it is, and the descriptor must stay open.
template <endpoint E>
class attachment {
 public:
  attachment() = default;
  attachment(attachment&& other) noexcept : device_(other.device_), fd_(other.fd_) {
    other.device_ = nullptr;
  }
  attachment& operator=(attachment&& other) noexcept {
    if (this != &other) {
      (void)detach();
      device_ = other.device_;
      fd_ = other.fd_;
      other.device_ = nullptr;
    }
    return *this;
  }
  ~attachment() { (void)detach(); }

  /// FILE_DEL now, with its answer. On failure the file counts as attached no more: the kernel
  /// either does not track it or cannot be reached. Ok when nothing is attached.
  errc detach() noexcept {
    if (!device_) return errc::ok;
    E& device = *device_;
    device_ = nullptr;
    return file_del(device, fd_);
  }
  /// Leaves the file attached for as long as the device lives.
  void dismiss() noexcept { device_ = nullptr; }
  [[nodiscard]] explicit operator bool() const noexcept { return device_ != nullptr; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  template <endpoint D>
  friend result<attachment<D>> attach(D& device, int fd) noexcept;
  attachment(E& device, int fd) noexcept : device_(&device), fd_(fd) {}

  E* device_ = nullptr;
  int fd_ = -1;
};

/// FILE_ADD, undone by the guard that it returns. Errors as `file_add`.
template <endpoint E>
[[nodiscard]] result<attachment<E>> attach(E& device, int fd) noexcept {
  if (const errc e = file_add(device, fd); e != errc::ok) return e;
  return attachment<E>(device, fd);
}

}  // namespace kvm_vfio
