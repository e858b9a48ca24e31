// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the objects of all steps have in common.

#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/errc.hpp>

namespace kvm_vfio::client {

/// The return type of the deleted functions that refuse a step without std::move. A step empties
/// its object. So the caller writes `std::move(group).join(container)`, and not
/// `group.join(container)`. This name stands in the compiler's message.
struct this_step_needs_std_move {};

/// The base of every step. It refers to an open file and to the steps that were done with the file.
/// A step can be moved and not copied. The object that was moved from is empty.
/// \tparam State what the steps of a file share
template <class State>
class step {
 public:
  /// Returns a view of the descriptor of the group or of the device. The view is empty if this
  /// object is empty.
  [[nodiscard]] auto view() const noexcept {
    using ref = decltype(state_->file().borrow());
    return state_ ? state_->file().borrow() : ref();
  }
  /// Returns true if this object is not empty. It is empty after a step has succeeded, and after it
  /// was moved from.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  /// Undoes all steps up to this one at once, the last step first, and reports the first error. The
  /// destructor does the same and reports no error. If this object is empty, returns ok.
  /// \par Errors
  /// - `errc::busy`: another object needs the steps: a mapped region of the device, a device of the
  ///   group, or another object of the group. Nothing was changed.
  /// - each error of the calls that undo the steps. This object is empty afterwards.
  [[nodiscard]] errc close() noexcept {
    if (!state_) return errc::ok;
    if (!state_.sole()) return errc::busy;
    const errc e = state_->undo();
    state_ = {};
    return e;
  }
  /// Gives the descriptor of the group or of the device to the caller, who undoes the steps and
  /// closes the descriptor. The function makes no call. The class of this step has a function
  /// `adopt`, which makes such an object of the descriptor again. This object is empty afterwards.
  ///
  /// Returns an empty view if another object needs the steps, as `close` lists them. Nothing was
  /// changed then.
  [[nodiscard]] auto release() noexcept {
    using ref = decltype(state_->file().borrow());
    if (!state_ || !state_.sole()) return ref();
    const ref file = state_->release();
    state_ = {};
    return file;
  }

 protected:
  /// A reference on what the steps share.
  using state_ref = detail::shared<State>;

  step() = default;
  /// Makes a step of a state.
  explicit step(state_ref state) noexcept : state_(static_cast<state_ref&&>(state)) {}
  /// Takes over what `other` has. `other` is empty afterwards.
  step(step&& other) noexcept = default;
  /// Undoes the own steps and takes over what `other` has. `other` is empty afterwards.
  step& operator=(step&& other) noexcept = default;
  ~step() = default;

  /// What the steps share. Empty: none.
  state_ref state_;
};

}  // namespace kvm_vfio::client
