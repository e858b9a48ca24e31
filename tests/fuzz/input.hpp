// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The bytes that a fuzzer gets, read as numbers, and the check that ends the program.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace fuzz {

/// Ends the program if a condition does not hold. libFuzzer then keeps the input.
/// \param holds     the condition
/// \param otherwise what is wrong
inline void require(bool holds, const char* otherwise) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %s\n", otherwise);
  std::abort();
}

/// Reads numbers from the bytes of an input. Behind its end every number is 0.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size) noexcept : at_(data), end_(data + size) {}

  [[nodiscard]] bool empty() const noexcept { return at_ == end_; }
  [[nodiscard]] std::uint8_t byte() noexcept { return empty() ? std::uint8_t{0} : *at_++; }
  /// Reads a number of so many bytes, the lowest byte first.
  [[nodiscard]] std::uint64_t number(int bytes = 8) noexcept {
    std::uint64_t out = 0;
    for (int i = 0; i < bytes; ++i) out |= std::uint64_t{byte()} << (8 * i);
    return out;
  }
  /// Reads one byte as a number below `n`, which is at most 256.
  [[nodiscard]] unsigned below(std::size_t n) noexcept {
    return n < 2 ? 0 : byte() % static_cast<unsigned>(n);
  }
  /// Reads one byte. Returns true for about one of `n` bytes, and false at the end of the input.
  [[nodiscard]] bool one_of(unsigned n) noexcept { return !empty() && byte() % n == n - 1; }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace fuzz
