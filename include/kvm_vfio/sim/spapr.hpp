// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's IOMMU on POWER, version 1, and KVM's guest-visible TCE tables.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu_driver.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// The window that the host's firmware gives a group: 1 GiB of 4 KiB pages from 0.
inline constexpr tce_window default_window{.page_shift = 12, .offset = 0, .size = 1 << 18};

/// drivers/vfio/vfio_iommu_spapr_tce.c, version 1: one group, and its default window appears with
/// the first mapping.
class vfio_spapr_tce final : public iommu_driver {
 public:
  /// No group, not enabled.
  explicit vfio_spapr_tce(const vfio_state&) noexcept {}

  /// What CHECK_EXTENSION says before there is an instance.
  [[nodiscard]] static bool has_unopened(std::uint64_t extension) noexcept;
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override;
  /// \return inval: mediated · busy: version 1 takes one group · nodev: the group has no table data
  [[nodiscard]] errc attach(vfio_group& group) override;
  void detach(vfio_group& group) noexcept override;
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument) override;
  [[nodiscard]] const std::vector<std::unique_ptr<domain>>& domains() const noexcept override;
  [[nodiscard]] const dma_map& mappings() const noexcept override;
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
  std::vector<std::unique_ptr<domain>> domains_;
  dma_map maps_;
};

class tce_table;

/// Every TCE table there is. Guarded by the world's lock.
struct tce_tables {
  /// The world's.
  mutex& lock;
  /// In the order of creation.
  std::vector<tce_table*> all{};
};

/// A TCE table that a guest sees (KVM_CREATE_SPAPR_TCE_64), and the groups attached to it.
class tce_table final : public file {
 public:
  /// \param tables where it is listed for as long as it exists; must outlive it
  tce_table(tce_tables& tables, const vm_base& vm, const tce_window& w);
  [[nodiscard]] const char* name() const noexcept override { return "kvm-spapr-tce"; }

  /// kvm_spapr_tce_attach_iommu_group, once the descriptor was looked up. World's lock held.
  /// \return inval: another VM's, or no hardware table fits · fault: the group has no table data
  [[nodiscard]] errc attach(const vm_base& vm, vfio_group& group);
  /// kvm_spapr_tce_release_iommu_group, for one table.
  void detach(const vm_base& vm, const vfio_group& group) noexcept;
  /// The groups that are attached, in order.
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
