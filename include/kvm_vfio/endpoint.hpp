// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A kvm-vfio device as a VMM uses it. In production the kernel is behind it, in the tests of a VMM
/// the model. Code that is written for `endpoint` runs on both.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio {

/// An object that stands for the descriptor of a kvm-vfio device.
template <class E>
concept endpoint =
    requires(E& device, const kvm_device_attr& attr, unsigned long request, void* argument) {
      // Calls KVM_SET_DEVICE_ATTR.
      { device.set_attr(attr) } noexcept -> std::same_as<errc>;
      // Calls KVM_HAS_DEVICE_ATTR.
      { device.has_attr(attr) } noexcept -> std::same_as<errc>;
      // Makes any ioctl and passes `argument` on unchanged.
      { device.ioctl(request, argument) } noexcept -> std::same_as<errc>;
    };

namespace detail {
/// Returns an attribute of group KVM_DEV_VFIO_FILE whose `addr` is the address of `argument`.
template <class T>
[[nodiscard]] inline kvm_device_attr file_attr(std::uint64_t attr, const T& argument) noexcept {
  return {.flags = 0,
          .group = uapi::dev_vfio_file,
          .attr = attr,
          .addr = reinterpret_cast<std::uintptr_t>(&argument)};
}
}  // namespace detail

/// Calls FILE_ADD for a descriptor: the device then tracks the VFIO file behind it. Makes one ioctl
/// and allocates nothing.
/// \par Errors
/// - `errc::badf`: `fd` is not open, or was opened with O_PATH
/// - `errc::inval`: the file is not a VFIO file, or VFIO is not loaded
/// - `errc::exists`: the device tracks the file already
/// - `errc::nomem`: no memory
/// - `errc::io`: the VM belongs to another process, or is dead
template <endpoint E>
[[nodiscard]] errc file_add(E& device, int fd) noexcept {
  const std::int32_t argument = fd;
  return device.set_attr(detail::file_attr(uapi::dev_vfio_file_add, argument));
}

/// Calls FILE_DEL for a descriptor: the device no longer tracks the VFIO file behind it. Makes one
/// ioctl and allocates nothing.
/// \par Errors
/// - `errc::badf`: `fd` is not open, or was opened with O_PATH
/// - `errc::noent`: the device does not track the file
/// - `errc::io`: the VM belongs to another process, or is dead
template <endpoint E>
[[nodiscard]] errc file_del(E& device, int fd) noexcept {
  const std::int32_t argument = fd;
  return device.set_attr(detail::file_attr(uapi::dev_vfio_file_del, argument));
}

/// Calls GROUP_SET_SPAPR_TCE, which attaches a tracked group to a TCE table of the VM. Exists on
/// POWER only. Makes one ioctl and allocates nothing.
/// \param groupfd a descriptor of the group's file
/// \param tablefd the descriptor of the TCE table
/// \par Errors
/// - `errc::nxio`: the kernel has no such attribute, because it is not a POWER kernel
/// - `errc::badf`: one of the descriptors is not open
/// - `errc::noent`: the device does not track the group
/// - `errc::inval`: `tablefd` is not a table of this VM, or does not fit the group
/// - `errc::io`: the file has no IOMMU group, or the VM belongs to another process or is dead
template <endpoint E>
[[nodiscard]] errc set_spapr_tce(E& device, int groupfd, int tablefd) noexcept {
  const kvm_vfio_spapr_tce argument{.groupfd = groupfd, .tablefd = tablefd};
  return device.set_attr(detail::file_attr(uapi::dev_vfio_group_set_spapr_tce, argument));
}

}  // namespace kvm_vfio
