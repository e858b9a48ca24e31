// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Ownership of a descriptor.

#include <unistd.h>

namespace kvm_vfio::native {

/// A descriptor that is closed when its owner goes. Empty (-1) by default and after a move.
class unique_fd {
 public:
  constexpr unique_fd() noexcept = default;
  /// Owns `fd` from now on.
  constexpr explicit unique_fd(int fd) noexcept : fd_(fd) {}
  /// Takes over the other one's descriptor, which is empty then.
  constexpr unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  /// Closes what is owned and takes the other one's, which is empty then.
  constexpr unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  constexpr ~unique_fd() { reset(); }

  /// The descriptor, which stays owned, or -1.
  [[nodiscard]] constexpr int get() const noexcept { return fd_; }
  /// Whether there is one.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Hands the descriptor over to the caller.
  [[nodiscard]] constexpr int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// Closes what is owned and owns `fd` instead.
  constexpr void reset(int fd = -1) noexcept {
    // Never retried: after close(2) the number is free, whatever the answer.
    if (fd_ >= 0) (void)::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// A view of a descriptor (`vm_ref`, `kvm_vfio_device_ref`) that owns it: closed when it goes.
/// \tparam Ref copyable, empty by default, made from a descriptor, which `fd()` names
template <class Ref>
class owned : public Ref {
 public:
  constexpr owned() noexcept = default;
  /// Adopts a descriptor that the caller gives away.
  constexpr explicit owned(unique_fd fd) noexcept : Ref(fd.release()) {}
  /// The other one is empty then.
  constexpr owned(owned&& other) noexcept : Ref(other.release()) {}
  /// Closes what is owned and takes the other one's, which is empty then.
  constexpr owned& operator=(owned&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  constexpr ~owned() { reset(Ref()); }

  /// A view that does not own the descriptor; good until the owner goes, wherever it moves.
  [[nodiscard]] constexpr Ref borrow() const noexcept { return Ref(this->fd()); }
  /// Hands the descriptor over to the caller and is empty.
  [[nodiscard]] constexpr Ref release() noexcept {
    const Ref ref = borrow();
    static_cast<Ref&>(*this) = Ref();
    return ref;
  }
  /// Whether there is a descriptor.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return this->fd() >= 0; }

 private:
  constexpr void reset(const Ref& ref) noexcept {
    const unique_fd closed(this->fd());
    static_cast<Ref&>(*this) = ref;
  }
};

}  // namespace kvm_vfio::native
