// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Random numbers, which are equal for equal seeds on every machine. The bytes of an input can take
/// the place of the random numbers.

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// A source of random numbers. Draw two numbers in two statements: compilers differ in the order in
/// which they evaluate the arguments of a call.
class random {
 public:
  explicit random(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  /// Takes the numbers from the bytes of an input. After its end every number is 0.
  explicit random(std::vector<unsigned char> input) noexcept
      : of_input_(true), input_(std::move(input)) {}
  /// Returns whether the numbers are from an input and all its bytes are used.
  [[nodiscard]] bool ended() const noexcept { return of_input_ && at_ == input_.size(); }
  std::uint64_t next() noexcept {
    if (of_input_) return take(8);
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1d;
  }
  int below(int n) noexcept {
    if (of_input_) return static_cast<int>(take(n <= 256 ? 1 : 2) % static_cast<unsigned>(n));
    return static_cast<int>((next() >> 33) % static_cast<unsigned>(n));
  }
  bool percent(int p) noexcept { return below(100) < p; }
  template <class T>
  T of(std::initializer_list<T> choices) noexcept {
    return *(choices.begin() + below(static_cast<int>(choices.size())));
  }

 private:
  // So many bytes as a number, the lowest byte first.
  std::uint64_t take(int bytes) noexcept {
    std::uint64_t number = 0;
    for (int i = 0; i < bytes && at_ < input_.size(); ++i)
      number |= std::uint64_t{input_[at_++]} << (8 * i);
    return number;
  }

  std::uint64_t state_ = 0;
  bool of_input_ = false;
  std::vector<unsigned char> input_{};
  std::size_t at_ = 0;
};

}  // namespace vfio_lockstep
