// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// This process as the model's caller.

#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/user_memory.hpp>

namespace kvm_vfio::native {

/// The calling task: real descriptors, real memory. Models `caller<file>`, and of `vm_caller` all
/// but `install`: no user-space object can stand behind a real descriptor.
class current_task : public own_memory {
 public:
  using address_space_id = int;

  /// A descriptor of its own for the open file behind `fd`, given back by `held_files::fput`.
  /// \return badf: not open, negative, or O_PATH · mfile
  [[nodiscard]] result<file> fget(int fd) const noexcept {
    const result<file> open = fdget(fd);
    return open ? held_files().get_file(*open) : open;
  }
  /// The open file behind `fd`, by that very descriptor, so that a process without a free one can
  /// still unplug. It must not be closed meanwhile.
  /// \return badf: not open, negative, or O_PATH
  [[nodiscard]] result<file> fdget(int fd) const noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH)) return errc::badf;
    return file{fd};
  }
  /// Threads of a process share it, a forked child has another.
  [[nodiscard]] address_space_id address_space() const noexcept { return ::getpid(); }
};
static_assert(caller<current_task, file> && borrowing_file_table<current_task, file>);

}  // namespace kvm_vfio::native
