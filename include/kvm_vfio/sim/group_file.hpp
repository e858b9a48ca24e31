// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An open VFIO group, /dev/vfio/N: the only one at a time. Devices that it handed out hold a
/// reference on it.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/device_file.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::sim {

/// struct file of a group.
class group_file final : public file {
 public:
  /// With the world's lock held. \pre the group is not open
  group_file(vfio_state& state, vfio_group& group);
  [[nodiscard]] const char* name() const noexcept override { return name_.c_str(); }
  /// The group behind the file.
  [[nodiscard]] vfio_group& group() const noexcept { return group_; }

  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;

 private:
  void release() noexcept override;
  answer get_status(process& task, std::uint64_t argument);
  // fault · badf · inval: in a container already · EBADFD (6.1: inval): not a
  // container · as container::attach
  answer set_container(process& task, std::uint64_t argument);
  // inval: in none · busy: a device is open
  errc unset_container() noexcept;
  // fault · inval: too long a name, no container, no IOMMU · nodev: no such device here · ESRCH ·
  // mfile
  answer get_device_fd(process& task, std::uint64_t argument);

  vfio_state& state_;
  vfio_group& group_;
  std::string name_;
};

/// The VFIO group behind a file, or null.
[[nodiscard]] inline vfio_group* group_of(file& f) noexcept {
  return f.kind() == file_kind::group ? &static_cast<group_file&>(f).group() : nullptr;
}

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/group_file.hpp>
#endif
