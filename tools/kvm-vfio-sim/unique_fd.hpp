// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A descriptor of this program, which is closed with its owner.

#include <unistd.h>

#include <utility>

namespace kvm_vfio_sim {

/// Owns a descriptor, or none.
class unique_fd {
 public:
  unique_fd() = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~unique_fd() {
    if (fd_ >= 0) (void)::close(fd_);
  }
  /// The descriptor; -1: none.
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace kvm_vfio_sim
