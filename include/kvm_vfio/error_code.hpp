// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Conversions between `errc` and std::error_code. kvm_vfio.hpp does not include this header,
/// because `<system_error>` is slow to compile.

#include <kvm_vfio/errc.hpp>

#include <system_error>
#include <type_traits>

namespace kvm_vfio {

/// Returns the error as a code of std::system_category(). That category already means the kernel's
/// error numbers, so `errc` has no category of its own. The result can be compared with std::errc.
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), std::system_category()};
}

/// Returns the `errc` for a code of the system category or of the generic category. For another
/// category the result is `errc::ok` if the code means success, and `errc::io` otherwise.
[[nodiscard]] inline errc to_errc(const std::error_code& code) noexcept {
  const bool same_numbers =
      code.category() == std::system_category() || code.category() == std::generic_category();
  if (same_numbers || !code) return to_errc(code.value());
  return errc::io;
}

}  // namespace kvm_vfio

namespace std {
/// Lets an `errc` convert to std::error_code implicitly.
template <>
struct is_error_code_enum<kvm_vfio::errc> : true_type {};
}  // namespace std
