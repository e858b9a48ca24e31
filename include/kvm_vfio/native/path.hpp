// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Paths with numbers in them, put together without a heap.

#include <cstddef>

namespace kvm_vfio::native {

/// "/dev/vfio/26" and the like. What does not fit is cut off.
class path {
 public:
  /// Appends text.
  constexpr path& operator<<(const char* text) noexcept {
    while (*text && size_ + 1 < sizeof text_) text_[size_++] = *text++;
    return *this;
  }
  /// Appends a decimal number.
  constexpr path& operator<<(unsigned number) noexcept {
    char digits[12] = {};
    char* first = digits + sizeof digits - 1;
    do *--first = static_cast<char>('0' + number % 10);
    while (number /= 10);
    return *this << first;
  }
  /// The path; good as long as this object.
  [[nodiscard]] constexpr const char* get() const noexcept { return text_; }

 private:
  char text_[64] = {};
  std::size_t size_ = 0;
};

}  // namespace kvm_vfio::native
