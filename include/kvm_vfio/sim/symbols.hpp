// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The world as `kvm_vfio::device` sees it: the VFIO symbol provider and the IOMMU backends.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// Why a file's DMA is enforced coherent, or is not.
struct coherency_answer {
  /// The answer, and the reason in words.
  bool coherent = true;
  const char* why = "";
};

/// vfio_file_enforced_coherent. With the world's lock held.
[[nodiscard]] coherency_answer coherency_of(const linux_release& release, file& f) noexcept;

/// VFIO's functions over a world, with a coherency epoch. On Linux 6.1 whatever happens to a
/// container begins one. Later a file's answer lies in the topology, which stands: only VFIO's
/// module begins one, when it goes or comes.
class symbols {
 public:
  using file = sim::file*;
  using vm = vm_base*;
  using iommu_group = vfio_group*;

  /// `of` must outlive it.
  explicit symbols(world& of) noexcept : world_(of) {}

  /// VFIO's module goes and comes: while it is away every symbol is missing.
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
  // How often the module went or came. Whether it is there and the epoch are one word, so that
  // nobody sees the one without the other.
  alignas(8) std::uint64_t loads_ = 0;
};
static_assert(group_symbol_provider<symbols> && spapr_symbol_provider<symbols> &&
              epoch_symbol_provider<symbols>);

/// What KVM does about noncoherent devices: it counts, in the VM.
class iommu {
 public:
  /// Counts in the VMs themselves.
  explicit iommu(world&) noexcept {}
  void register_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(1); }
  void unregister_noncoherent_dma(vm_base* const& vm) noexcept { vm->add_noncoherent(-1); }
  void start_assignment(vm_base* const& vm) noexcept { vm->add_assigned(1); }
  void end_assignment(vm_base* const& vm) noexcept { vm->add_assigned(-1); }
};
static_assert(assignment_backend<iommu, vm_base*> && !spapr_backend<iommu, vm_base*>);

/// The same on POWER.
class kvm_spapr_tce : public iommu {
 public:
  using iommu_group = vfio_group*;
  /// Without tables; `of` must outlive it.
  explicit kvm_spapr_tce(world& of) noexcept : iommu(of), world_(of), tables_{.lock = of.lock()} {}

  /// A new table of a VM (KVM_CREATE_SPAPR_TCE_64), with a reference for the caller.
  [[nodiscard]] file* make_table(const vm_base& vm, const tce_window& window);

  /// The descriptor is the calling task's.
  [[nodiscard]] errc spapr_tce_attach(vm_base* const& vm, int tablefd,
                                      vfio_group* const& group) noexcept;
  void spapr_tce_release(vm_base* const& vm, vfio_group* const& group) noexcept;
  void iommu_group_put(vfio_group* const& group) noexcept;
  void warn(spapr_warning which) noexcept;
  /// How often the kernel would have warned; it prints each warning once.
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
