// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// `errc` as a std::error_code, for code that speaks `<system_error>`. Not part of the umbrella:
/// the standard header is heavy.

#include <kvm_vfio/errc.hpp>

#include <system_error>

namespace kvm_vfio {

/// The error as the system's: its number is the kernel's, so it has no category of its own and
/// equals the codes of other libraries and the conditions of std::errc.
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), std::system_category()};
}

/// The way back, for a code of the system's or the generic category, whose numbers are the same.
/// A code of any other category has no number of the kernel's: io, and `ok` only for a success.
[[nodiscard]] inline errc to_errc(const std::error_code& code) noexcept {
  const bool same_numbers =
      code.category() == std::system_category() || code.category() == std::generic_category();
  if (same_numbers || !code) return to_errc(code.value());
  return errc::io;
}

}  // namespace kvm_vfio

namespace std {
/// Lets an errc become an error_code by itself.
template <>
struct is_error_code_enum<kvm_vfio::errc> : true_type {};
}  // namespace std
