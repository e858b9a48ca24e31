// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads entries of sysfs through a system, without a heap.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <fcntl.h>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native {

/// Reads a hexadecimal number without prefix that a line break ends.
/// \param text the characters
/// \param size the number of characters
/// \par Errors
/// - `errc::proto`: the text is something else, or the number has more than 64 bits
[[nodiscard]] constexpr result<std::uint64_t> hexadecimal(const char* text,
                                                          std::size_t size) noexcept {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const char c = text[i];
    if (c == '\n' && i > 0) return number;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0 || number >> 60 != 0) return errc::proto;
    number = number << 4 | static_cast<std::uint64_t>(digit);
  }
  return errc::proto;
}

/// Reads the hexadecimal number of an entry of sysfs.
/// \param at the path
/// \param on the system that has the entry
/// \par Errors
/// - `errc::noent`: there is no such entry
/// - `errc::proto`: the entry is not a hexadecimal number
/// - each other error of open(2) and read(2)
template <system System>
[[nodiscard]] result<std::uint64_t> hexadecimal_entry(const char* at, const System& on) noexcept {
  const result<int> fd = on.open(at, O_RDONLY);
  if (!fd) return fd.error();
  const basic_unique_fd<System> file(*fd, on);
  char text[32] = {};
  const result<std::size_t> size = on.read(*fd, text, sizeof text);
  if (!size) return size.error();
  return hexadecimal(text, *size);
}

/// Opens an entry of sysfs, which may be a directory, and closes it again.
/// \param at the path
/// \param on the system that has the entry
/// \return ok: there is such an entry
/// \par Errors
/// - `errc::noent`: there is no such entry
/// - each other error of open(2)
template <system System>
[[nodiscard]] errc find_entry(const char* at, const System& on) noexcept {
  const result<int> fd = on.open(at, O_RDONLY);
  if (fd) (void)on.close(*fd);
  return fd.error();
}

}  // namespace kvm_vfio::native
