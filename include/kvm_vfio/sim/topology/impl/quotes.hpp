// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of quotes.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace kvm_vfio::sim::detail {

// The number of bytes of the UTF-8 character at the start of a text. 0: there is none.
KVM_VFIO_INLINE std::size_t utf8_length(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < s.size() ? static_cast<unsigned char>(s[i]) : 0;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if (byte(i) >> 6 != 2) return 0;
  // A longer form than necessary, a surrogate, or a number above 0x10ffff is no character.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f)) return 0;
  if ((lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) return 0;
  return size;
}

KVM_VFIO_INLINE std::string in_quotes(std::string_view s) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  while (!s.empty()) {
    const std::size_t size = utf8_length(s);
    const auto u = static_cast<unsigned char>(s.front());
    if (size == 0) {
      out += "\xef\xbf\xbd";  // U+FFFD, the replacement character
    } else if (u < 0x20) {
      out += "\\u00";
      out += digits[u >> 4];
      out += digits[u & 15];
    } else {
      if (u == '"' || u == '\\') out += '\\';
      out += s.substr(0, size);
    }
    s.remove_prefix(size == 0 ? 1 : size);
  }
  return out + '"';
}

}  // namespace kvm_vfio::sim::detail
