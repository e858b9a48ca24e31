// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Open files as the model's handles: compared by identity, held by descriptors.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/native/same_file.hpp>

#include <sys/stat.h>

#include <cstdint>

namespace kvm_vfio::native {

/// An open file, named by one of its descriptors, which it does not own. Equal handles are the same
/// open file description, whatever their descriptors; see `same_file`.
struct file {
  int fd = -1;  ///< none: names nothing

  /// Asks the kernel, by `same_file`.
  friend bool operator==(const file& a, const file& b) noexcept { return same_file(a.fd, b.fd); }
  /// The inode, by fstat(2); 0 when not open. Of device nodes, the groups' and the devices', each
  /// has its own; what groups hand out may share one.
  friend std::uint64_t identity_hash(const file& f) noexcept {
    struct stat inode{};
    if (f.fd < 0 || ::fstat(f.fd, &inode) != 0) return 0;
    const std::uint64_t device = inode.st_dev;
    return inode.st_ino ^ device << 32;
  }
};
static_assert(hashable_file<file>);

/// Holds open files by a descriptor for each reference. Models `file_references`; stateless.
struct held_files {
  /// A descriptor of its own for the file. badf: not open · mfile: no descriptor left
  [[nodiscard]] result<file> get_file(const file& f) const noexcept {
    const result<int> fd = sys::dup(f.fd);
    if (!fd) return fd.error();
    return file{*fd};
  }
  /// Closes a descriptor that `get_file` or `current_task::fget` made.
  void fput(const file& f) const noexcept { const unique_fd closed(f.fd); }
};
static_assert(file_references<held_files, file>);

}  // namespace kvm_vfio::native
