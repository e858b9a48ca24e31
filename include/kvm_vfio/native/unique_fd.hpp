// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Classes that own a descriptor.

#include <unistd.h>

namespace kvm_vfio::native {

/// Owns a descriptor and closes it in the destructor. By default, and after it was moved from, it
/// owns none (-1).
class unique_fd {
 public:
  constexpr unique_fd() noexcept = default;
  /// Owns `fd` from now on.
  constexpr explicit unique_fd(int fd) noexcept : fd_(fd) {}
  /// Takes over the descriptor of `other`, which then owns none.
  constexpr unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  /// Closes the own descriptor and takes over the one of `other`, which then owns none.
  constexpr unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  constexpr ~unique_fd() { reset(); }

  /// Returns the descriptor, which this object still owns, or -1 if there is none.
  [[nodiscard]] constexpr int get() const noexcept { return fd_; }
  /// Returns true if this object owns a descriptor.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor to the caller, who must close it.
  [[nodiscard]] constexpr int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// Closes the own descriptor and owns `fd` instead.
  constexpr void reset(int fd = -1) noexcept {
    // The call is not repeated: the number is free after close(2), even if close(2) fails.
    if (fd_ >= 0) (void)::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

/// A view of a descriptor (for example `vm_ref`) that also owns it, and closes it in the
/// destructor.
/// \tparam Ref a class that can be copied, is empty by default, can be made from a descriptor, and
///   returns it from `fd()`
template <class Ref>
class owned : public Ref {
 public:
  constexpr owned() noexcept = default;
  /// Owns a descriptor that the caller gives away.
  constexpr explicit owned(unique_fd fd) noexcept : Ref(fd.release()) {}
  /// Takes over the descriptor of `other`, which then owns none.
  constexpr owned(owned&& other) noexcept : Ref(other.release()) {}
  /// Closes the own descriptor and takes over the one of `other`, which then owns none.
  constexpr owned& operator=(owned&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  constexpr ~owned() { reset(Ref()); }

  /// Returns a view that does not own the descriptor. It is valid until the descriptor is closed,
  /// even if the owner is moved.
  [[nodiscard]] constexpr Ref borrow() const noexcept { return Ref(this->fd()); }
  /// Gives the descriptor to the caller, who must close it.
  [[nodiscard]] constexpr Ref release() noexcept {
    const Ref ref = borrow();
    static_cast<Ref&>(*this) = Ref();
    return ref;
  }
  /// Returns true if this object owns a descriptor.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return this->fd() >= 0; }

 private:
  constexpr void reset(const Ref& ref) noexcept {
    const unique_fd closed(this->fd());
    static_cast<Ref&>(*this) = ref;
  }
};

}  // namespace kvm_vfio::native
