// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The IOMMU backends of `kvm_vfio::device` that are implemented by a simulated world.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/kvm/tce_table.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

class process;

/// The IOMMU backend of x86: the part of KVM that counts registrations of noncoherent DMA and
/// assigned files. The counters are in `vm_base`.
class iommu {
 public:
  /// The backend does not use the world. It takes one because `kernel` makes every backend so.
  explicit iommu(world&) noexcept {}
  ///@{
  /// Changes the VM's counter of registrations or of assigned files by one.
  void register_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(1); }
  void unregister_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(-1); }
  void start_assignment(vm_base* const& vm) noexcept { vm->add_assigned(1); }
  void end_assignment(vm_base* const& vm) noexcept { vm->add_assigned(-1); }
  ///@}
};
static_assert(assignment_backend<iommu, vm_base*> && !spapr_backend<iommu, vm_base*>);

/// The IOMMU backend of POWER: the part of KVM that connects TCE tables with IOMMU groups. It also
/// counts as `iommu` does. Each function of its own takes the world's lock, except `warnings`.
class kvm_spapr_tce : public iommu {
 public:
  /// The handle of an IOMMU group.
  using iommu_group = sim::iommu_group*;
  /// Makes a backend without TCE tables.
  /// \param vfio the world; it must outlive this object and its tables
  explicit kvm_spapr_tce(world& vfio) noexcept
      : iommu(vfio), world_(vfio), tables_{.lock = vfio.lock()} {}

  /// Whether `make_table` takes the request.
  [[nodiscard]] static bool makes_table(std::uint32_t request) noexcept;
  /// Makes a TCE table for a VM (KVM_CREATE_SPAPR_TCE_64 and the older KVM_CREATE_SPAPR_TCE).
  /// \param vm       the VM; it must outlive the table
  /// \param argument the address of the request's struct in the memory of the process
  /// \return the file of the table, with one reference for the caller
  /// \par Errors
  /// - `errc::fault`: the struct cannot be read
  /// - `errc::inval`: there is a flag, there are no pages, a page has less than 2^12 or more than
  ///   2^34 bytes, or the table ends beyond the last address
  /// - `errc::busy`: the VM has a table with this number
  [[nodiscard]] result<file*> make_table(const vm_base& vm, process& task, std::uint32_t request,
                                         std::uint64_t argument);

  /// Connects a group to a TCE table (kvm_spapr_tce_attach_iommu_group).
  /// \param vm      the VM of the kvm-vfio
  /// \param tablefd a descriptor of the task that makes the call
  /// \param group   the group
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or the thread executes no call of a process
  /// - `errc::inval`: the file is no TCE table, or the table belongs to another VM, or no window of
  ///   the group covers the addresses of the table
  /// - `errc::fault`: the group has no table data
  /// - `errc::nomem`: no memory
  [[nodiscard]] errc spapr_tce_attach(vm_base* const& vm, int tablefd,
                                      sim::iommu_group* const& group) noexcept;
  /// Disconnects a group from every TCE table of a VM.
  void spapr_tce_release(vm_base* const& vm, sim::iommu_group* const& group) noexcept;
  /// Gives back the reference that `symbols::file_iommu_group` took.
  void iommu_group_put(sim::iommu_group* const& group) noexcept;
  /// Counts the warning.
  void warn(spapr_warning which) noexcept;
  /// How often the model asked for a warning. (The kernel prints each warning once, WARN_ON_ONCE.)
  [[nodiscard]] int warnings(spapr_warning which) const noexcept;

 private:
  world& world_;
  tce_tables tables_;
  int warnings_[2] = {};
};
static_assert(spapr_backend<kvm_spapr_tce, vm_base*>);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/iommu_backend.hpp>
#endif
