// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Expected calls as text, and which profile expects which.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/catch2.hpp>
#include <kvm_vfio/testing/journal.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "expected_state.hpp"
#include "support/catch.hpp"

// A failing comparison of events shows them one per line.
template <>
struct Catch::StringMaker<std::vector<kvm_vfio::testing::event>> {
  static std::string convert(const std::vector<kvm_vfio::testing::event>& events) {
    return '\n' + kvm_vfio::testing::to_string(events);
  }
};

namespace tests {

// A state that is wrong after a call fails the test there.
inline const bool fails_at_the_call = [] {
  state_is_wrong = [](std::string_view what) { FAIL_CHECK("after the call: " << what); };
  return true;
}();

/// The value of the three that this profile expects.
template <class Profile, class T>
T pick(const T& in_7_3, const T& in_6_12, const T& in_6_1) {
  if constexpr (std::same_as<Profile, kvm_vfio::linux_7_3>) return in_7_3;
  else if constexpr (std::same_as<Profile, kvm_vfio::linux_6_12>) return in_6_12;
  else {
    static_assert(std::same_as<Profile, kvm_vfio::linux_6_1>, "a release without a column here");
    return in_6_1;
  }
}

/// Expected calls in the words of `to_string(event)`, separated by semicolons, as that writes
/// them: one per line. [c] stands for the look-up of c's symbol, c, and the symbol given back.
inline std::string calls(std::string_view text) {
  std::string lines;
  while (!text.empty()) {
    std::string_view item = text.substr(0, text.find(';'));
    text.remove_prefix(item.size() < text.size() ? item.size() + 1 : text.size());
    const auto begin = item.find_first_not_of(" \n");
    if (begin == item.npos) continue;
    item = item.substr(begin, item.find_last_not_of(" \n") - begin + 1);
    if (item.front() == '[') {
      item = item.substr(1, item.size() - 2);
      const std::string symbol =
          "(vfio_file_" + std::string(item.substr(0, item.find('('))) + ")\n";
      lines += "symbol_get" + symbol + std::string(item) + "\nsymbol_put" + symbol;
    } else {
      lines += std::string(item) + '\n';
    }
  }
  return lines;
}

}  // namespace tests
