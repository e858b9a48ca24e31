// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An open VFIO device: handed out by a group, or a character device that must be bound to an
/// iommufd before it answers anything.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/container.hpp>
#include <kvm_vfio/sim/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// What a mapping of a device's file shows: a region, and where in it.
struct region_span {
  /// The region's number, and which of its bytes.
  std::uint32_t index = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

/// struct vfio_device_file.
class device_file final : public file {
 public:
  /// \param group the open group file that hands it out; null: the character device
  device_file(vfio_state& state, vfio_device& device, file* group) noexcept;
  [[nodiscard]] const char* name() const noexcept override { return device_.name().c_str(); }
  /// The device behind the file.
  [[nodiscard]] vfio_device& device() const noexcept { return device_; }
  /// Whether a group handed it out; otherwise it is the character device.
  [[nodiscard]] bool from_group() const noexcept { return group_ != nullptr; }
  /// The iommufd that it is bound to, or null.
  [[nodiscard]] const iommufd_file* iommufd() const noexcept { return iommufd_; }

  vm_base* vm = nullptr;  ///< what set_kvm said last; counts for the character device

  /// Opens it as the group does. With the world's lock held.
  /// \return inval: no container, or one without an IOMMU · ESRCH: the driver needs a VM
  [[nodiscard]] errc open_from_group();

  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  answer pread(void* to, std::size_t size, std::uint64_t offset) override;
  answer pwrite(const void* from, std::size_t size, std::uint64_t offset) override;
  /// What mmap(2) of this part of the file shows. \return inval: not mappable, or past the region
  [[nodiscard]] result<region_span> mmap(std::uint64_t offset, std::uint64_t size);

 private:
  // vfio_df_open, and what its first open does.
  errc open(vm_base* from);
  void close() noexcept;
  void release() noexcept override;

  // fault · inval: argsz, flags, bound already, not the character device · busy: the group is open
  // · badf, EBADFD: not an iommufd · perm: somebody else owns its DMA · ESRCH: needs a VM
  answer bind(process& task, std::uint64_t argument);
  errc read_bind(process& task, std::uint64_t argument, uapi::device_bind_iommufd& c) const;
  answer attach(process& task, std::uint64_t argument);
  answer detach(process& task, std::uint64_t argument);
  // The device has none: notty, after the struct was found in order.
  static answer feature(process& task, std::uint64_t argument);

  vfio_state& state_;
  vfio_device& device_;
  file* group_;
  iommufd_file* iommufd_ = nullptr;
  std::uint32_t devid_ = 0;
  bool opened_ = false;
};

/// The VFIO device behind a file, or null.
[[nodiscard]] inline device_file* device_of(file& f) noexcept {
  return f.kind() == file_kind::device ? static_cast<device_file*>(&f) : nullptr;
}

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/device_file.hpp>
#endif
