// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Tells an observer of the calls on an endpoint, for example on a real kvm-vfio of the kernel.

#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/trace/succeeds.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::trace {

/// An endpoint that passes every call on to another endpoint and tells an observer. The observer
/// does not see the other calls of the VMM, for example those that open groups and containers. If
/// nobody tells it of those calls, a checker can check only the rules about kvm-vfio itself.
///
/// If an exception leaves the observer during a call, the exception is dropped. The answer of the
/// call is then not changed.
template <endpoint E>
class watched_endpoint {
 public:
  /// Tells the observer that the device was created.
  /// \param device   the endpoint that answers; must outlive this object
  /// \param observer the observer; must outlive this object
  /// \param fd       the descriptor of the device, for the observer
  /// \param process  the number of the process, for the observer
  watched_endpoint(E& device, call_observer& observer, int fd, int process = 1)
      : device_(device), observer_(observer), fd_(fd), process_(process) {
    observer_.called({.kind = call_kind::ioctl,
                      .process = process_,
                      .request = kvm_vfio::uapi::create_device,
                      .made = fd_,
                      .number = kvm_vfio::uapi::dev_type_vfio});
  }
  /// Passes KVM_SET_DEVICE_ATTR on to the endpoint.
  /// \par Errors
  /// - each error of the endpoint
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    return told(kvm_vfio::uapi::set_device_attr, &attr, [&] { return device_.set_attr(attr); });
  }
  /// Passes KVM_HAS_DEVICE_ATTR on to the endpoint.
  /// \par Errors
  /// - each error of the endpoint
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) noexcept {
    return told(kvm_vfio::uapi::has_device_attr, &attr, [&] { return device_.has_attr(attr); });
  }
  /// Passes an ioctl on to the endpoint.
  /// \par Errors
  /// - each error of the endpoint
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) noexcept {
    return told(static_cast<std::uint32_t>(request), argument,
                [&] { return device_.ioctl(request, argument); });
  }

 private:
  // Describes a call, because the kernel may overwrite its argument. Then makes the call with
  // `execute`, and tells the observer.
  template <class Execute>
  errc told(std::uint32_t request, const void* argument, Execute execute) noexcept {
    call c{.kind = call_kind::ioctl,
           .process = process_,
           .fd = fd_,
           .request = request,
           .argument = reinterpret_cast<std::uintptr_t>(argument)};
    const bool described = detail::succeeds([&] { decode_argument(c, memory_); });
    const errc e = execute();
    if (!described) return e;
    (void)detail::succeeds([&] {
      decode_answer(c, memory_, to_answer(e));
      observer_.called(c);
    });
    return e;
  }

  E& device_;
  call_observer& observer_;
  memory memory_;
  int fd_;
  int process_;
};
/// Deduces the type of the endpoint from the first argument.
template <class E>
watched_endpoint(E&, call_observer&, int, int = 1) -> watched_endpoint<E>;

}  // namespace kvm_vfio::trace
