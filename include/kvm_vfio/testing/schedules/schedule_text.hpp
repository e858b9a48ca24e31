// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A schedule as a short text.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio::testing {

/// A schedule: the number of the thread that makes each step, from 0 on.
using schedule = std::vector<unsigned char>;

/// Returns a schedule as text, for example "a3 b2 a": thread a makes three steps, thread b makes
/// two, thread a makes one.
[[nodiscard]] inline std::string to_string(const schedule& steps) {
  std::string text;
  for (std::size_t from = 0, to = 0; from < steps.size(); from = to) {
    while (to < steps.size() && steps[to] == steps[from]) ++to;
    if (from != 0) text += ' ';
    text += static_cast<char>('a' + steps[from]);
    if (to - from > 1) text += std::to_string(to - from);
  }
  return text;
}
namespace detail {
// Reads a schedule as `parse_schedule` does, and sets `at` to the number of characters that it
// read.
[[nodiscard]] inline schedule read_schedule(std::string_view text, std::size_t& at) {
  constexpr std::size_t most = 1000000;  // a longer text is a mistake
  schedule steps;
  for (at = 0; at < text.size();) {
    if (text[at] == ' ') {
      ++at;
      continue;
    }
    if (text[at] < 'a' || text[at] > 'z') break;
    const auto thread = static_cast<unsigned char>(text[at++] - 'a');
    std::size_t times = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && times < most; ++at)
      times = times * 10 + static_cast<std::size_t>(text[at] - '0');
    steps.insert(steps.end(), times == 0 ? 1 : times, thread);
  }
  return steps;
}
}  // namespace detail

/// Reads a schedule from the text that `to_string` makes. Returns the schedule up to the first
/// character that such a text does not have.
[[nodiscard]] inline schedule parse_schedule(std::string_view text) {
  std::size_t length = 0;
  return detail::read_schedule(text, length);
}

}  // namespace kvm_vfio::testing
