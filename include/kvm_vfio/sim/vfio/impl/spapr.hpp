// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of spapr.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/domain.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/memory_account.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/spapr.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE bool vfio_spapr_tce::has_unopened(std::uint64_t extension) noexcept {
  return extension == VFIO_SPAPR_TCE_IOMMU;
}

KVM_VFIO_INLINE bool vfio_spapr_tce::has(std::uint64_t extension) const noexcept {
  return has_unopened(extension);
}

KVM_VFIO_INLINE errc vfio_spapr_tce::attach(iommu_group& group) {
  if (group.mediated()) return errc::inval;
  if (group_) return errc::busy;
  if (!group.has_table_data) return errc::nodev;
  join_domain(domains_, group);
  group_ = &group;
  group.windows.clear();
  return errc::ok;
}

KVM_VFIO_INLINE void vfio_spapr_tce::detach(iommu_group& group) noexcept {
  if (group_ != &group) return;
  group_ = nullptr;
  enabled_ = false;
  maps_.clear();
  group.windows.assign(1, default_window);
  leave_domain(domains_, group);
}

KVM_VFIO_INLINE answer vfio_spapr_tce::ioctl(process& task, std::uint32_t request,
                                             std::uint64_t argument) {
  switch (request) {
    case VFIO_IOMMU_ENABLE: return enable(task);
    case VFIO_IOMMU_DISABLE: enabled_ = false; return 0;
    case VFIO_IOMMU_SPAPR_TCE_GET_INFO: return get_info(task, argument);
    case VFIO_IOMMU_MAP_DMA: return map(task, argument);
    case VFIO_IOMMU_UNMAP_DMA: return unmap(task, argument);
    default: return errc::notty;
  }
}

KVM_VFIO_INLINE std::uint64_t vfio_spapr_tce::locked(int address_space) const noexcept {
  if (!account_ || account_->address_space != address_space) return 0;
  const bool has_table = group_ && !group_->windows.empty();
  return (enabled_ ? window : 0) + (has_table ? table : 0);
}

KVM_VFIO_INLINE answer vfio_spapr_tce::enable(process& task) {
  if (!group_) return errc::nxio;
  if (enabled_) return errc::busy;
  auto account = task.account();
  if (!may_lock(*account, window)) return errc::nomem;
  account_ = std::move(account);
  enabled_ = true;
  return 0;
}

KVM_VFIO_INLINE bool vfio_spapr_tce::may_lock(const memory_account& account,
                                              std::uint64_t bytes) const {
  return account.unlimited || account.room(locked_memory(state_, account.address_space)) >= bytes;
}

KVM_VFIO_INLINE answer vfio_spapr_tce::get_info(process& task, std::uint64_t argument) {
  vfio_iommu_spapr_tce_info info{};
  constexpr std::size_t size = offsetof(vfio_iommu_spapr_tce_info, ddw);
  if (!group_) return errc::nxio;
  if (const errc e = detail::read_argsz(task, argument, info, size); e != errc::ok) return e;
  info.flags = 0;
  info.dma32_window_start = 0;
  info.dma32_window_size = static_cast<std::uint32_t>(window);
  const bool whole = info.argsz >= sizeof info;
  std::memset(&info.ddw, 0, sizeof info.ddw);
  return detail::write_back(task, argument, info, whole ? sizeof info : size);
}

KVM_VFIO_INLINE answer vfio_spapr_tce::map(process& task, std::uint64_t argument) {
  if (!enabled_) return errc::perm;
  vfio_iommu_type1_dma_map m{};
  if (const errc e = detail::read_argsz(task, argument, m, sizeof m); e != errc::ok) return e;
  constexpr std::uint32_t access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
  if (m.flags & ~access) return errc::inval;
  if (const errc e = make_window(task); e != errc::ok) return e;
  if (m.iova >= window) return errc::nxio;
  if (((m.size | m.vaddr) & (page - 1)) || !(m.flags & access)) return errc::inval;
  if (m.iova & (page - 1)) return 1;  // the kernel returns 1 here, not an error
  if (m.size == 0) return 0;
  const std::uint64_t inside = m.size < window - m.iova ? m.size : window - m.iova;
  const bool writes = (m.flags & VFIO_DMA_MAP_FLAG_WRITE) != 0;
  if (!task.mem().pinnable(m.vaddr, inside, writes)) {
    // The kernel maps page by page. At an error it removes the pages before.
    std::uint64_t done = 0;
    while (done < inside && task.mem().pinnable(m.vaddr + done, page, writes)) done += page;
    if (done != 0) maps_.cut(m.iova, m.iova + done - 1);
    return errc::fault;
  }
  if (m.size > window - m.iova) {
    // The hypervisor refuses the first page outside of the window. The kernel then removes the
    // pages before it and returns EINTR.
    maps_.cut(m.iova, window - 1);
    return errc::intr;
  }
  maps_.prepare(3);
  maps_.cut(m.iova, m.iova + m.size - 1);  // a new entry replaces an old one without an error
  maps_.add({m.iova, m.size, m.vaddr, m.flags});
  return 0;
}

KVM_VFIO_INLINE answer vfio_spapr_tce::unmap(process& task, std::uint64_t argument) {
  if (!enabled_) return errc::perm;
  vfio_iommu_type1_dma_unmap u{};
  constexpr std::size_t size = offsetof(vfio_iommu_type1_dma_unmap, data);
  if (const errc e = detail::read_argsz(task, argument, u, size); e != errc::ok) return e;
  if (u.flags) return errc::inval;
  if (const errc e = make_window(task); e != errc::ok) return e;
  if (u.iova >= window) return errc::nxio;
  if (u.size & (page - 1)) return errc::inval;
  if ((u.iova & (page - 1)) || u.size > window - u.iova) return 1;  // the kernel returns 1, too
  if (u.size != 0) maps_.cut(u.iova, u.iova + u.size - 1);
  return 0;
}

KVM_VFIO_INLINE errc vfio_spapr_tce::make_window(process& task) {
  if (!group_->windows.empty()) return errc::ok;
  if (!may_lock(*task.account(), table)) return errc::nomem;
  group_->windows.assign(1, default_window);
  return errc::ok;
}

}  // namespace kvm_vfio::sim
