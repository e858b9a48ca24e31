// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// IOMMU backends that record the calls of kvm-vfio. The backend for sPAPR has TCE tables, which
/// the test defines.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <vector>

namespace kvm_vfio::testing {

/// Counts registrations of noncoherent DMA and assignments, and writes every call to a journal.
class recording_iommu {
 public:
  /// Makes a backend that records in `log`, which must outlive the backend.
  constexpr explicit recording_iommu(journal& log) noexcept : log_(log) {}

  /// Returns the number of registrations of all VMs that were not undone.
  [[nodiscard]] constexpr int registered() const noexcept { return registered_; }
  /// Returns the number of assignments of all VMs that were not ended.
  [[nodiscard]] constexpr int assigned() const noexcept { return assigned_; }

  ///@{
  /// Counts the call, and records it.
  constexpr void register_noncoherent_dma(const vm_id& vm) noexcept {
    ++registered_;
    log().add(events::register_noncoherent(vm));
  }
  constexpr void unregister_noncoherent_dma(const vm_id& vm) noexcept {
    --registered_;
    log().add(events::unregister_noncoherent(vm));
  }
  constexpr void start_assignment(const vm_id& vm) noexcept {
    ++assigned_;
    log().add(events::start_assignment(vm));
  }
  constexpr void end_assignment(const vm_id& vm) noexcept {
    --assigned_;
    log().add(events::end_assignment(vm));
  }
  ///@}

 protected:
  /// Returns the journal, for classes that derive from this one.
  [[nodiscard]] constexpr journal& log() noexcept { return log_; }

 private:
  journal& log_;
  int registered_ = 0;
  int assigned_ = 0;
};
static_assert(assignment_backend<recording_iommu, vm_id>);
static_assert(!spapr_backend<recording_iommu, vm_id>);

/// A recording backend for POWER. A test chooses the result of attaching to each table descriptor.
/// For other table descriptors the result is badf if the descriptor is negative, and inval
/// otherwise.
class recording_spapr_iommu : public recording_iommu {
 public:
  /// The handle of an IOMMU group: a number.
  using iommu_group = group_id;
  /// Makes a backend that records in `log`, which must outlive the backend.
  using recording_iommu::recording_iommu;

  /// Chooses the result of attaching to the table behind `tablefd` from now on.
  constexpr void table(int tablefd, errc answer) { tables_.push_back({tablefd, answer}); }
  /// Returns the number of pairs of a VM and a group that is attached to one of the VM's tables.
  [[nodiscard]] constexpr int attached() const noexcept {
    return static_cast<int>(attached_.size());
  }
  /// Returns the number of references on groups that were given back.
  [[nodiscard]] constexpr int groups_put() const noexcept { return groups_put_; }

  /// Returns the result that the test chose for `tablefd`, and records the call.
  constexpr errc spapr_tce_attach(const vm_id& vm, int tablefd, const group_id& group) noexcept {
    log().add(events::spapr_tce_attach(vm, tablefd, group));
    errc answer = tablefd < 0 ? errc::badf : errc::inval;
    for (const told& t : tables_)
      if (t.tablefd == tablefd) answer = t.answer;
    if (answer == errc::ok && !is_attached({vm, group})) attached_.push_back({vm, group});
    return answer;
  }
  /// Detaches the group from the tables of the VM, and records the call.
  constexpr void spapr_tce_release(const vm_id& vm, const group_id& group) noexcept {
    std::erase(attached_, attachment{vm, group});
    log().add(events::spapr_tce_release(vm, group));
  }
  /// Counts a reference that is given back, and records the call.
  constexpr void iommu_group_put(const group_id& group) noexcept {
    ++groups_put_;
    log().add(events::iommu_group_put(group));
  }
  /// Records the warning.
  constexpr void warn(spapr_warning warning) noexcept { log().add(events::warn(warning)); }

 private:
  struct told {
    int tablefd;
    errc answer;
  };
  struct attachment {
    vm_id vm;
    group_id group;
    friend constexpr bool operator==(const attachment&, const attachment&) = default;
  };
  [[nodiscard]] constexpr bool is_attached(const attachment& wanted) const noexcept {
    for (const attachment& a : attached_)
      if (a == wanted) return true;
    return false;
  }

  std::vector<told> tables_;
  std::vector<attachment> attached_;
  int groups_put_ = 0;
};
static_assert(assignment_backend<recording_spapr_iommu, vm_id>);
static_assert(spapr_backend<recording_spapr_iommu, vm_id>);

}  // namespace kvm_vfio::testing
