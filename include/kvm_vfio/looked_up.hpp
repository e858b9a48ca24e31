// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The reference that a call holds on the file that it is about.

#include <kvm_vfio/result.hpp>

namespace kvm_vfio::detail {

// The file reference that a call looked up, or why there is none. Given back at the end of the
// call, after the unlock. `Files` models file_references.
template <class Files, class File>
class looked_up {
 public:
  constexpr looked_up(Files& files, const result<File>& found) noexcept
      : looked_up(files, found, found.has_value()) {}
  // Without a reference.
  static constexpr struct borrowed_tag {
  } borrowed{};
  constexpr looked_up(Files& files, const result<File>& found, borrowed_tag) noexcept
      : looked_up(files, found, false) {}
  looked_up(const looked_up&) = delete;
  looked_up& operator=(const looked_up&) = delete;
  constexpr ~looked_up() { put(); }
  constexpr explicit operator bool() const noexcept { return error_ == errc::ok; }
  [[nodiscard]] constexpr errc error() const noexcept { return error_; }
  [[nodiscard]] constexpr const File& get() const noexcept { return file_; }
  // Somebody else owns the reference from now on.
  constexpr const File& keep() noexcept {
    owned_ = false;
    return file_;
  }
  constexpr void put() noexcept {
    if (owned_) files_.fput(file_);
    owned_ = false;
  }

 private:
  constexpr looked_up(Files& files, const result<File>& found, bool owned) noexcept
      : files_(files), error_(found.error()), owned_(owned) {
    if (found) file_ = *found;
  }

  Files& files_;
  File file_{};
  errc error_;
  bool owned_;
};

}  // namespace kvm_vfio::detail
