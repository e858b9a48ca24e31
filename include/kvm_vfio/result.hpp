// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A value or the error that prevented it.

#include <kvm_vfio/errc.hpp>

#include <concepts>
#include <type_traits>

namespace kvm_vfio {

/// A `T`, or the error that prevented it. Every handle of this library has an empty state (it is
/// the moved-from one), so a result needs no union and costs no header.
/// \tparam T default-constructible and movable without exceptions
template <class T>
  requires std::is_nothrow_default_constructible_v<T> && std::is_nothrow_move_constructible_v<T>
class [[nodiscard]] result {
 public:
  /// A success that carries `value`.
  constexpr result(T value) noexcept : value_(static_cast<T&&>(value)) {}
  /// A failure. \pre `error != errc::ok`; a success without a value is a bug and traps.
  constexpr result(errc error) noexcept : error_(error) {
    if (error == errc::ok) __builtin_trap();
  }

  /// Whether it is a success.
  [[nodiscard]] constexpr bool has_value() const noexcept { return error_ == errc::ok; }
  /// Whether it is a success.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return has_value(); }
  /// The error; `errc::ok` for a success.
  [[nodiscard]] constexpr errc error() const noexcept { return error_; }

  /// The value. \pre `has_value()`; a failure traps, in every build.
  [[nodiscard]] constexpr T& value() & noexcept { return checked(); }
  [[nodiscard]] constexpr const T& value() const& noexcept { return checked(); }
  [[nodiscard]] constexpr T value() && noexcept { return static_cast<T&&>(checked()); }
  /// As `value()`.
  [[nodiscard]] constexpr T& operator*() & noexcept { return checked(); }
  [[nodiscard]] constexpr const T& operator*() const& noexcept { return checked(); }
  [[nodiscard]] constexpr T operator*() && noexcept { return static_cast<T&&>(checked()); }
  /// A member of the value, on the same condition.
  [[nodiscard]] constexpr T* operator->() & noexcept { return &checked(); }
  [[nodiscard]] constexpr const T* operator->() const& noexcept { return &checked(); }
  /// Not of a temporary: what it points to, an owner perhaps, would go at once. `value()` says so.
  constexpr const T* operator->() const&& = delete;

 private:
  [[nodiscard]] constexpr T& checked() noexcept {
    if (!has_value()) __builtin_trap();
    return value_;
  }
  [[nodiscard]] constexpr const T& checked() const noexcept {
    if (!has_value()) __builtin_trap();
    return value_;
  }

  T value_{};
  errc error_ = errc::ok;
};

}  // namespace kvm_vfio
