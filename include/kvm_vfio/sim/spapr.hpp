// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's IOMMU driver for POWER, version 1, and the TCE tables of KVM.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu_driver.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// The window that the firmware of the host gives to a group: 1 GiB of 4 KiB pages from address 0.
inline constexpr tce_window default_window{.page_shift = 12, .offset = 0, .size = 1 << 18};

/// The IOMMU driver for POWER (the kernel's drivers/vfio/vfio_iommu_spapr_tce.c), version 1. The
/// driver takes one group. Its default window is made by the first mapping or unmapping.
class vfio_spapr_tce final : public iommu_driver {
 public:
  /// Makes a driver without a group, which is not enabled.
  explicit vfio_spapr_tce(const vfio_state&) noexcept {}

  /// Answers VFIO_CHECK_EXTENSION for a container that has no IOMMU driver yet.
  [[nodiscard]] static bool has_unopened(std::uint64_t extension) noexcept;
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override;
  /// Attaches the group.
  /// \par Errors
  /// - `errc::inval`: all devices of the group are mediated devices
  /// - `errc::busy`: the driver has a group already
  /// - `errc::nodev`: the group has no table data
  [[nodiscard]] errc attach(vfio_group& group) override;
  void detach(vfio_group& group) noexcept override;
  /// Answers VFIO_IOMMU_ENABLE, DISABLE, MAP_DMA, UNMAP_DMA and SPAPR_TCE_GET_INFO.
  /// \return 0; MAP_DMA and UNMAP_DMA also return 1 for some wrong arguments, as the kernel does
  /// \par Errors
  /// - `errc::notty`: the request is unknown
  /// - `errc::nxio`: the driver has no group; MAP_DMA, UNMAP_DMA: the address is outside of the
  /// window
  /// - `errc::busy`: ENABLE: the driver is enabled already
  /// - `errc::perm`: MAP_DMA, UNMAP_DMA: the driver is not enabled
  /// - `errc::fault`: the struct cannot be read or written
  /// - `errc::inval`: argsz, flags, size or alignment are wrong
  /// - `errc::intr`: MAP_DMA: the mapping reaches over the end of the window
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  [[nodiscard]] const char* name() const noexcept override { return "spapr_tce"; }

 private:
  static constexpr std::uint64_t page = std::uint64_t{1} << default_window.page_shift;
  static constexpr std::uint64_t window = default_window.size * page;

  answer get_info(process& task, std::uint64_t argument);
  answer map(process& task, std::uint64_t argument);
  answer unmap(process& task, std::uint64_t argument);
  void make_window();

  vfio_group* group_ = nullptr;
  bool enabled_ = false;
};

class tce_table;

/// The list of all TCE tables.
struct tce_tables {
  /// The world's lock, which guards the list.
  mutex& lock;
  /// The tables, in the order of creation.
  std::vector<tce_table*> all{};
};

/// A TCE table that KVM_CREATE_SPAPR_TCE_64 makes for a VM, and the groups that are attached to it.
class tce_table final : public file {
 public:
  /// Makes a table. Takes the world's lock.
  /// \param tables the list that contains the table until it is released; must outlive the table
  /// \param vm     the VM of the table; must outlive the table
  /// \param w      the addresses that the table covers
  tce_table(tce_tables& tables, const vm_base& vm, const tce_window& w);
  [[nodiscard]] const char* name() const noexcept override { return "kvm-spapr-tce"; }

  /// Attaches a group (the part of kvm_spapr_tce_attach_iommu_group behind the look-up of the
  /// descriptor). A group that is attached already stays attached. The caller holds the world's
  /// lock.
  /// \par Errors
  /// - `errc::inval`: the table belongs to another VM, or no window of the group covers the
  ///   addresses of the table
  /// - `errc::fault`: the group has no table data
  [[nodiscard]] errc attach(const vm_base& vm, vfio_group& group);
  /// Detaches a group (kvm_spapr_tce_release_iommu_group). Does nothing if the table belongs to
  /// another VM or the group is not attached. The caller holds the world's lock.
  void detach(const vm_base& vm, const vfio_group& group) noexcept;
  /// The groups that are attached, in the order in which they were attached.
  [[nodiscard]] const std::vector<const vfio_group*>& attached() const noexcept;

 private:
  void release() noexcept override;
  tce_tables& tables_;
  const vm_base& vm_;
  tce_window window_;
  std::vector<const vfio_group*> attached_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/spapr.hpp>
#endif
