// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's IOMMU on POWER, version 1, and KVM's guest-visible TCE tables.

#include <kvm_vfio/sim/iommu_driver.hpp>

#include <algorithm>
#include <cstring>

namespace kvm_vfio::sim {

/// The window that the host's firmware gives a group: 1 GiB of 4 KiB pages from 0.
inline constexpr tce_window default_window{.page_shift = 12, .offset = 0, .size = 1 << 18};

/// drivers/vfio/vfio_iommu_spapr_tce.c, version 1: one group, and its default window appears with
/// the first mapping.
class spapr_iommu_driver final : public iommu_driver {
 public:
  /// No group, not enabled.
  explicit spapr_iommu_driver(const vfio_system&) noexcept {}

  /// What CHECK_EXTENSION says before there is an instance.
  [[nodiscard]] static bool has_unopened(std::uint64_t extension) noexcept {
    return extension == VFIO_SPAPR_TCE_IOMMU;
  }
  [[nodiscard]] bool has(std::uint64_t extension) const noexcept override {
    return has_unopened(extension);
  }
  /// \return inval: mediated · busy: version 1 takes one group · nodev: the group has no table data
  [[nodiscard]] errc attach(vfio_group& group) override {
    if (group.mediated()) return errc::inval;
    if (group_) return errc::busy;
    if (!group.has_table_data) return errc::nodev;
    group_ = &group;
    group.windows.clear();
    detail::join_domain(domains_, group);
    return errc::ok;
  }
  void detach(vfio_group& group) noexcept override {
    if (group_ != &group) return;
    group_ = nullptr;
    enabled_ = false;
    maps_.clear();
    group.windows.assign(1, default_window);
    detail::leave_domain(domains_, group);
  }
  answer ioctl(process& from, std::uint32_t request, std::uint64_t argument) override {
    switch (request) {
      case VFIO_IOMMU_ENABLE:
        if (!group_) return errc::nxio;
        if (enabled_) return errc::busy;
        enabled_ = true;
        return 0;
      case VFIO_IOMMU_DISABLE: enabled_ = false; return 0;
      case VFIO_IOMMU_SPAPR_TCE_GET_INFO: return get_info(from, argument);
      case VFIO_IOMMU_MAP_DMA: return map(from, argument);
      case VFIO_IOMMU_UNMAP_DMA: return unmap(from, argument);
      default: return errc::notty;
    }
  }
  [[nodiscard]] const std::vector<std::unique_ptr<domain>>& domains() const noexcept override {
    return domains_;
  }
  [[nodiscard]] const dma_map& mappings() const noexcept override { return maps_; }
  [[nodiscard]] const char* name() const noexcept override { return "spapr_tce"; }

 private:
  static constexpr std::uint64_t page = std::uint64_t{1} << default_window.page_shift;
  static constexpr std::uint64_t window = default_window.size * page;

  answer get_info(process& to, std::uint64_t argument) {
    vfio_iommu_spapr_tce_info info{};
    constexpr std::size_t size = offsetof(vfio_iommu_spapr_tce_info, ddw);
    if (!group_) return errc::nxio;
    if (const errc e = detail::read_argsz(to, argument, info, size); e != errc::ok) return e;
    info.flags = 0;
    info.dma32_window_start = 0;
    info.dma32_window_size = static_cast<std::uint32_t>(window);
    const bool whole = info.argsz >= sizeof info;
    std::memset(&info.ddw, 0, sizeof info.ddw);
    return detail::write_back(to, argument, info, whole ? sizeof info : size);
  }
  answer map(process& from, std::uint64_t argument) {
    if (!enabled_) return errc::perm;
    vfio_iommu_type1_dma_map m{};
    if (const errc e = detail::read_argsz(from, argument, m, sizeof m); e != errc::ok) return e;
    constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    if (m.flags & ~access) return errc::inval;
    make_window();
    if (m.iova >= window) return errc::nxio;
    if (((m.size | m.vaddr) & (page - 1)) || !(m.flags & access)) return errc::inval;
    if (m.iova & (page - 1)) return 1;  // so it says
    if (m.size == 0) return 0;
    if (m.size > window - m.iova) {
      // What the hypervisor says of the first page outside, with all before it undone.
      maps_.cut(m.iova, window - 1);
      return error(EINTR);
    }
    maps_.cut(m.iova, m.iova + m.size - 1);  // an entry is simply replaced
    maps_.add({m.iova, m.size, m.vaddr, m.flags});
    return 0;
  }
  answer unmap(process& from, std::uint64_t argument) {
    if (!enabled_) return errc::perm;
    vfio_iommu_type1_dma_unmap u{};
    constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
    if (const errc e = detail::read_argsz(from, argument, u, size); e != errc::ok) return e;
    if (u.flags) return errc::inval;
    make_window();
    if (u.iova >= window) return errc::nxio;
    if (u.size & (page - 1)) return errc::inval;
    if ((u.iova & (page - 1)) || u.size > window - u.iova) return 1;  // so it says
    if (u.size != 0) maps_.cut(u.iova, u.iova + u.size - 1);
    return 0;
  }

  void make_window() {
    if (group_->windows.empty()) group_->windows.assign(1, default_window);
  }

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
  tce_table(tce_tables& tables, const machine& vm, const tce_window& w)
      : file(file_kind::tce_table), tables_(tables), vm_(vm), window_(w) {
    const guard held(tables_.lock);
    tables_.all.push_back(this);
  }
  [[nodiscard]] const char* name() const noexcept override { return "kvm-spapr-tce"; }

  /// kvm_spapr_tce_attach_iommu_group, once the descriptor was looked up. World's lock held.
  /// \return inval: another VM's, or no hardware table fits · fault: the group has no table data
  [[nodiscard]] errc attach(const machine& vm, vfio_group& group) {
    if (&vm != &vm_) return errc::inval;
    if (!group.has_table_data) return errc::fault;
    const bool fits = std::ranges::any_of(group.windows, [this](const tce_window& w) {
      // The guest's pages may be larger than the hardware's; the bytes covered must agree.
      return w.page_shift <= window_.page_shift &&
             w.offset << w.page_shift == window_.offset << window_.page_shift &&
             w.size << w.page_shift == window_.size << window_.page_shift;
    });
    if (!fits) return errc::inval;
    if (std::ranges::find(attached_, &group) == attached_.end()) attached_.push_back(&group);
    return errc::ok;
  }
  /// kvm_spapr_tce_release_iommu_group, for one table.
  void detach(const machine& vm, const vfio_group& group) noexcept {
    if (&vm == &vm_) std::erase(attached_, &group);
  }
  /// The groups that are attached, in order.
  [[nodiscard]] const std::vector<const vfio_group*>& attached() const noexcept {
    return attached_;
  }

 private:
  void release() noexcept override {
    const guard held(tables_.lock);
    std::erase(tables_.all, this);
  }
  tce_tables& tables_;
  const machine& vm_;
  tce_window window_;
  std::vector<const vfio_group*> attached_;
};

}  // namespace kvm_vfio::sim
