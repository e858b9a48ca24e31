// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The TCE tables that KVM makes for VMs (POWER).

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

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
  /// \param number the number (LIOBN) that the guest uses for the table
  /// \param w      the addresses that the table covers
  /// \return the file, with one reference for the caller; `errc::busy`: the VM has a table with
  ///   this number
  [[nodiscard]] static result<file*> make(tce_tables& tables, const vm_base& vm,
                                          std::uint64_t number, const tce_window& w);
  [[nodiscard]] const char* name() const noexcept override { return "kvm-spapr-tce"; }
  answer pread(void*, std::size_t, std::uint64_t) override { return errc::spipe; }
  answer pwrite(const void*, std::size_t, std::uint64_t) override { return errc::spipe; }

  /// Attaches a group (the part of kvm_spapr_tce_attach_iommu_group behind the look-up of the
  /// descriptor). A group that is attached already stays attached. The caller holds the world's
  /// lock.
  /// \par Errors
  /// - `errc::inval`: the table belongs to another VM, or no window of the group begins at the
  ///   table's first address and has all its addresses
  /// - `errc::fault`: the group has no table data
  [[nodiscard]] errc attach(const vm_base& vm, iommu_group& group);
  /// Detaches a group (kvm_spapr_tce_release_iommu_group). Does nothing if the table belongs to
  /// another VM or the group is not attached. The caller holds the world's lock.
  void detach(const vm_base& vm, const iommu_group& group) noexcept;
  /// The groups that are attached, in the order in which they were attached.
  [[nodiscard]] const std::vector<const iommu_group*>& attached() const noexcept;

 private:
  tce_table(tce_tables& tables, const vm_base& vm, std::uint64_t number, const tce_window& w);
  void release() noexcept override;
  tce_tables& tables_;
  const vm_base& vm_;
  std::uint64_t number_;
  tce_window window_;
  std::vector<const iommu_group*> attached_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/kvm/impl/tce_table.hpp>
#endif
