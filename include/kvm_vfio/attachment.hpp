// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A scope guard for a VFIO file that a kvm-vfio device tracks.

#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

namespace kvm_vfio {

/// An endpoint that stores the address of another endpoint and passes each call on to it. An
/// `attachment` stores an `endpoint_pointer` if the endpoint has no function `borrow()`.
template <endpoint E>
class endpoint_pointer {
 public:
  endpoint_pointer() = default;
  /// `device` must outlive this pointer and every copy of it.
  explicit endpoint_pointer(E& device) noexcept : device_(&device) {}
  /// Calls KVM_SET_DEVICE_ATTR on the other endpoint.
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    return device_->set_attr(attr);
  }
  /// Calls KVM_HAS_DEVICE_ATTR on the other endpoint.
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) noexcept {
    return device_->has_attr(attr);
  }
  /// Makes any ioctl on the other endpoint, and passes `argument` on unchanged.
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

/// The type by which an `attachment` stores an endpoint. If the endpoint has a function `borrow()`,
/// this type is the type of what `borrow()` returns. That object stays valid when the endpoint is
/// moved. If the endpoint has no `borrow()`, this type is an `endpoint_pointer`.
template <endpoint E>
using endpoint_view = decltype(detail::view_of(*static_cast<E*>(nullptr)));

/// Stores the descriptor of a VFIO file that a kvm-vfio device tracks, and calls FILE_DEL for this
/// file in its destructor. The attachment does not own the descriptor. The descriptor and the
/// kvm-vfio device must stay open until FILE_DEL. An attachment can be moved.
/// \tparam View an `endpoint_view`
template <endpoint View>
class attachment {
 public:
  attachment() = default;
  /// Takes over the file of `other`. Afterwards `other` has no file.
  attachment(attachment&& other) noexcept : device_(other.device_), fd_(other.fd_) {
    other.dismiss();
  }
  /// Detaches the file that this object has, then takes over the file of `other`. Afterwards
  /// `other` has no file. Ignores an error of FILE_DEL.
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

  /// Calls FILE_DEL. If this object has no file, does nothing and returns ok. Afterwards this
  /// object has no file, even if FILE_DEL failed. After an error the caller may try `file_del`
  /// again.
  /// \par Errors
  /// - `errc::noent`: the device did not track the file any more
  /// - any other error of `file_del`: the device still tracks the file
  errc detach() noexcept {
    if (fd_ < 0) return errc::ok;
    const int fd = fd_;
    dismiss();
    return file_del(device_, fd);
  }
  /// Forgets the file without FILE_DEL. The kvm-vfio device tracks the file until the caller calls
  /// `file_del` or the kvm-vfio device is closed.
  void dismiss() noexcept { fd_ = -1; }
  /// Returns true if this object has a file.
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Returns the descriptor of the file, or -1 if this object has no file.
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  template <endpoint E>
  friend result<attachment<endpoint_view<E>>> attach(E& device, int fd) noexcept;
  attachment(const View& device, int fd) noexcept : device_(device), fd_(fd) {}

  View device_{};
  int fd_ = -1;
};

/// Calls FILE_ADD and returns an object that calls FILE_DEL in its destructor.
/// \param device the kvm-vfio device that shall track the file
/// \param fd     a descriptor of the VFIO file
/// \par Errors
/// - each error of `file_add`
template <endpoint E>
[[nodiscard]] result<attachment<endpoint_view<E>>> attach(E& device, int fd) noexcept {
  if (const errc e = file_add(device, fd); e != errc::ok) return e;
  return attachment<endpoint_view<E>>(detail::view_of(device), fd);
}

}  // namespace kvm_vfio
