// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calls from kvm-vfio to VFIO. Each call looks up the symbol of the function first.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>

#include <concepts>
#include <cstdint>

namespace kvm_vfio::detail {

/// Calls the functions of a symbol provider, and gives the kernel's fixed answer for a missing one.
template <symbol_provider Symbols, profile Profile>
class vfio_calls {
  using file = typename Symbols::file;

 public:
  /// Makes an object that calls `symbols`, which must outlive it.
  constexpr explicit vfio_calls(Symbols& symbols) noexcept : symbols_(symbols) {}

  /// Returns whether a file is a VFIO file, and false without the symbol (kvm_vfio_file_is_valid).
  constexpr bool is_valid(const file& f) noexcept {
    const symbol_ref found(symbols_, Profile::validity);
    if (!found) return false;
    if constexpr (Profile::validity == symbol::file_is_group) return symbols_.file_is_group(f);
    else return symbols_.file_is_valid(f);
  }
  /// Tells VFIO the VM of a file. Does nothing without the symbol (kvm_vfio_file_set_kvm).
  /// \par Errors
  /// - each error of the provider
  constexpr errc set_kvm(const file& f, const typename Symbols::vm& vm) noexcept {
    const symbol_ref found(symbols_, symbol::file_set_kvm);
    if (!found) return errc::ok;
    if constexpr (std::same_as<decltype(symbols_.file_set_kvm(f, vm)), errc>)
      return symbols_.file_set_kvm(f, vm);
    else symbols_.file_set_kvm(f, vm);
    return errc::ok;
  }
  /// Returns whether a file's DMA is coherent, and false without the symbol
  /// (kvm_vfio_file_enforced_coherent).
  constexpr bool enforced_coherent(const file& f) noexcept {
    const symbol_ref found(symbols_, symbol::file_enforced_coherent);
    return found && symbols_.file_enforced_coherent(f);
  }
  /// Returns the provider's coherency epoch, which has no symbol.
  /// \pre the provider has an epoch
  constexpr std::uint64_t coherency_epoch() noexcept { return symbols_.coherency_epoch(); }
  /// Returns the IOMMU group of a file, with a reference on it. Returns the empty handle without
  /// the symbol (kvm_vfio_file_iommu_group).
  /// \pre the provider knows IOMMU groups
  constexpr auto iommu_group(const file& f) noexcept {
    const symbol_ref found(symbols_, symbol::file_iommu_group);
    return found ? symbols_.file_iommu_group(f) : typename Symbols::iommu_group{};
  }

 private:
  Symbols& symbols_;
};

}  // namespace kvm_vfio::detail
