// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The errors that a check or a reader finds in a topology.

#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio::sim {

/// One error in a topology, or one value that its source does not contain.
struct topology_error {
  /// The path of the member ("groups[0].devices[1].pci.vendor"), or "topology" for the whole
  /// topology. If the text is not JSON, the line and the column.
  std::string where;
  /// The error in words: one sentence without a full stop.
  std::string what;
  /// The place and the error as one line of text, without a newline.
  [[nodiscard]] std::string text() const { return where + ": " + what; }
  /// Compares both members.
  friend bool operator==(const topology_error&, const topology_error&) = default;
};
/// The errors in a topology. `check` and the reader of JSON note at most 1000 errors. One more
/// element then says that there are more.
using topology_errors = std::vector<topology_error>;

/// Writes errors as text, one line for each error.
[[nodiscard]] std::string to_text(const topology_errors& errors);

/// The result of reading a topology from JSON or from sysfs.
struct topology_result {
  /// The topology. It is valid only if `errors` is empty.
  topology machine{};
  /// The errors in the topology. Empty: a `world` can run on the topology.
  topology_errors errors{};
  /// The members that the source does not contain. They have their default values in `machine`.
  topology_errors unknown{};
  /// Whether the topology is valid.
  [[nodiscard]] explicit operator bool() const noexcept { return errors.empty(); }
};

/// The exception that `checked_topology` throws for an invalid topology. `what()` is the text of
/// all errors, one line for each.
class invalid_topology : public std::invalid_argument {
 public:
  /// \pre `errors` is not empty
  explicit invalid_topology(topology_errors errors);
  /// The errors in the topology.
  [[nodiscard]] const topology_errors& errors() const noexcept { return errors_; }

 private:
  topology_errors errors_;
};

namespace detail {
[[noreturn]] void refuse(topology_errors errors);

[[nodiscard]] std::string in_hex(std::uint64_t n);
[[nodiscard]] std::string indexed(const std::string& where, std::size_t i);
// A text with '?' instead of each character that is not printable ASCII.
[[nodiscard]] std::string printable(std::string_view text);
// Error messages quote at most this many characters of a text from outside.
inline constexpr std::size_t most_shown = 60;
// The first `most_shown` characters of a text, printable.
[[nodiscard]] std::string shortened(std::string_view text);
// The first `most_shown` characters of a text, printable and in quotes.
[[nodiscard]] std::string shown(std::string_view text);
// Appends an error. Notes only the first 1000 errors, because a text can have millions.
void append(topology_errors& errors, std::string where, std::string what);
}  // namespace detail

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/topology/impl/error.hpp>
#endif
