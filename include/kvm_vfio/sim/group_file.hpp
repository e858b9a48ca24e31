// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open file of a VFIO group, /dev/vfio/N. A group has at most one open file at a time. A
/// device that this file handed out holds a reference on it.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/device_file.hpp>

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

  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

 private:
  void release() noexcept override;
  answer get_status(process& task, std::uint64_t argument);
  // VFIO_GROUP_SET_CONTAINER. Errors:
  // - fault: the argument cannot be read
  // - badf: the descriptor is not open
  // - inval: the group is in a container already; on Linux 6.1 also: the file is not a container
  // - badfd: the file is not a container
  // - those of container::attach
  answer set_container(process& task, std::uint64_t argument);
  // VFIO_GROUP_UNSET_CONTAINER. Errors:
  // - inval: the group is in no container
  // - busy: a device of the group is open
  errc unset_container() noexcept;
  // VFIO_GROUP_GET_DEVICE_FD. Errors:
  // - fault: the name cannot be read
  // - inval: the name is too long; the group has no container; the container has no IOMMU driver
  // - nodev: VFIO drives no device with this name in the group
  // - srch: the device needs a VM, and the group has none
  // - mfile: the process has no free descriptor
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
#include <kvm_vfio/sim/impl/group_file.hpp>
#endif
