// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What mremap(2) does to a mapping of a BAR. The preloaded object uses this file, too, so nothing
/// here allocates memory.

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace kvm_vfio_sim {

/// The arguments of mremap(2). The sizes are those of whole pages.
struct remapping {
  static constexpr std::uint64_t page = 4096;

  /// \param flags_of_call `MREMAP_*`
  constexpr remapping(std::uint64_t old_address, std::uint64_t old_bytes, std::uint64_t new_bytes,
                      std::uint64_t flags_of_call, std::uint64_t new_address) noexcept
      : from(old_address),
        old_size(whole(old_bytes)),
        new_size(whole(new_bytes)),
        flags(flags_of_call),
        to(new_address) {}

  std::uint64_t from;
  std::uint64_t old_size;
  std::uint64_t new_size;
  std::uint64_t flags;
  std::uint64_t to;  ///< only with MREMAP_FIXED

  /// Whether the real kernel refuses the arguments whatever is mapped there.
  [[nodiscard]] constexpr bool is_wrong() const noexcept {
    if ((flags & ~std::uint64_t{MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP}) != 0 ||
        from % page != 0 || new_size == 0 || from + old_size < from)
      return true;
    if (!moves()) return false;
    return !(flags & MREMAP_MAYMOVE) || to % page != 0 || to + new_size < to ||
           (from < to + new_size && to < from + old_size);
  }
  /// Whether the range moves. Without MREMAP_FIXED only a range that grows may move.
  [[nodiscard]] constexpr bool moves() const noexcept { return (flags & MREMAP_FIXED) != 0; }
  /// The error that Linux has for a mapping of a BAR (VM_PFNMAP and VM_DONTEXPAND: vma_to_resize).
  /// 0: the real kernel may do what the call wants.
  /// \pre the arguments are not wrong
  [[nodiscard]] constexpr int error() const noexcept {
    if (flags & MREMAP_DONTUNMAP) return EINVAL;
    return new_size > old_size ? EFAULT : 0;
  }

 private:
  static constexpr std::uint64_t whole(std::uint64_t bytes) noexcept {
    return (bytes + page - 1) / page * page;
  }
};

}  // namespace kvm_vfio_sim
