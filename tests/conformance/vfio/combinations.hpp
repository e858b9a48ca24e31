// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The combinations of request, argument and state that a run should compare: which there are, and
/// how often each was compared. rows.cpp lists them; key.cpp tells which one a step is.

#include "generate.hpp"
#include "step.hpp"
#include "view.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vfio_lockstep {

/// The part of the generator that makes the calls of a combination.
enum class family : unsigned char {
  opens,
  closes,
  dups,
  groups,
  containers,
  devices,
  irqs,
  regions,
  cdevs,
  iommufds,
  kvm,
  vms,
  events,
  unknown
};
inline constexpr int families = 14;

/// A combination.
struct row {
  std::string key{};  ///< the request, the kind of argument and the state, separated by " | "
  family made_by{};
  std::string reason{};   ///< why this kernel and machine cannot reach it; empty: they can
  long compared = 0;      ///< how often both sides were asked
  long tries = 0;         ///< how often steps were made that should bring its state about
  std::string brought{};  ///< the interrupts that are armed before ("MSI-X"); empty: not important
};

/// Returns the combination that a step is, in the state before the step. Empty: the step is not
/// counted.
[[nodiscard]] std::string key_of(const step& s, const view& now, const machine& m);

/// Returns all combinations of a kernel and machine, with the reasons of those that they lack.
[[nodiscard]] std::vector<row> rows_of(const machine& m);

/// Returns the combinations that a kernel and machine can reach.
[[nodiscard]] std::vector<row> reachable_rows_of(const machine& m);

/// Counts the combinations of a run.
class combinations {
 public:
  /// A combination that was compared this often needs no more calls.
  static constexpr long enough = 5;

  explicit combinations(const machine& m);

  /// Counts a call that both sides have answered.
  void count(const std::string& key);
  /// Returns how often a combination was compared. A combination that is not listed, or that is
  /// listed as unreachable, counts as compared often.
  [[nodiscard]] long compared(const std::string& key) const;
  /// Returns a combination that was not compared often enough. Combinations that were tried often
  /// are less probable. Null: there is none.
  /// \param random a random number
  [[nodiscard]] const row* pick(std::uint64_t random) const;
  /// Remembers that steps were made to bring the state of a combination about.
  void tried(const row& r) { ++rows_[static_cast<std::size_t>(&r - rows_.data())].tries; }

  /// Returns the share of the reachable combinations that were compared often enough, in per cent.
  [[nodiscard]] double percent() const;
  /// Returns the combinations that were compared although the list does not have them, or has them
  /// as unreachable. Such a combination is an error of the list.
  [[nodiscard]] const std::vector<std::string>& unlisted() const { return unlisted_; }
  /// Prints all rows, each with a marker at the start of its line.
  void print_table() const;
  /// Prints the numbers of the run.
  /// \param with_seldom each combination that was not compared often enough, too
  void print_summary(bool with_seldom) const;

 private:
  std::vector<row> rows_;
  std::unordered_map<std::string, std::size_t> index_;
  std::vector<std::string> unlisted_;
};

/// Joins the parts of a key.
template <class... Parts>
[[nodiscard]] std::string key(std::string_view first, const Parts&... more) {
  std::string text(first);
  ((text += " | ", text += more), ...);
  return text;
}

/// The request of an ioctl, as far as the wrong arguments that every request has.
struct request_form {
  const char* name;
  family made_by;
  std::uint32_t on;     ///< the kinds of files that have the request, one bit for each
  std::uint32_t least;  ///< argsz may not be less; 0: there is no argsz
  std::uint32_t size;   ///< argsz of the whole struct; 0: more bytes are never wrong
  int flags_at;         ///< where the flags are; -1: there are none, or the kernel ignores them
  std::uint32_t known;  ///< the flags that there are
  bool pointer;         ///< the argument is an address
};
/// Returns all requests.
[[nodiscard]] const std::vector<request_form>& request_forms();
/// Returns whether a machine has the files that a request is for.
[[nodiscard]] std::string lacks(const request_form& f, const machine& m);

[[nodiscard]] constexpr std::uint32_t bit(kind k) { return 1U << static_cast<unsigned>(k); }
/// Returns the name of a kind of file.
[[nodiscard]] const char* name_of(kind k);

/// Returns the kind of a region of a function: "memory", "ports", "no BAR" and so on.
[[nodiscard]] std::string region_in_words(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region);

}  // namespace vfio_lockstep
