// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A corpus as text: each line is an input, with two hexadecimal digits for each byte.

#include <cstddef>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace conformance {

/// Reads the inputs of a corpus. Throws std::runtime_error if the file cannot be read, or if a line
/// is not hexadecimal.
/// \param path the file
[[nodiscard]] inline std::vector<std::vector<unsigned char>> read_hex_lines(
    const std::string& path) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::vector<std::vector<unsigned char>> inputs;
  for (std::string line; std::getline(in, line);) {
    auto& input = inputs.emplace_back();
    for (std::size_t i = 0; i < line.size(); i += 2) {
      const std::size_t high = digits.find(line[i]);
      const std::size_t low = i + 1 < line.size() ? digits.find(line[i + 1]) : digits.npos;
      if (high == digits.npos || low == digits.npos)
        throw std::runtime_error(path + ", line " + std::to_string(inputs.size()) +
                                 ": not hexadecimal");
      input.push_back(static_cast<unsigned char>(16 * high + low));
    }
  }
  return inputs;
}

}  // namespace conformance
