// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A conversion between integer types that are one type only on some platforms.

#include <type_traits>

namespace kvm_vfio::detail {

/// Does a `static_cast`, or nothing if the types are equal. GCC's -Wuseless-cast warns of such
/// casts.
template <class To, class From>
[[nodiscard]] constexpr To convert(From value) noexcept {
  if constexpr (std::is_same_v<To, From>) return value;
  else return static_cast<To>(value);
}

}  // namespace kvm_vfio::detail
