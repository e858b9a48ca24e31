// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Random numbers, which are equal for equal seeds on every machine.

#include <cstdint>
#include <initializer_list>

namespace vfio_lockstep {

/// A source of random numbers.
class random {
 public:
  explicit random(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  int below(int n) noexcept { return static_cast<int>((next() >> 33) % static_cast<unsigned>(n)); }
  bool percent(int p) noexcept { return below(100) < p; }
  template <class T>
  T of(std::initializer_list<T> choices) noexcept {
    return *(choices.begin() + below(static_cast<int>(choices.size())));
  }

 private:
  std::uint64_t state_;
};

}  // namespace vfio_lockstep
