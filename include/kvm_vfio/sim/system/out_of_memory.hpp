// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a request needs to change nothing if there is no memory: a function that turns
/// std::bad_alloc into `errc::nomem`, and a class that takes the first steps back.

#include <kvm_vfio/errc.hpp>

#include <new>
#include <utility>

namespace kvm_vfio::sim::detail {

/// Returns what a function returns, or `errc::nomem` if the function throws std::bad_alloc.
template <class Function>
[[nodiscard]] auto attempt(Function function) noexcept -> decltype(function()) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return errc::nomem;
  }
}

/// Calls a function at the end of the scope, unless `keep` was called. So the function is also
/// called if a later step throws std::bad_alloc.
template <class Function>
class undo {
 public:
  /// \param function takes the steps back; must not throw
  explicit undo(Function function) noexcept : function_(std::move(function)) {}
  undo(const undo&) = delete;
  undo& operator=(const undo&) = delete;
  ~undo() {
    if (!kept_) function_();
  }
  /// Keeps the steps: all later steps have succeeded.
  void keep() noexcept { kept_ = true; }

 private:
  Function function_;
  bool kept_ = false;
};
template <class Function>
undo(Function) -> undo<Function>;

}  // namespace kvm_vfio::sim::detail
