// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calling process as the task that makes calls on the model.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/user_memory.hpp>
#include <kvm_vfio/result.hpp>

#include <fcntl.h>
#include <unistd.h>

namespace kvm_vfio::native {

/// The calling task, with its real descriptors and its real memory. Models `caller<file>`. It does
/// not model `vm_caller`, because no object of user space can stand behind a real descriptor
/// (`install`).
class current_task : public own_memory {
 public:
  /// The number of a process, which stands for its memory.
  using address_space_id = int;

  /// Returns the open file behind `fd`, as a new descriptor. `held_files::fput` closes the new
  /// descriptor.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, is negative, or was opened with O_PATH
  /// - `errc::mfile`: the process has no free descriptor
  [[nodiscard]] result<file> fget(int fd) const noexcept {
    const result<file> open = fdget(fd);
    return open ? held_files().get_file(*open) : open;
  }
  /// Returns the open file behind `fd`, with `fd` itself as the handle. So a process without a free
  /// descriptor can still call FILE_DEL. The caller keeps `fd` open meanwhile.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, is negative, or was opened with O_PATH
  [[nodiscard]] result<file> fdget(int fd) const noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH)) return errc::badf;
    return file{fd};
  }
  /// Returns the process number. Threads of a process have the same, and a forked child has
  /// another.
  [[nodiscard]] address_space_id address_space() const noexcept { return ::getpid(); }
};
static_assert(caller<current_task, file> && borrowing_file_table<current_task, file>);

}  // namespace kvm_vfio::native
