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
/// this type is the type of the function's result. That result stays valid when the endpoint is
/// moved. Without `borrow()`, this type is an `endpoint_pointer`.
template <endpoint E>
using endpoint_view = decltype(detail::view_of(*static_cast<E*>(nullptr)));

/// Holds a VFIO file that a kvm-vfio device tracks, and calls FILE_DEL in its destructor. An
/// attachment can be moved. The kvm-vfio device and the descriptor of the VFIO file must stay open
/// for as long as the attachment holds the file.
/// \tparam View an `endpoint_view`
template <endpoint View>
class attachment {
 public:
  attachment() = default;
  /// Takes over the file of `other`, which then holds no file.
  attachment(attachment&& other) noexcept : device_(other.device_), fd_(other.fd_) {
    other.dismiss();
  }
  /// Detaches its own file, then takes over the file of `other`, which then holds no file.
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

  /// Calls FILE_DEL. Does nothing and returns ok if this object holds no file. Afterwards this
  /// object holds no file, even if FILE_DEL fails. The caller may then try `file_del` again.
  /// \par Errors
  /// - `errc::noent`: the device did not track the file any more
  /// - any other error of `file_del`: the device still tracks the file
  errc detach() noexcept {
    if (fd_ < 0) return errc::ok;
    const int fd = fd_;
    dismiss();
    return file_del(device_, fd);
  }
  /// Gives up the file without FILE_DEL. The device tracks the file until the device is closed.
  void dismiss() noexcept { fd_ = -1; }
  /// Returns true if this object holds a file.
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Returns the descriptor of the file that this object holds, or -1 if it holds none.
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
