// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An endpoint with the model behind it, so that the code of a VMM runs on the model without a
/// change.

#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/testing/process.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::testing {

/// Owns a device's descriptor of a mock process, and closes it in the destructor. The memory of the
/// process must share the memory of the test (`mapped_memory::share_host`), because an endpoint
/// receives real addresses.
class model_endpoint {
 public:
  /// Makes an endpoint of the device behind `fd`, a descriptor of `task`. `task` must outlive the
  /// endpoint.
  model_endpoint(process& task, int fd) noexcept : task_(&task), fd_(fd) {}
  model_endpoint(const model_endpoint&) = delete;
  model_endpoint& operator=(const model_endpoint&) = delete;
  ~model_endpoint() { (void)task_->close(fd_); }

  /// Calls KVM_SET_DEVICE_ATTR on the device behind the descriptor.
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) noexcept {
    return task_->ioctl(fd_, uapi::set_device_attr, address(&attr));
  }
  /// Calls KVM_HAS_DEVICE_ATTR on the device behind the descriptor.
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) noexcept {
    return task_->ioctl(fd_, uapi::has_device_attr, address(&attr));
  }
  /// Makes any ioctl on the device behind the descriptor, and passes `argument` on unchanged.
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) noexcept {
    return task_->ioctl(fd_, request, address(argument));
  }
  /// Returns the descriptor of the device.
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  static std::uint64_t address(const void* p) noexcept {
    return reinterpret_cast<std::uintptr_t>(p);
  }

  process* task_;
  int fd_;
};
static_assert(endpoint<model_endpoint>);

}  // namespace kvm_vfio::testing
