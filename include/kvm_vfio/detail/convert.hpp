// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A conversion between number types that are the same on some platforms.

#include <type_traits>

namespace kvm_vfio::detail {

/// `static_cast`, and nothing where the type is the same: GCC's -Wuseless-cast is then silent.
template <class To, class From>
[[nodiscard]] constexpr To convert(From value) noexcept {
  if constexpr (std::is_same_v<To, From>) return value;
  else return static_cast<To>(value);
}

}  // namespace kvm_vfio::detail
