// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The VFIO symbol provider of `kvm_vfio::device` that is implemented by a simulated world.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/symbols.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// The symbol provider of a simulated world, with a coherency epoch. On Linux 6.1 every change to a
/// container starts a new epoch. On later releases the coherency of a file depends on the topology
/// alone, which never changes, so only `load` starts a new epoch. The functions take the world's
/// lock, except those for symbols, validity and the epoch.
class symbols {
 public:
  /// The handle of an open file.
  using file = sim::file*;
  /// The handle of a VM.
  using vm = vm_base*;
  /// The handle of an IOMMU group.
  using iommu_group = sim::iommu_group*;

  /// \param vfio the world; it must outlive this object
  explicit symbols(world& vfio) noexcept : world_(vfio) {}

  /// Loads or unloads the VFIO module. While the module is not loaded, every look-up of a symbol
  /// fails. Each change starts a new coherency epoch.
  void load(bool loaded) noexcept;

  /// Returns true while the VFIO module is loaded.
  bool symbol_get(symbol) noexcept { return is_loaded(loads()); }
  /// Does nothing.
  void symbol_put(symbol) noexcept {}
  /// Returns true if the file is a group or a device.
  bool file_is_valid(const file& f) noexcept { return group_of(*f) || device_of(*f); }
  /// Returns true if the file is a group.
  bool file_is_group(const file& f) noexcept { return group_of(*f) != nullptr; }
  /// Tells the file its VM, or that it has none.
  void file_set_kvm(const file& f, const vm& to) noexcept;
  /// Returns whether the DMA of the file is enforced coherent; see `coherency_of`.
  bool file_enforced_coherent(const file& f) noexcept;
  /// Returns the current coherency epoch.
  std::uint64_t coherency_epoch() noexcept;
  /// Returns the group of the file with a reference on it, or null if there is none.
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

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/symbols.hpp>
#endif
