// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's functions, looked up by symbol around every call, because KVM must not depend on VFIO
/// being loaded. What a missing one means is `device`'s to decide.

#include <concepts>

namespace kvm_vfio {

/// A function of VFIO that the device looks up.
enum class symbol : unsigned char {
  file_set_kvm,            ///< missing: the call is skipped
  file_enforced_coherent,  ///< missing: the file counts as not coherent
  file_is_valid,           ///< missing: the file counts as not valid
  file_is_group,           ///< Linux 6.1's predecessor of file_is_valid; missing: not valid
  file_iommu_group,        ///< sPAPR only; missing: the file has no IOMMU group
};

/// How many symbols there are: `symbol`'s values are 0 … `symbol_count` - 1.
inline constexpr int symbol_count = 5;

/// The kernel's name of the function ("vfio_file_set_kvm").
[[nodiscard]] constexpr const char* name(symbol s) noexcept {
  switch (s) {
    case symbol::file_set_kvm: return "vfio_file_set_kvm";
    case symbol::file_enforced_coherent: return "vfio_file_enforced_coherent";
    case symbol::file_is_valid: return "vfio_file_is_valid";
    case symbol::file_is_group: return "vfio_file_is_group";
    case symbol::file_iommu_group: return "vfio_file_iommu_group";
  }
  return nullptr;
}

/// Looks symbols up and takes them back.
template <class S>
concept symbol_lookup = requires(S& s, symbol which) {
  // A reference on the symbol, or false when it is missing. Every true is matched by one put.
  { s.symbol_get(which) } noexcept -> std::same_as<bool>;
  // Gives a reference back. Called only after a get that answered true.
  { s.symbol_put(which) } noexcept;
};

/// Base for providers whose symbols cannot be missing: every look-up succeeds.
struct linked_symbols {
  constexpr bool symbol_get(symbol) noexcept { return true; }
  constexpr void symbol_put(symbol) noexcept {}
};
static_assert(symbol_lookup<linked_symbols>);

/// Holds a reference on one symbol for the length of a scope; false when the symbol is missing.
template <symbol_lookup S>
class symbol_ref {
 public:
  /// Looks the symbol up; the provider must outlive the reference.
  constexpr symbol_ref(S& provider, symbol which) noexcept
      : provider_(provider), which_(which), found_(provider.symbol_get(which)) {}
  symbol_ref(const symbol_ref&) = delete;
  symbol_ref& operator=(const symbol_ref&) = delete;
  constexpr ~symbol_ref() {
    if (found_) provider_.symbol_put(which_);
  }
  /// Whether the symbol was found.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return found_; }

 private:
  S& provider_;
  symbol which_;
  bool found_;
};
/// By its arguments.
template <class S>
symbol_ref(S&, symbol) -> symbol_ref<S>;

}  // namespace kvm_vfio
