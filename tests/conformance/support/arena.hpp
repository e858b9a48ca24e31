// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Memory of every kind that an argument may lie in.

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace conformance {

/// Three pages in a row: one to read and write, one that is not there, one that can be read only.
/// The last one has a second mapping, which can be written. Throws std::system_error if there is no
/// memory.
class arena {
 public:
  static constexpr std::size_t page = 65536;  ///< bytes; the largest page of any architecture here

  arena() {
    const int fd = ::memfd_create("arena", MFD_CLOEXEC);
    check(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(page)) == 0);
    base_ = map(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    check(::mprotect(base_ + page, page, PROT_NONE) == 0);
    (void)map(base_ + 2 * page, page, PROT_READ, MAP_SHARED | MAP_FIXED, fd);
    alias_ = map(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    ::close(fd);
    // Touched now: a page fault later would take and give back references of its own.
    for (const std::size_t offset : {std::size_t{0}, page / 2}) {
      *static_cast<volatile unsigned char*>(alias_ + offset) = 0;
      (void)*static_cast<const volatile unsigned char*>(read_only() + offset);
    }
  }
  arena(const arena&) = delete;
  arena& operator=(const arena&) = delete;
  ~arena() {
    ::munmap(base_, 3 * page);
    ::munmap(alias_, page);
  }

  [[nodiscard]] unsigned char* good() const noexcept { return base_; }
  /// The page that is not there. It follows the good one.
  [[nodiscard]] unsigned char* absent() const noexcept { return base_ + page; }
  [[nodiscard]] unsigned char* read_only() const noexcept { return base_ + 2 * page; }
  /// The read-only page, where it can be written.
  [[nodiscard]] unsigned char* read_only_alias() const noexcept { return alias_; }
  /// An address in the kernel's half.
  [[nodiscard]] static unsigned char* high() noexcept {
    return reinterpret_cast<unsigned char*>(~std::uintptr_t{0} - 7);
  }

  /// Maps memory; as mmap(2), but it throws.
  [[nodiscard]] static unsigned char* map(void* at, std::size_t size, int protection, int flags,
                                          int fd) {
    void* const mapped = ::mmap(at, size, protection, flags, fd, 0);
    check(mapped != MAP_FAILED);
    return static_cast<unsigned char*>(mapped);
  }

 private:
  static void check(bool holds) {
    if (!holds) throw std::system_error(errno, std::generic_category(), "arena");
  }
  unsigned char* base_ = nullptr;
  unsigned char* alias_ = nullptr;
};

}  // namespace conformance
