// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A kvm-vfio device as its user holds it, whoever implements it: the kernel's own in production,
/// the model in the VMM's tests. Code written against `endpoint` runs on both.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

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

/// An endpoint by its address, for endpoints that cannot be copied.
template <endpoint E>
class endpoint_pointer {
 public:
  endpoint_pointer() = default;
  /// `device` must outlive the pointer and every copy of it.
  explicit endpoint_pointer(E& device) noexcept : device_(&device) {}
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    return device_->set_attr(attr);
  }
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) noexcept {
    return device_->has_attr(attr);
  }
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) noexcept {
    return device_->ioctl(request, argument);
  }

 private:
  E* device_ = nullptr;
};

namespace detail {
template <endpoint E>
[[nodiscard]] auto view_of(E& device) noexcept {
  if constexpr (requires { device.borrow(); }) return device.borrow();
  else return endpoint_pointer<E>(device);
}
}  // namespace detail

/// What a guard keeps of an endpoint: what its `borrow()` hands out, good wherever the endpoint
/// moves, or else its address.
template <endpoint E>
using endpoint_view = decltype(detail::view_of(*static_cast<E*>(nullptr)));

/// Keeps a VFIO file attached to a VM: FILE_DEL when it goes. Movable; the device must stay open,
/// and the VFIO file's descriptor too.
/// \tparam View an `endpoint_view`
template <endpoint View>
class attachment {
 public:
  attachment() = default;
  /// Takes over what the other one holds, which then holds nothing.
  attachment(attachment&& other) noexcept : device_(other.device_), fd_(other.fd_) {
    other.dismiss();
  }
  /// Detaches what this one held; the other one lets go.
  attachment& operator=(attachment&& other) noexcept {
    if (this != &other) {
      (void)detach();
      device_ = other.device_;
      fd_ = other.fd_;
      other.dismiss();
    }
    return *this;
  }
  ~attachment() { (void)detach(); }

  /// FILE_DEL now, with its answer; ok when nothing is attached. The file is the caller's again,
  /// whatever the answer: after noent somebody else deleted it, after any other failure the device
  /// still tracks it, and `file_del` may be tried again.
  errc detach() noexcept {
    if (fd_ < 0) return errc::ok;
    const int fd = fd_;
    dismiss();
    return file_del(device_, fd);
  }
  /// Leaves the file attached for as long as the device lives.
  void dismiss() noexcept { fd_ = -1; }
  /// Whether a file is attached.
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  /// The descriptor of the attached file; -1: none.
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  template <endpoint E>
  friend result<attachment<endpoint_view<E>>> attach(E& device, int fd) noexcept;
  attachment(const View& device, int fd) noexcept : device_(device), fd_(fd) {}

  View device_{};
  int fd_ = -1;
};

/// FILE_ADD, undone by the guard that it returns. Errors as `file_add`.
template <endpoint E>
[[nodiscard]] result<attachment<endpoint_view<E>>> attach(E& device, int fd) noexcept {
  if (const errc e = file_add(device, fd); e != errc::ok) return e;
  return attachment<endpoint_view<E>>(detail::view_of(device), fd);
}

}  // namespace kvm_vfio
