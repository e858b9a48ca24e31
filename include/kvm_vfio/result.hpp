// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A type that holds a value, or the error that explains why there is no value.

#include <kvm_vfio/errc.hpp>

#include <type_traits>

namespace kvm_vfio {

/// Holds a `T` or an error. After an error the object holds a default-constructed `T`. Therefore it
/// needs no union, and this header stays cheap.
/// \tparam T a type whose default constructor and move constructor do not throw
template <class T>
class [[nodiscard]] result {
  // Not a constraint, so that a class may declare a function that returns a result of the class.
  static_assert(std::is_nothrow_default_constructible_v<T> &&
                    std::is_nothrow_move_constructible_v<T>,
                "a result holds only a type whose default and move constructors are noexcept");

 public:
  /// Makes a success that holds `value`.
  constexpr result(T value) noexcept : value_(static_cast<T&&>(value)) {}
  /// Makes a failure. Traps if `error` is `errc::ok`, because a success needs a value.
  /// \pre `error != errc::ok`
  constexpr result(errc error) noexcept : error_(error) {
    if (error == errc::ok) __builtin_trap();
  }

  /// Returns true for a success.
  [[nodiscard]] constexpr bool has_value() const noexcept { return error_ == errc::ok; }
  /// Returns true for a success.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return has_value(); }
  /// Returns the error, or `errc::ok` for a success.
  [[nodiscard]] constexpr errc error() const noexcept { return error_; }

  ///@{
  /// Returns the value. Traps in every build if there is none.
  /// \pre `has_value()`
  [[nodiscard]] constexpr T& value() & noexcept { return checked(); }
  [[nodiscard]] constexpr const T& value() const& noexcept { return checked(); }
  [[nodiscard]] constexpr T value() && noexcept { return static_cast<T&&>(checked()); }
  ///@}
  ///@{
  /// Returns the value. Traps in every build if there is none.
  /// \pre `has_value()`
  [[nodiscard]] constexpr T& operator*() & noexcept { return checked(); }
  [[nodiscard]] constexpr const T& operator*() const& noexcept { return checked(); }
  [[nodiscard]] constexpr T operator*() && noexcept { return static_cast<T&&>(checked()); }
  ///@}
  ///@{
  /// Gives access to a member of the value. Traps in every build if there is none.
  /// \pre `has_value()`
  [[nodiscard]] constexpr T* operator->() & noexcept { return &checked(); }
  [[nodiscard]] constexpr const T* operator->() const& noexcept { return &checked(); }
  ///@}
  /// Deleted for temporaries: the pointer would outlive the value. Use `value()` instead.
  constexpr const T* operator->() const&& = delete;
  /// Passes the value to `next`, and returns what `next` returns. After a failure `next` is not
  /// called, and the new result has the error. So calls that need each other's value stand in one
  /// expression.
  /// \param next a function that takes a `T` and returns a `result` of any type
  template <class Next>
  [[nodiscard]] constexpr std::invoke_result_t<Next, T> and_then(Next&& next) && noexcept(
      std::is_nothrow_invocable_v<Next, T>) {
    if (!has_value()) return error_;
    return static_cast<Next&&>(next)(static_cast<T&&>(value_));
  }

  ///@{
  /// Returns the value, or `other` after an error.
  [[nodiscard]] constexpr T value_or(T other) const& noexcept
    requires std::is_nothrow_copy_constructible_v<T>
  {
    // With the operator ?:, Clang 14 copies `other`.
    if (has_value()) return value_;
    return other;
  }
  [[nodiscard]] constexpr T value_or(T other) && noexcept {
    return static_cast<T&&>(has_value() ? value_ : other);
  }
  ///@}

  /// Returns true if `a` is a success and its value equals `b`.
  [[nodiscard]] friend constexpr bool operator==(const result& a, const T& b) noexcept
    requires requires(const T& value) {
      { value == value } noexcept;
    }
  {
    return a.has_value() && a.value_ == b;
  }
  /// Returns true if the error of `a` is `b`. A success equals `errc::ok`.
  [[nodiscard]] friend constexpr bool operator==(const result& a, errc b) noexcept {
    return a.error_ == b;
  }

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
