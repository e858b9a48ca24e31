// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The open file of a VFIO device. A group hands it out, or a process opens the character device
/// and binds it to an iommufd. An unbound file of a character device answers only
/// VFIO_DEVICE_BIND_IOMMUFD.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// The open file of a device (the kernel's struct vfio_device_file).
class device_file final : public file {
 public:
  /// \param state  the state of the world
  /// \param device the device
  /// \param group  the open file of the group that hands the device out; null: this is the file of
  ///               the character device
  device_file(vfio_state& state, vfio_device& device, file* group) noexcept;
  [[nodiscard]] const char* name() const noexcept override { return device_.name().c_str(); }
  /// The device behind the file.
  [[nodiscard]] vfio_device& device() const noexcept { return device_; }
  /// Whether a group handed the file out. False: this is the file of the character device.
  [[nodiscard]] bool from_group() const noexcept { return group_ != nullptr; }
  /// The iommufd that the file is bound to. Null: none.
  [[nodiscard]] const iommufd_file* iommufd() const noexcept { return iommufd_; }

  /// The VM that the last set_kvm gave to the file. Null: none. The driver sees it when a character
  /// device is bound; for a device of a group the VM of the group counts.
  vm_base* vm = nullptr;
  /// The next open file of the device. Null: this file is the last one.
  device_file* next = nullptr;

  /// Opens the device for the group that hands it out. The caller holds the world's lock.
  /// \par Errors
  /// - `errc::inval`: the group is in no container, or the container has no IOMMU driver
  /// - `errc::srch`: the driver needs a VM, and the group has none
  /// - `errc::nodev`: the group uses an iommufd that has no address space for VFIO
  /// - `errc::perm`: the group has no IOMMU, and the process has no CAP_SYS_RAWIO, or the iommufd
  ///   that the group uses has an address space for VFIO
  /// - further errors: if the group uses an iommufd, those of `iommufd_file::bind` and
  ///   `iommufd_file::attach`
  [[nodiscard]] errc open_from_group(const process& task);

  /// Answers an ioctl of the device. Takes the world's lock.
  /// \par Errors
  /// - `errc::fault`: the struct cannot be read or written
  /// - `errc::inval`: the device is not open, that is, the file is not bound yet. BIND_IOMMUFD:
  ///   argsz, flags or the descriptor are wrong, a group handed the file out, or the device is open
  ///   already
  /// - `errc::toobig`: BIND_IOMMUFD: unknown members of the struct are not zero
  ///   (`linux_release::bind_checks_rest`)
  /// - `errc::busy`: BIND_IOMMUFD: the group is open
  /// - `errc::badf`: BIND_IOMMUFD: the descriptor is not open
  /// - `errc::badfd`: BIND_IOMMUFD: the file is not an iommufd
  /// - `errc::perm`: BIND_IOMMUFD: another owner has claimed the DMA of the group, or its
  ///   interrupts are unsafe
  /// - `errc::opnotsupp`: ATTACH or DETACH of a mediated device with a PASID
  ///   (`linux_release::pasids`)
  /// - `errc::access`: BIND_IOMMUFD: the token is missing or wrong
  ///   (`sriov_function::check_token`; only if `linux_release::bind_tokens`)
  /// - `errc::srch`: BIND_IOMMUFD: the driver needs a VM, and the file has none
  /// - `errc::nodev`: GET_PCI_HOT_RESET_INFO and PCI_HOT_RESET: the bus cannot be reset
  /// - `errc::nospc`: GET_PCI_HOT_RESET_INFO: argsz has no room for all devices of the bus
  /// - `errc::inval`: PCI_HOT_RESET: argsz, flags or the number of groups are wrong, or a file is
  ///   not a group. Or a device of the bus is in no group of the call, is not bound to VFIO, or is
  ///   in another device set, as each virtual function is. A device file names no group, and its
  ///   iommufd must own all devices of the bus
  /// - `errc::badf`: PCI_HOT_RESET: a descriptor is not open
  /// - `errc::notty`: the request is unknown; DEVICE_FEATURE: the device has no such feature
  /// - further errors: ATTACH_IOMMUFD_PT: those of `iommufd_file::attach`. All other requests:
  ///   those of `pci_endpoint::ioctl`
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  /// Reads from a region of the device. Takes the world's lock.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::read`
  answer pread(void* to, std::size_t size, std::uint64_t offset) override;
  /// Writes to a region of the device. Takes the world's lock.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::write`
  answer pwrite(const void* from, std::size_t size, std::uint64_t offset) override;
  /// Reads from the region at the position of the file, and moves the position behind what was
  /// read. Takes the world's lock. A new file has the position 0, which is the start of BAR 0.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::read`
  answer read(void* to, std::size_t size) override;
  /// Takes the world's lock.
  [[nodiscard]] std::size_t read_before_error(std::size_t size,
                                              const std::uint64_t* offset) noexcept override;
  /// Takes the world's lock.
  void move_back(std::uint64_t bytes) noexcept override;
  /// Writes to the region at the position of the file, and moves the position behind what was
  /// written. Takes the world's lock.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::write`
  answer write(const void* from, std::size_t size) override;
  /// Maps a part of a BAR. Takes the world's lock.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::map`
  result<void*> mmap(std::uint64_t size, int protection, std::uint64_t offset) override;
  /// Finds the memory of a part of a BAR as a part of a file, so that an interposer can let another
  /// process map it. Takes the world's lock. The parameters are those of `mmap`.
  /// \par Errors
  /// - `errc::inval`: the device is not open
  /// - further errors: those of `pci_endpoint::share`
  [[nodiscard]] result<shared_memory> share(std::uint64_t size, std::uint64_t offset);

 private:
  // Opens the device once more (vfio_df_open). The first open shows the VM `from` to the driver.
  errc open(vm_base* from);
  void close() noexcept;
  // Binds the device to the iommufd that its group uses, opens it, and attaches it.
  errc open_in_iommufd();
  // Opens a device without an IOMMU, whose group uses an iommufd. The device is not bound to it.
  errc open_without_iommu();
  void release() noexcept override;

  answer bind(process& task, std::uint64_t argument);
  // Reads the argument of VFIO_DEVICE_BIND_IOMMUFD, and the address of the token behind it, or 0.
  errc read_bind(process& task, std::uint64_t argument, uapi::device_bind_iommufd& c,
                 std::uint64_t& token) const;
  answer attach(process& task, std::uint64_t argument);
  answer detach(process& task, std::uint64_t argument);
  // Reads the PASID behind the argument of ATTACH or DETACH. Mediated devices have no PASIDs.
  errc read_pasid(process& task, std::uint64_t address, std::size_t size, std::uint32_t flags,
                  std::uint32_t& pasid) const noexcept;
  // VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.
  answer hot_reset_info(process& task, std::uint64_t argument) const;
  // VFIO_DEVICE_PCI_HOT_RESET.
  answer hot_reset(process& task, std::uint64_t argument) const;
  // Whether the device of the file and another device on its bus are in one device set
  // (vfio_assign_device_set). VFIO can reset the bus only if all of its devices are.
  [[nodiscard]] bool in_set(const vfio_device& other) const noexcept;
  // The number that the file's iommufd gives to a device of the bus. 0: the iommufd owns the group
  // of the device, but not the device. -1: it owns neither.
  [[nodiscard]] std::int32_t number_of(const vfio_device& device) const noexcept;
  // VFIO_DEVICE_FEATURE. A function has the features of low power, and a physical function has the
  // token. The answer for other features is notty if the struct is valid.
  answer feature(process& task, std::uint64_t argument);
  // Resumes the function for an access of so many bytes at an offset.
  void resume_for(std::size_t size, std::uint64_t offset) noexcept;

  vfio_state& state_;
  vfio_device& device_;
  file* group_;
  iommufd_file* iommufd_ = nullptr;
  std::uint32_t devid_ = 0;
  bool opened_ = false;
  std::uint64_t position_ = 0;
};

/// A file as the file of a VFIO device. Null: the file is of another kind.
[[nodiscard]] inline device_file* device_of(file& f) noexcept {
  return f.kind() == file_kind::device ? static_cast<device_file*>(&f) : nullptr;
}

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/device_file.hpp>
#include <kvm_vfio/sim/vfio/impl/hot_reset.hpp>
#endif
