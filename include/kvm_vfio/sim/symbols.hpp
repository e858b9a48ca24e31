// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The policies of `kvm_vfio::device` that are implemented by a simulated world: the VFIO symbol
/// provider and the IOMMU backends.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// Whether the DMA of a VFIO file is enforced coherent, and the reason.
struct coherency_answer {
  /// Whether the DMA is enforced coherent.
  bool coherent = true;
  /// The reason in words; a string that lives as long as the program.
  const char* why = "";
};

/// Answers `vfio_file_enforced_coherent` and gives the reason. The caller holds the world's lock.
/// \param release the Linux release whose rules count
/// \param f       the file; if it is no VFIO file, the answer is true
[[nodiscard]] coherency_answer coherency_of(const linux_release& release, file& f) noexcept;

/// The symbol provider of a simulated world, with a coherency epoch. On Linux 6.1 every change to a
/// container starts a new epoch. On later releases the coherency of a file depends on the topology
/// alone, which never changes, so only `load` starts a new epoch. The functions take the world's
/// lock, except those for symbols, validity and the epoch.
class symbols {
 public:
  using file = sim::file*;
  using vm = vm_base*;
  using iommu_group = vfio_group*;

  /// \param of the world; it must outlive this object
  explicit symbols(world& of) noexcept : world_(of) {}

  /// Loads or unloads the VFIO module. While the module is not loaded, every look-up of a symbol
  /// fails. Each change starts a new coherency epoch.
  void load(bool loaded) noexcept;

  bool symbol_get(symbol) noexcept { return is_loaded(loads()); }
  void symbol_put(symbol) noexcept {}
  bool file_is_valid(const file& f) noexcept { return group_of(*f) || device_of(*f); }
  bool file_is_group(const file& f) noexcept { return group_of(*f) != nullptr; }
  void file_set_kvm(const file& f, const vm& to) noexcept;
  bool file_enforced_coherent(const file& f) noexcept;
  std::uint64_t coherency_epoch() noexcept;
  iommu_group file_iommu_group(const file& f) noexcept;

 private:
  world& world_;
  static bool is_loaded(std::uint64_t loads) noexcept { return loads % 2 == 0; }
  [[nodiscard]] std::uint64_t loads() const noexcept;
  // How often the module was loaded or unloaded; an even number means that it is loaded. One word
  // holds this state and the epoch, so that no thread can see one of them change before the other.
  alignas(8) std::uint64_t loads_ = 0;
};
static_assert(group_symbol_provider<symbols> && spapr_symbol_provider<symbols> &&
              epoch_symbol_provider<symbols>);

/// The IOMMU backend of x86: the part of KVM that counts registrations of noncoherent DMA and
/// assigned files. The counters are in `vm_base`.
class iommu {
 public:
  /// The backend does not use the world. It takes one because `kernel` makes every backend so.
  explicit iommu(world&) noexcept {}
  void register_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(1); }
  void unregister_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(-1); }
  void start_assignment(vm_base* const& vm) noexcept { vm->add_assigned(1); }
  void end_assignment(vm_base* const& vm) noexcept { vm->add_assigned(-1); }
};
static_assert(assignment_backend<iommu, vm_base*> && !spapr_backend<iommu, vm_base*>);

/// The IOMMU backend of POWER: the part of KVM that connects TCE tables with IOMMU groups. It also
/// counts as `iommu` does. Each function of its own takes the world's lock, except `warnings`.
class kvm_spapr_tce : public iommu {
 public:
  using iommu_group = vfio_group*;
  /// Makes a backend without TCE tables.
  /// \param of the world; it must outlive this object and its tables
  explicit kvm_spapr_tce(world& of) noexcept : iommu(of), world_(of), tables_{.lock = of.lock()} {}

  /// Makes a TCE table for a VM (KVM_CREATE_SPAPR_TCE_64).
  /// \param vm     the VM; it must outlive the table
  /// \param window the addresses that the table covers
  /// \return the file of the table, with one reference for the caller
  [[nodiscard]] file* make_table(const vm_base& vm, const tce_window& window);

  /// Connects a group to a TCE table (kvm_spapr_tce_attach_iommu_group).
  /// \param vm      the VM of the kvm-vfio
  /// \param tablefd a descriptor of the task that makes the call
  /// \param group   the group
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open, or the thread executes no call of a process
  /// - `errc::inval`: the file is no TCE table, or the table belongs to another VM, or no window of
  ///   the group covers the addresses of the table
  /// - `errc::fault`: the group has no table data
  [[nodiscard]] errc spapr_tce_attach(vm_base* const& vm, int tablefd,
                                      vfio_group* const& group) noexcept;
  void spapr_tce_release(vm_base* const& vm, vfio_group* const& group) noexcept;
  void iommu_group_put(vfio_group* const& group) noexcept;
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
#include <kvm_vfio/sim/impl/symbols.hpp>
#endif
