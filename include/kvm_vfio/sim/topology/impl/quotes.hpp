// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of quotes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#include <string>
#include <string_view>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE std::string in_quotes(std::string_view s) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (u < 0x20) {
      out += "\\u00";
      out += digits[u >> 4];
      out += digits[u & 15];
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

}  // namespace kvm_vfio::sim::detail
