// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads the entries of sysfs: files, numbers, links and folders.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace kvm_vfio::sim::detail {

/// The content of a regular file. No value: it is not a regular file, it cannot be read, or it has
/// more than 1 MiB. (No file of sysfs that is read here is so long.)
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
/// Reads the number at the start of a text and removes it from the text. The prefix of the number
/// gives its base, as in C. No value: there is no number, or it needs more than 64 bits.
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
/// The number at the start of a file. No value: the file cannot be read, or there is no number.
[[nodiscard]] inline std::optional<std::uint64_t> file_number(const std::filesystem::path& file) {
  std::optional<std::string> text = file_text(file);
  return text ? take_number(*text) : std::nullopt;
}
/// The last part of the path that a symbolic link contains. Empty: it is not a symbolic link.
[[nodiscard]] inline std::string link_name(const std::filesystem::path& link) {
  std::error_code none;
  return std::filesystem::read_symlink(link, none).filename().string();
}
[[nodiscard]] inline bool path_exists(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::exists(path, none);
}
/// Whether a path exists. \param error set if this cannot be found out, for example because a
/// folder of the path cannot be read
[[nodiscard]] inline bool path_exists(const std::filesystem::path& path, std::error_code& error) {
  const std::filesystem::file_status s = std::filesystem::status(path, error);
  if (s.type() != std::filesystem::file_type::not_found) return !error;
  error.clear();
  return false;
}
/// The names in a folder, sorted. \param error set if the folder cannot be read
[[nodiscard]] inline std::vector<std::string> names_in(const std::filesystem::path& folder,
                                                       std::error_code& error) {
  std::vector<std::string> out;
  std::filesystem::directory_iterator next(folder, error);
  for (; !error && next != std::filesystem::directory_iterator(); next.increment(error))
    out.push_back(next->path().filename().string());
  std::sort(out.begin(), out.end());
  return out;
}
/// The number behind a prefix: 12 for the name "vfio12" and the prefix "vfio". -1: the name does
/// not consist of the prefix and a decimal number.
[[nodiscard]] inline int number_behind(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return -1;
  std::string digits(name.substr(prefix.size()));
  if (digits.empty() || digits.size() > 9) return -1;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  if (digits.front() == '0' && digits.size() > 1) return -1;
  return static_cast<int>(std::strtol(digits.c_str(), nullptr, 10));
}

}  // namespace kvm_vfio::sim::detail
