// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What is wrong with a topology, and where.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/quotes.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
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
[[nodiscard]] std::string to_text(const topology_errors& errors);

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
  explicit invalid_topology(topology_errors errors);
  /// What is wrong where.
  [[nodiscard]] const topology_errors& errors() const noexcept { return errors_; }

 private:
  topology_errors errors_;
};

namespace detail {
[[noreturn]] void refuse(topology_errors errors);

[[nodiscard]] std::string in_hex(std::uint64_t n);
[[nodiscard]] std::string indexed(const std::string& where, std::size_t i);
// Text from outside in characters that any terminal shows.
[[nodiscard]] std::string printable(std::string_view text);
// Of a text from outside, so many characters are shown.
inline constexpr std::size_t most_shown = 60;
// The start of a text from outside.
[[nodiscard]] std::string shortened(std::string_view text);
// The start of a text from outside, in quotes.
[[nodiscard]] std::string shown(std::string_view text);
// Appends an error. Of a text that is wrong in a million places, the first thousand are enough.
void append(topology_errors& errors, std::string where, std::string what);
}  // namespace detail

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_error.hpp>
#endif
