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
  shared& operator=(const shared& other) noexcept {
    if (this != &other) *this = shared(other);
    return *this;
  }
  shared& operator=(shared&& other) noexcept {
    State* const taken = other.state_;
    other.state_ = nullptr;  // first, so that an object may be assigned to itself
    State* const mine = state_;
    state_ = taken;
    put(mine);
    return *this;
  }
  ~shared() { put(state_); }

  /// Returns true if no other reference on the state exists.
  [[nodiscard]] bool sole() const noexcept { return state_->references_.value() == 1; }
  [[nodiscard]] State* operator->() const noexcept { return state_; }
  [[nodiscard]] State& operator*() const noexcept { return *state_; }
  [[nodiscard]] State* get() const noexcept { return state_; }
  [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  static void put(State* state) noexcept {
    if (state && state->references_.put()) destroy(state);
  }
  // Its own function, so that `put` is a few instructions in each caller.
  [[gnu::noinline]] static void destroy(State* state) noexcept { delete state; }

  State* state_ = nullptr;
};

/// Memory for one object inside another object, so that the first object needs no allocation.
/// Different threads may use the functions at the same time.
template <class T>
class place {
 public:
  /// Returns the memory, which now is taken. Null: the memory is taken already.
  [[nodiscard]] void* take() noexcept {
    return __atomic_exchange_n(&taken_, true, __ATOMIC_ACQUIRE) ? nullptr : bytes_;
  }
  /// Makes the memory free again. The object in the memory must be destroyed already.
  void give_back() noexcept { __atomic_store_n(&taken_, false, __ATOMIC_RELEASE); }
  /// Returns true if an object is in this memory.
  [[nodiscard]] bool has(const T* object) const noexcept {
    return static_cast<const void*>(object) == bytes_;
  }

 private:
  alignas(T) unsigned char bytes_[sizeof(T)];
  bool taken_ = false;
};

}  // namespace kvm_vfio::client::detail
