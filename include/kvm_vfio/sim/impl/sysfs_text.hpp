// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the files of sysfs hold: text, numbers, links, folders.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace kvm_vfio::sim::detail {

/// What a file holds; nothing: it is none, it cannot be read, or it has over a megabyte, as no file
/// of sysfs has.
[[nodiscard]] inline std::optional<std::string> file_text(const std::filesystem::path& file) {
  constexpr std::size_t most = std::size_t{1} << 20;
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none)) return std::nullopt;
  std::ifstream in(file, std::ios::binary);
  std::string text;
  char part[4096];
  while (in && text.size() < most) {
    in.read(part, sizeof part);
    text.append(part, static_cast<std::size_t>(in.gcount()));
  }
  if (!in.eof()) return std::nullopt;
  return text;
}
/// The number at the start of a text, whose base its prefix says, and which is cut off; nothing:
/// there is none, or it has over 64 bits.
[[nodiscard]] inline std::optional<std::uint64_t> take_number(std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos || text[first] < '0' || text[first] > '9') return std::nullopt;
  errno = 0;
  char* end = nullptr;
  const std::uint64_t n = std::strtoull(text.c_str() + first, &end, 0);
  if (errno != 0) return std::nullopt;
  text.erase(0, static_cast<std::size_t>(end - text.c_str()));
  return n;
}
/// The number that a file holds.
[[nodiscard]] inline std::optional<std::uint64_t> file_number(const std::filesystem::path& file) {
  std::optional<std::string> text = file_text(file);
  return text ? take_number(*text) : std::nullopt;
}
/// The last part of where a link leads; empty: there is no link.
[[nodiscard]] inline std::string link_name(const std::filesystem::path& link) {
  std::error_code none;
  return std::filesystem::read_symlink(link, none).filename().string();
}
[[nodiscard]] inline bool path_exists(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::exists(path, none);
}
/// The names in a folder, sorted. \param error why the folder could not be read
[[nodiscard]] inline std::vector<std::string> names_in(const std::filesystem::path& folder,
                                                       std::error_code& error) {
  std::vector<std::string> out;
  std::filesystem::directory_iterator next(folder, error);
  for (; !error && next != std::filesystem::directory_iterator(); next.increment(error))
    out.push_back(next->path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}
/// "vfio12" and "vfio" give 12; -1: it is not the prefix and a number.
[[nodiscard]] inline int number_behind(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return -1;
  std::string digits(name.substr(prefix.size()));
  if (digits.empty() || digits.size() > 9) return -1;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  if (digits.front() == '0' && digits.size() > 1) return -1;
  return static_cast<int>(std::strtol(digits.c_str(), nullptr, 10));
}

}  // namespace kvm_vfio::sim::detail
