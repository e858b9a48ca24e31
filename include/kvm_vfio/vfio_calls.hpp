// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's functions as kvm-vfio calls them: each behind a look-up of its symbol.

#include <kvm_vfio/concepts.hpp>

#include <cstdint>

namespace kvm_vfio::detail {

/// A symbol provider's functions, and what it means that one is missing.
template <symbol_provider Symbols, profile Profile>
class vfio_calls {
  using file = typename Symbols::file;

 public:
  /// `symbols` must outlive it.
  constexpr explicit vfio_calls(Symbols& symbols) noexcept : symbols_(symbols) {}

  /// Missing: no (kvm_vfio_file_is_valid).
  constexpr bool is_valid(const file& f) noexcept {
    const symbol_ref found(symbols_, Profile::validity);
    if (!found) return false;
    if constexpr (Profile::validity == symbol::file_is_group) return symbols_.file_is_group(f);
    else return symbols_.file_is_valid(f);
  }
  /// Missing: nobody is told (kvm_vfio_file_set_kvm).
  constexpr errc set_kvm(const file& f, const typename Symbols::vm& vm) noexcept {
    const symbol_ref found(symbols_, symbol::file_set_kvm);
    if (!found) return errc::ok;
    if constexpr (std::same_as<decltype(symbols_.file_set_kvm(f, vm)), errc>)
      return symbols_.file_set_kvm(f, vm);
    else symbols_.file_set_kvm(f, vm);
    return errc::ok;
  }
  /// Missing: no (kvm_vfio_file_enforced_coherent).
  constexpr bool enforced_coherent(const file& f) noexcept {
    const symbol_ref found(symbols_, symbol::file_enforced_coherent);
    return found && symbols_.file_enforced_coherent(f);
  }
  /// No symbol's. \pre the provider has an epoch
  constexpr std::uint64_t coherency_epoch() noexcept { return symbols_.coherency_epoch(); }
  /// Missing: none (kvm_vfio_file_iommu_group). \pre the provider knows IOMMU groups
  constexpr auto iommu_group(const file& f) noexcept {
    const symbol_ref found(symbols_, symbol::file_iommu_group);
    return found ? symbols_.file_iommu_group(f) : typename Symbols::iommu_group{};
  }

 private:
  Symbols& symbols_;
};

}  // namespace kvm_vfio::detail
