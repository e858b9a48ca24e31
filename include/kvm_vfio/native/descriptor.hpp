// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A descriptor and the system that it belongs to: the base of all views of descriptors.

#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <fcntl.h>

#include <cstdint>
#include <type_traits>

namespace kvm_vfio::native {

/// A descriptor of a system. Does not own the descriptor. It is as large as an `int` if the system
/// has no state.
/// \tparam System the system whose descriptor it is; `host` is the running kernel
template <system System>
class descriptor {
 public:
  /// The system whose descriptor it is.
  using system_type = System;

  constexpr descriptor() noexcept = default;
  /// Makes a view of the descriptor `fd` of the system `of`. The view never closes the descriptor.
  constexpr explicit descriptor(int fd, const System& of = System()) noexcept
      : fd_(fd), system_(of) {}

  /// Returns the descriptor, or -1 if there is none.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }
  /// Returns the system whose descriptor it is.
  [[nodiscard]] constexpr const System& system_calls() const& noexcept { return system_; }
  /// Returns a copy, because a reference would outlive this object.
  [[nodiscard]] constexpr System system_calls() const&& noexcept { return system_; }

 protected:
  /// Makes an ioctl whose argument is the address of an object.
  /// \return what the ioctl returned
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<int> request(unsigned long number, const void* argument) const noexcept {
    return system_.ioctl(fd_, number, reinterpret_cast<std::uintptr_t>(argument));
  }
  /// Makes an ioctl whose argument is a number.
  /// \return what the ioctl returned
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<int> request(unsigned long number,
                                    unsigned long argument = 0) const noexcept {
    return system_.ioctl(fd_, number, argument);
  }
  /// Opens a file for reading and writing.
  /// \tparam Ref the class of the view of which an owner is returned
  /// \param at the path of the file
  /// \param on the system that opens the file
  /// \par Errors
  /// - each error of open(2)
  template <class Ref>
  [[nodiscard]] static result<owned<Ref>> open_as(const char* at, const System& on) noexcept {
    const result<int> fd = on.open(at, O_RDWR);
    if (!fd) return fd.error();
    return owned<Ref>(basic_unique_fd<System>(*fd, on));
  }

 private:
  int fd_ = -1;
  [[no_unique_address]] System system_{};
};
static_assert(sizeof(descriptor<host>) == sizeof(int));

namespace detail {
// The system of a call that names none. Only a system without state needs no name.
template <system System>
[[nodiscard]] constexpr System only() noexcept {
  static_assert(std::is_empty_v<System>,
                "the system must be passed: this type of system has more than one object");
  return System();
}
}  // namespace detail

}  // namespace kvm_vfio::native
