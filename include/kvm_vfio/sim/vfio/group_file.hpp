// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open file of a VFIO group, /dev/vfio/N. A group has at most one open file at a time. A
/// device that this file handed out holds a reference on it.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::sim {

/// The open file of a group.
class group_file final : public file {
 public:
  /// Opens the group. The caller holds the world's lock.
  /// \pre the group is not open
  group_file(vfio_state& state, vfio_group& group);
  [[nodiscard]] const char* name() const noexcept override { return name_.c_str(); }
  /// The group behind the file.
  [[nodiscard]] vfio_group& group() const noexcept { return group_; }

  /// Answers an ioctl of the group. Takes the world's lock.
  /// \par Errors
  /// - `errc::notty`: the request is unknown
  /// - `errc::fault`: the argument cannot be read or written
  /// - `errc::inval`: SET_CONTAINER: the group is in a container already, or, on Linux 6.1, the
  ///   file is not a container. UNSET_CONTAINER: the group is in no container. GET_DEVICE_FD: the
  ///   name is too long, text that is no token follows the name and a blank, a token is given for a
  ///   device that needs none, or the group has no container with an IOMMU driver. GET_STATUS:
  ///   argsz is too small
  /// - `errc::access`: GET_DEVICE_FD: the token is missing or wrong (`sriov_function::check_token`)
  /// - `errc::badf`: SET_CONTAINER: the descriptor is not open
  /// - `errc::badfd`: SET_CONTAINER: the file is neither a container nor an iommufd
  /// - `errc::busy`: UNSET_CONTAINER: a device of the group is open
  /// - `errc::nodev`: GET_DEVICE_FD: VFIO drives no device with this name in the group, or
  ///   the group uses an iommufd that has no address space for VFIO
  /// - `errc::srch`: GET_DEVICE_FD: the device needs a VM, and the group has none
  /// - `errc::perm`: GET_DEVICE_FD: the group uses an iommufd, and another owner has claimed
  ///   its DMA, or its interrupts are unsafe
  /// - `errc::addrinuse`: GET_DEVICE_FD: the group uses an iommufd, and the device cannot use a
  ///   mapping of the address space for VFIO
  /// - `errc::mfile`: GET_DEVICE_FD: the process has no free descriptor
  /// - further errors: SET_CONTAINER: those of `container::attach`
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

 private:
  void release() noexcept override;
  answer get_status(process& task, std::uint64_t argument) const;
  answer set_container(process& task, std::uint64_t argument);
  errc unset_container() noexcept;
  void leave_iommufd() noexcept;
  answer get_device_fd(process& task, std::uint64_t argument);

  vfio_state& state_;
  vfio_group& group_;
  std::string name_;
};

/// The group behind a file. Null: the file is not the file of a group.
[[nodiscard]] inline vfio_group* group_of(file& f) noexcept {
  return f.kind() == file_kind::group ? &static_cast<group_file&>(f).group() : nullptr;
}

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/group_file.hpp>
#endif
