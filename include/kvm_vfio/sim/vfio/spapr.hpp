// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's IOMMU driver for POWER, version 1.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/vfio/iommu_driver.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>

#include <cstdint>
#include <memory>

namespace kvm_vfio::sim {

/// The IOMMU driver for POWER (the kernel's drivers/vfio/vfio_iommu_spapr_tce.c), version 1. The
/// driver takes one group. Its default window is made by the first mapping or unmapping.
class vfio_spapr_tce final : public iommu_driver {
 public:
  /// Makes a driver without a group, which is not enabled.
  /// \param state the state of the world; must outlive the driver
  explicit vfio_spapr_tce(const vfio_state& state) noexcept : state_(state) {}

  /// Answers VFIO_CHECK_EXTENSION for a container that has no IOMMU driver yet.
  [[nodiscard]] static bool has_unopened(std::uint64_t extension) noexcept;
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override;
  /// Attaches the group.
  /// \par Errors
  /// - `errc::inval`: all devices of the group are mediated devices
  /// - `errc::busy`: the driver has a group already
  /// - `errc::nodev`: the group has no table data
  [[nodiscard]] errc attach(iommu_group& group) override;
  void detach(iommu_group& group) noexcept override;
  /// Answers VFIO_IOMMU_ENABLE, DISABLE, MAP_DMA, UNMAP_DMA and SPAPR_TCE_GET_INFO.
  /// \return 0; MAP_DMA and UNMAP_DMA also return 1 for some wrong arguments, as the kernel does
  /// \par Errors
  /// - `errc::notty`: the request is unknown
  /// - `errc::nxio`: the driver has no group; MAP_DMA, UNMAP_DMA: the address is outside of the
  ///   window
  /// - `errc::busy`: ENABLE: the driver is enabled already
  /// - `errc::nomem`: ENABLE: the process may not lock as much memory as the window has
  ///   (`process::memory_lock_limit`). MAP_DMA, UNMAP_DMA: the call makes the default window, and
  ///   the process may not lock the memory of its table, 2 MiB
  /// - `errc::perm`: MAP_DMA, UNMAP_DMA: the driver is not enabled
  /// - `errc::fault`: the struct cannot be read or written
  /// - `errc::inval`: argsz, flags, size or alignment are wrong
  /// - `errc::intr`: MAP_DMA: the mapping reaches over the end of the window
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  [[nodiscard]] std::uint64_t locked(int address_space) const noexcept override;
  [[nodiscard]] const char* name() const noexcept override { return "spapr_tce"; }

 private:
  static constexpr std::uint64_t page = std::uint64_t{1} << default_window.page_shift;
  static constexpr std::uint64_t window = default_window.size * page;
  static constexpr std::uint64_t table = default_window.size * sizeof(std::uint64_t);

  answer enable(process& task);
  answer get_info(process& task, std::uint64_t argument);
  answer map(process& task, std::uint64_t argument);
  answer unmap(process& task, std::uint64_t argument);
  // Makes the default window if the group has none. Error:
  // - nomem: the process may not lock the memory of the window's table
  [[nodiscard]] errc make_window(process& task);
  // Whether a process may lock so many bytes more.
  [[nodiscard]] bool may_lock(const memory_account& account, std::uint64_t bytes) const;

  const vfio_state& state_;
  iommu_group* group_ = nullptr;
  bool enabled_ = false;
  // The account that is charged for the window and its table. Null: the driver was never enabled.
  std::shared_ptr<const memory_account> account_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/spapr.hpp>
#endif
