// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Open files as handles for the model. They are compared by identity and kept open by descriptors.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/same_file.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>

namespace kvm_vfio::native {

/// Names an open file by one of its descriptors, and does not own the descriptor. Two handles are
/// equal if their descriptors refer to the same open file description; see `same_file`.
struct file {
  int fd = -1;  ///< a descriptor of the file; -1: names no file

  /// Asks the kernel whether both name the same file; see `same_file`.
  friend bool operator==(const file& a, const file& b) noexcept { return same_file(a.fd, b.fd); }
  /// Returns the inode number with the device number, by fstat(2), or 0 if the descriptor is not
  /// open. Each node of a group or device has its own inode. Device files that groups hand out may
  /// share one.
  friend std::uint64_t identity_hash(const file& f) noexcept {
    struct stat inode{};
    if (f.fd < 0 || ::fstat(f.fd, &inode) != 0) return 0;
    const std::uint64_t device = inode.st_dev;
    return inode.st_ino ^ device << 32;
  }
};
static_assert(hashable_file<file>);

/// A files policy that keeps a file open with one descriptor for each reference. Models
/// `file_references`. It has no state.
struct held_files {
  /// Makes a new descriptor of the file.
  /// \par Errors
  /// - `errc::badf`: the file's descriptor is not open
  /// - `errc::mfile`: the process has no free descriptor
  [[nodiscard]] result<file> get_file(const file& f) const noexcept {
    const result<int> fd = host().dup(f.fd);
    if (!fd) return fd.error();
    return file{*fd};
  }
  /// Closes a descriptor that `get_file` or `current_task::fget` made.
  void fput(const file& f) const noexcept { const unique_fd closed(f.fd); }
};
static_assert(file_references<held_files, file>);

}  // namespace kvm_vfio::native
