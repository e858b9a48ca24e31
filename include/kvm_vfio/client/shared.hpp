// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// How the objects of a client share a state: the last one of them destroys it.

#include <kvm_vfio/detail/ref_count.hpp>

namespace kvm_vfio::client::detail {

/// The base of a state that several objects share. A new state has one reference.
class counted {
 public:
  counted() = default;
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;

 protected:
  ~counted() = default;

 private:
  template <class State>
  friend class shared;
  kvm_vfio::detail::ref_count references_;
};

/// A reference on a state on the heap, or none. The last reference deletes the state. Different
/// threads may use different references on one state.
/// \tparam State a class derived from `counted`
template <class State>
class shared {
 public:
  shared() = default;
  /// Takes over the first reference on a new state. `made` may be null.
  explicit shared(State* made) noexcept : state_(made) {}
  shared(const shared& other) noexcept : state_(other.state_) {
    if (state_) state_->references_.get();
  }
  shared(shared&& other) noexcept : state_(other.state_) { other.state_ = nullptr; }
  shared& operator=(shared other) noexcept {
    State* const mine = state_;
    state_ = other.state_;
    other.state_ = mine;
    return *this;
  }
  ~shared() {
    if (state_ && state_->references_.put()) delete state_;
  }

  /// Returns true if no other reference on the state exists.
  [[nodiscard]] bool sole() const noexcept { return state_->references_.value() == 1; }
  [[nodiscard]] State* operator->() const noexcept { return state_; }
  [[nodiscard]] State& operator*() const noexcept { return *state_; }
  [[nodiscard]] State* get() const noexcept { return state_; }
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  State* state_ = nullptr;
};

}  // namespace kvm_vfio::client::detail
