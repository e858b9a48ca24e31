// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of VFIO that kvm-vfio looks up by name. KVM must work when VFIO is not loaded.
/// Therefore kvm-vfio looks up each function before it calls it and gives it back after the call.
/// `symbol` says what `device` does when a function is missing.

#include <concepts>

namespace kvm_vfio {

/// A function of VFIO that the device looks up by name.
enum class symbol : unsigned char {
  file_set_kvm,            ///< if missing: the call is left out
  file_enforced_coherent,  ///< if missing: the file counts as not coherent
  file_is_valid,           ///< if missing: the file counts as not valid
  file_is_group,           ///< used on Linux 6.1 only; if missing: the file counts as not valid
  file_iommu_group,        ///< used on sPAPR only; if missing: the file has no IOMMU group
};

/// The number of symbols. The values of `symbol` are 0 to `symbol_count` - 1.
inline constexpr int symbol_count = 5;

/// Returns the kernel's name of the function, for example "vfio_file_set_kvm".
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

/// A policy that looks up symbols by name and takes the references on them back.
template <class S>
concept symbol_lookup = requires(S& s, symbol which) {
  // Takes a reference on the symbol (symbol_get). Returns false if the symbol is missing. The
  // device calls `symbol_put` once for each true.
  { s.symbol_get(which) } noexcept -> std::same_as<bool>;
  // Gives a reference back (symbol_put). Called only after `symbol_get` returned true.
  { s.symbol_put(which) } noexcept;
};

/// A base class for providers whose symbols are never missing. Every look-up succeeds.
struct linked_symbols {
  /// Returns true: the symbol is there.
  constexpr bool symbol_get(symbol) noexcept { return true; }
  /// Does nothing, because `symbol_get` takes no reference.
  constexpr void symbol_put(symbol) noexcept {}
};
static_assert(symbol_lookup<linked_symbols>);

/// Holds a reference on one symbol until the end of a scope. Converts to false if the symbol is
/// missing.
template <symbol_lookup S>
class symbol_ref {
 public:
  /// Looks the symbol up. `provider` must outlive this object.
  constexpr symbol_ref(S& provider, symbol which) noexcept
      : provider_(provider), which_(which), found_(provider.symbol_get(which)) {}
  symbol_ref(const symbol_ref&) = delete;
  symbol_ref& operator=(const symbol_ref&) = delete;
  constexpr ~symbol_ref() {
    if (found_) provider_.symbol_put(which_);
  }
  /// Returns true if the symbol was found.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return found_; }

 private:
  S& provider_;
  symbol which_;
  bool found_;
};
/// Deduces the provider's type from the argument.
template <class S>
symbol_ref(S&, symbol) -> symbol_ref<S>;

}  // namespace kvm_vfio
