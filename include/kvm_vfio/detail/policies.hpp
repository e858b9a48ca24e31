// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Holds the policies of one device against each other. Each policy fits its concept already.

#include <kvm_vfio/concepts.hpp>

#include <concepts>

namespace kvm_vfio::detail {

/// The policies of one device. Policies that do not fit each other do not compile.
template <class Symbols, class Iommu, class Profile>
struct policies {
  /// Whether the device has attribute 3, GROUP_SET_SPAPR_TCE.
  static constexpr bool spapr = spapr_backend<Iommu, typename Symbols::vm>;

  static_assert(
      !requires { typename Iommu::iommu_group; } || spapr,
      "an IOMMU backend that has a type iommu_group must model spapr_backend");
  static_assert(!spapr || spapr_symbol_provider<Symbols>,
                "an spapr_backend needs a symbol provider that models spapr_symbol_provider");
  static_assert(
      !spapr || requires {
        requires std::same_as<typename Symbols::iommu_group, typename Iommu::iommu_group>;
      }, "the symbol provider and the IOMMU backend must have the same type iommu_group");
  static_assert(!Profile::counts_assignments || assignment_backend<Iommu, typename Symbols::vm>,
                "this profile counts assignments: the IOMMU backend must model assignment_backend");
  static_assert(
      epoch_symbol_provider<Symbols> || !requires(Symbols& vfio) { vfio.coherency_epoch(); },
      "coherency_epoch must be as the concept epoch_symbol_provider requires");
  static_assert(
      hashable_file<typename Symbols::file> || !requires(const typename Symbols::file& f) {
        identity_hash(f);
      }, "identity_hash must be as the concept hashable_file requires");
  static_assert(Profile::validity != symbol::file_is_group || group_symbol_provider<Symbols>,
                "this profile tracks groups only: the provider must model group_symbol_provider");
};

/// The type of what an entry keeps of its IOMMU group: the provider's handle, or an empty class on
/// a device without attribute 3.
template <class Symbols, bool Spapr>
struct kept_iommu_group {
  struct type {};
};
template <class Symbols>
struct kept_iommu_group<Symbols, true> {
  using type = typename Symbols::iommu_group;
};

}  // namespace kvm_vfio::detail
