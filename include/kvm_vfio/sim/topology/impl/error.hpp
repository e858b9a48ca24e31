// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of error.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::string to_text(const topology_errors& errors) {
  std::string out;
  for (const topology_error& e : errors) out += e.text() + "\n";
  return out;
}

KVM_VFIO_INLINE invalid_topology::invalid_topology(topology_errors errors)
    : std::invalid_argument(to_text(errors)), errors_(std::move(errors)) {}

}  // namespace kvm_vfio::sim

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE void refuse(topology_errors errors) {
#if defined(__cpp_exceptions)
  throw invalid_topology(std::move(errors));
#else
  std::fputs(to_text(errors).c_str(), stderr);
  std::abort();
#endif
}

KVM_VFIO_INLINE std::string in_hex(std::uint64_t n) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
  return text;
}

KVM_VFIO_INLINE std::string indexed(const std::string& where, std::size_t i) {
  return where + "[" + std::to_string(i) + "]";
}

KVM_VFIO_INLINE std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c < 0x20 || c > 0x7e) c = '?';
  return out;
}

KVM_VFIO_INLINE std::string shortened(std::string_view text) {
  return printable(text.substr(0, most_shown)) + (text.size() > most_shown ? "..." : "");
}

KVM_VFIO_INLINE std::string shown(std::string_view text) {
  return in_quotes(printable(text.substr(0, most_shown))) + (text.size() > most_shown ? "..." : "");
}

KVM_VFIO_INLINE void append(topology_errors& errors, std::string where, std::string what) {
  constexpr std::size_t most = 1000;
  if (errors.size() < most) errors.push_back({std::move(where), std::move(what)});
  else if (errors.size() == most)
    errors.push_back({"topology", "has more errors, which are not listed here"});
}

}  // namespace kvm_vfio::sim::detail
