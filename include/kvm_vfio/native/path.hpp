// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Builds paths that contain numbers, without a heap.

#include <cstddef>
#include <type_traits>

namespace kvm_vfio::native {

/// A path like "/dev/vfio/26", of at most 63 characters.
class path {
 public:
  /// Appends text to the path. Text that is too long is cut.
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
  /// Appends a decimal number to the path. A number that does not fit is left out.
  constexpr path& operator<<(unsigned number) noexcept {
    std::size_t end = size_ + 1;
    for (unsigned rest = number; rest > 9; rest /= 10) ++end;
    if (end >= sizeof text_) return *this;
    for (std::size_t at = end; at > size_; number /= 10)
      text_[--at] = static_cast<char>('0' + number % 10);
    size_ = end;
    return *this;
  }
  /// Returns the path, which is valid as long as this object exists.
  [[nodiscard]] constexpr const char* get() const noexcept { return text_; }

 private:
  char text_[64] = {};
  std::size_t size_ = 0;
};

}  // namespace kvm_vfio::native
