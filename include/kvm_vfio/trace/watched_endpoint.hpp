// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Shows observers the calls that are made elsewhere than on a simulated process: on real system
/// calls, or on an endpoint, the kernel's own for example.

#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::trace {

/// An endpoint that tells an observer of every call. The other calls of the VMM (opening groups,
/// containers …) are the user's to tell; without them the rules about kvm-vfio alone are held.
template <endpoint E>
class watched_endpoint {
 public:
  /// \param fd the number of the device's descriptor, as the observer is to know it
  watched_endpoint(E& device, call_observer& observer, int fd, int process = 1)
      : device_(device), observer_(observer), fd_(fd), process_(process) {
    observer_.called({.kind = call_kind::ioctl,
                      .process = process_,
                      .request = kvm_vfio::uapi::create_device,
                      .made = fd_,
                      .number = kvm_vfio::uapi::dev_type_vfio});
  }
  /// As the endpoint's.
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    call c = made(kvm_vfio::uapi::set_device_attr, &attr);
    return told(c, device_.set_attr(attr));
  }
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) noexcept {
    call c = made(kvm_vfio::uapi::has_device_attr, &attr);
    return told(c, device_.has_attr(attr));
  }
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) noexcept {
    call c = made(static_cast<std::uint32_t>(request), argument);
    return told(c, device_.ioctl(request, argument));
  }

 private:
  call made(std::uint32_t request, const void* argument) noexcept {
    call c{.kind = call_kind::ioctl,
           .process = process_,
           .fd = fd_,
           .request = request,
           .argument = reinterpret_cast<std::uintptr_t>(argument)};
    decode_argument(c, memory_);
    return c;
  }
  errc told(call& c, errc e) noexcept {
    decode_answer(c, memory_, to_answer(e));
    observer_.called(c);
    return e;
  }

  E& device_;
  call_observer& observer_;
  memory memory_;
  int fd_;
  int process_;
};
/// By its arguments.
template <class E>
watched_endpoint(E&, call_observer&, int, int = 1) -> watched_endpoint<E>;

}  // namespace kvm_vfio::trace
