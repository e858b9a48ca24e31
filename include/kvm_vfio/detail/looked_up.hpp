// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The reference that a call of the device holds on the file of its argument.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>

namespace kvm_vfio::detail {

// The file that a call looked up, or the error of the look-up. The destructor gives the reference
// back, after the call has released the lock. `Files` models file_references.
template <class Files, class File>
class looked_up {
 public:
  constexpr looked_up(Files& files, const result<File>& found) noexcept
      : looked_up(files, found, found.has_value()) {}
  // Tag of the constructor for a file on which the call took no reference.
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
  // Passes the reference to the caller, so that the destructor does not give it back.
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
