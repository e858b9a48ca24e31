// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Classes that own a descriptor.

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/system.hpp>

namespace kvm_vfio::native {

/// Owns a descriptor of a system and closes it in the destructor. By default, and after it was
/// moved from, it owns none (-1).
/// \tparam System the system whose descriptor it is; the running kernel for `unique_fd`
template <system System>
class basic_unique_fd {
 public:
  constexpr basic_unique_fd() noexcept = default;
  /// Owns `fd` from now on, a descriptor of the system `of`.
  constexpr explicit basic_unique_fd(int fd, const System& of = System()) noexcept
      : fd_(fd), system_(of) {}
  /// Takes over the descriptor of `other`, which then owns none.
  constexpr basic_unique_fd(basic_unique_fd&& other) noexcept
      : fd_(other.release()), system_(other.system_) {}
  /// Closes the own descriptor and takes over the one of `other`, which then owns none.
  constexpr basic_unique_fd& operator=(basic_unique_fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
      system_ = other.system_;
    }
    return *this;
  }
  constexpr ~basic_unique_fd() { reset(); }

  /// Returns the descriptor, which this object still owns, or -1 if there is none.
  [[nodiscard]] constexpr int get() const noexcept { return fd_; }
  /// Returns the system whose descriptor this is.
  [[nodiscard]] constexpr const System& system_calls() const noexcept { return system_; }
  /// Returns true if this object owns a descriptor.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor to the caller, who must close it.
  [[nodiscard]] constexpr int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  /// Closes the own descriptor and owns `fd` instead, a descriptor of the same system.
  constexpr void reset(int fd = -1) noexcept {
    // The call is not repeated: the number is free after close(2), even if close(2) fails.
    if (fd_ >= 0) (void)system_.close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
  [[no_unique_address]] System system_{};
};

/// Owns a descriptor of the running kernel.
using unique_fd = basic_unique_fd<host>;
static_assert(sizeof(unique_fd) == sizeof(int));

/// A view of a descriptor (for example `vm_ref`) that also owns it, and closes it in the
/// destructor.
/// \tparam Ref a class derived from `descriptor`
template <class Ref>
class owned : public Ref {
 public:
  /// The system whose descriptor it is.
  using typename Ref::system_type;

  constexpr owned() noexcept = default;
  /// Owns a descriptor that the caller gives away.
  constexpr explicit owned(basic_unique_fd<system_type> fd) noexcept
      : Ref(fd.get(), fd.system_calls()) {
    (void)fd.release();
  }
  /// Takes over the descriptor of `other`, which then owns none.
  constexpr owned(owned&& other) noexcept : Ref(other.release()) {}
  /// Closes the own descriptor and takes over the one of `other`, which then owns none.
  constexpr owned& operator=(owned&& other) noexcept {
    if (this != &other) replace(other.release());
    return *this;
  }
  constexpr ~owned() { replace(Ref()); }

  /// Returns a view that does not own the descriptor. It is valid until the descriptor is closed,
  /// even if the owner is moved.
  [[nodiscard]] constexpr Ref borrow() const noexcept { return *this; }
  /// Gives the descriptor to the caller, who must close it.
  [[nodiscard]] constexpr Ref release() noexcept {
    const Ref ref = borrow();
    static_cast<Ref&>(*this) = Ref();
    return ref;
  }
  /// Returns true if this object owns a descriptor.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return this->fd() >= 0; }

 private:
  constexpr void replace(const Ref& ref) noexcept {
    const basic_unique_fd<system_type> closed(this->fd(), this->system_calls());
    static_cast<Ref&>(*this) = ref;
  }
};

}  // namespace kvm_vfio::native
