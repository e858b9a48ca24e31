// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Writes a tree of folders, files and links, and removes the tree after an error.

#include <kvm_vfio/sim/topology/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// The target of a relative symbolic link, as sysfs writes it. The target starts at the nearest
/// folder that contains the link and the parent folder of what the link names.
/// \param link   the absolute path of the link
/// \param target the absolute path of what the link names
[[nodiscard]] inline std::string relative_target(std::string_view link, std::string_view target) {
  const std::string_view folder = link.substr(0, link.rfind('/') + 1);
  const std::string_view parent = target.substr(0, target.rfind('/') + 1);
  std::size_t common = 0;
  for (std::size_t i = 0; i < std::min(folder.size(), parent.size()) && folder[i] == parent[i]; ++i)
    if (folder[i] == '/') common = i + 1;
  std::string out;
  for (const char c : folder.substr(common))
    if (c == '/') out += "../";
  return out.append(target.substr(common));
}

/// Writes below a directory. Paths are those of the simulated host, and start with '/'. After the
/// first error the writer does nothing more. The destructor removes all that the writer made,
/// unless `keep` was called.
class tree_writer {
 public:
  explicit tree_writer(std::filesystem::path directory) : directory_(std::move(directory)) {}
  tree_writer(const tree_writer&) = delete;
  tree_writer& operator=(const tree_writer&) = delete;
  ~tree_writer() {
    std::error_code none;
    for (auto made = tops_.rbegin(); made != tops_.rend(); ++made)
      std::filesystem::remove_all(*made, none);
  }

  /// Makes a folder of which nothing exists yet. `folder`, `file` and `link` must be used below
  /// such a folder. \param path empty: the directory itself, which may exist
  void top(const std::string& path) {
    if (failed()) return;
    const std::filesystem::path at = real(path);
    if (::mkdir(at.c_str(), 0755) == 0) tops_.push_back(at);
    else if (!path.empty() || errno != EEXIST) fail(path);
  }
  /// Makes a folder and the folders above it. They may exist.
  void folder(const std::string& path) {
    if (failed() || !folders_.insert(path).second) return;
    std::error_code error;
    std::filesystem::create_directories(real(path), error);
    if (error) fail(path, error);
  }
  /// Makes a file with a text. The file must not exist. \param mode the permission bits
  void file(const std::string& path, std::string_view text, mode_t mode = 0444) {
    write(path, text, 0, mode);
  }
  /// Makes a file that reads as zeros, without space on the disk. The file must not exist.
  /// \param size the size in bytes
  void zeros(const std::string& path, std::uint64_t size, mode_t mode) {
    write(path, {}, size, mode);
  }
  /// Makes a relative symbolic link to another path of the host. The link must not exist.
  void link(const std::string& path, const std::string& target) {
    if (!prepare(path)) return;
    if (::symlink(relative_target(path, target).c_str(), real(path).c_str()) != 0) fail(path);
  }
  /// Whether an error occurred.
  [[nodiscard]] bool failed() const noexcept { return !errors_.empty(); }
  /// Ends the writing. \return the error; empty: the tree stays
  [[nodiscard]] topology_errors finish() {
    if (!failed()) tops_.clear();
    return std::move(errors_);
  }

 private:
  [[nodiscard]] std::filesystem::path real(const std::string& path) const {
    return std::filesystem::path(directory_).concat(path);
  }
  void fail(const std::string& path) { fail(path, {errno, std::generic_category()}); }
  void fail(const std::string& path, std::error_code error) {
    errors_.push_back({"topology", printable(real(path).string()) + ": " + error.message()});
  }
  [[nodiscard]] bool prepare(const std::string& path) {
    folder(path.substr(0, path.rfind('/')));
    return !failed();
  }
  void write(const std::string& path, std::string_view text, std::uint64_t size, mode_t mode) {
    if (!prepare(path)) return;
    const int fd = ::open(real(path).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return fail(path);
    while (!failed() && !text.empty()) {
      const ssize_t n = ::write(fd, text.data(), text.size());
      if (n >= 0) text.remove_prefix(static_cast<std::size_t>(n));
      else if (errno != EINTR) fail(path);
    }
    if (!failed() && size != 0 && ::ftruncate(fd, static_cast<off_t>(size)) != 0) fail(path);
    if (!failed() && ::fchmod(fd, mode) != 0) fail(path);
    if (::close(fd) != 0 && !failed()) fail(path);
  }

  std::filesystem::path directory_;
  std::vector<std::filesystem::path> tops_;
  std::set<std::string> folders_;
  topology_errors errors_;
};

}  // namespace kvm_vfio::sim::detail
