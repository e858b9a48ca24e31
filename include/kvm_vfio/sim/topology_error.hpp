// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What is wrong with a topology, and where.

#include <kvm_vfio/sim/quotes.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

/// One thing that is wrong, or that is not known.
struct topology_error {
  /// The member, from the topology on ("groups[0].devices[1].pci.vendor"), "topology" for the whole
  /// of it; of text that is no JSON, the line and the column.
  std::string where;
  std::string what;  ///< one sentence, without a full stop
  /// Both, for a person.
  [[nodiscard]] std::string text() const { return where + ": " + what; }
  /// Whether both are equal.
  friend bool operator==(const topology_error&, const topology_error&) = default;
};
/// All that is wrong.
using topology_errors = std::vector<topology_error>;

/// One line for each.
[[nodiscard]] inline std::string to_text(const topology_errors& errors) {
  std::string out;
  for (const topology_error& e : errors) out += e.text() + "\n";
  return out;
}

/// A topology from outside: from JSON or from sysfs.
struct topology_result {
  /// What was read; it is right if there are no errors.
  topology machine{};
  /// What is wrong with it. Empty: a `world` can be made of it.
  topology_errors errors{};
  /// What the source could not tell and `machine` therefore has by default.
  topology_errors unknown{};
  /// Whether it is right.
  [[nodiscard]] explicit operator bool() const noexcept { return errors.empty(); }
};

/// A topology was given to a `world` that is none.
class invalid_topology : public std::invalid_argument {
 public:
  /// \pre there is one at least
  explicit invalid_topology(topology_errors errors)
      : std::invalid_argument(to_text(errors)), errors_(std::move(errors)) {}
  /// What is wrong where.
  [[nodiscard]] const topology_errors& errors() const noexcept { return errors_; }

 private:
  topology_errors errors_;
};

namespace detail {
[[noreturn]] inline void refuse(topology_errors errors) {
#if defined(__cpp_exceptions)
  throw invalid_topology(std::move(errors));
#else
  std::fputs(to_text(errors).c_str(), stderr);
  std::abort();
#endif
}

[[nodiscard]] inline std::string in_hex(std::uint64_t n) {
  char text[19];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(n));
  return text;
}
[[nodiscard]] inline std::string indexed(const std::string& where, std::size_t i) {
  return where + "[" + std::to_string(i) + "]";
}
// Text from outside in characters that any terminal shows.
[[nodiscard]] inline std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c < 0x20 || c > 0x7e) c = '?';
  return out;
}
// Of a text from outside, so many characters are shown.
inline constexpr std::size_t most_shown = 60;
// The start of a text from outside.
[[nodiscard]] inline std::string shortened(std::string_view text) {
  return printable(text.substr(0, most_shown)) + (text.size() > most_shown ? "..." : "");
}
// The start of a text from outside, in quotes.
[[nodiscard]] inline std::string shown(std::string_view text) {
  return in_quotes(printable(text.substr(0, most_shown))) + (text.size() > most_shown ? "..." : "");
}
// Appends an error. Of a text that is wrong in a million places, the first thousand are enough.
inline void append(topology_errors& errors, std::string where, std::string what) {
  constexpr std::size_t most = 1000;
  if (errors.size() < most) errors.push_back({std::move(where), std::move(what)});
  else if (errors.size() == most) errors.push_back({"topology", "has more errors than these"});
}
}  // namespace detail

}  // namespace kvm_vfio::sim
