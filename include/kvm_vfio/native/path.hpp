// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Builds paths that contain numbers, without a heap.

#include <cstddef>
#include <type_traits>

namespace kvm_vfio::native {

/// A path like "/dev/vfio/26". A path that is too long is cut.
class path {
 public:
  /// Appends text to the path.
  constexpr path& operator<<(const char* text) noexcept {
    if (std::is_constant_evaluated()) {
      while (*text && size_ + 1 < sizeof text_) text_[size_++] = *text++;
      return *this;
    }
    const std::size_t left = sizeof text_ - 1 - size_;
    const std::size_t length = __builtin_strlen(text);
    const std::size_t n = length < left ? length : left;
    __builtin_memcpy(text_ + size_, text, n);
    size_ += n;
    return *this;
  }
  /// Appends a decimal number to the path.
  constexpr path& operator<<(unsigned number) noexcept {
    char digits[12] = {};
    char* first = digits + sizeof digits - 1;
    do *--first = static_cast<char>('0' + number % 10);
    while (number /= 10);
    return *this << first;
  }
  /// Returns the path, which is valid as long as this object exists.
  [[nodiscard]] constexpr const char* get() const noexcept { return text_; }

 private:
  char text_[64] = {};
  std::size_t size_ = 0;
};

}  // namespace kvm_vfio::native
