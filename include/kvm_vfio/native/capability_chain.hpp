// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The answer of an ioctl of VFIO with a chain of capabilities behind it. Each capability has the
/// offset of the next one. No offset and no count is believed before it is checked.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio::detail {

/// Where a capability has a list of pairs of 64-bit numbers.
struct pair_list {
  std::size_t at = 0;     ///< the offset of the first pair
  std::size_t count = 0;  ///< the number of pairs, which the answer contains in full
};

/// A buffer for one answer, which starts with its `argsz`.
class capability_chain {
 public:
  /// The size of the buffer in bytes.
  static constexpr std::uint32_t capacity = 4096;

  /// Returns the buffer, for the ioctl.
  [[nodiscard]] unsigned char* data() noexcept { return bytes_; }

  /// Writes a number into the buffer.
  void put(std::size_t at, std::uint32_t number) noexcept {
    __builtin_memcpy(bytes_ + at, &number, sizeof number);
  }
  /// Reads a number. `at` is in the buffer.
  [[nodiscard]] std::uint32_t u32(std::size_t at) const noexcept { return get<std::uint32_t>(at); }
  /// Reads a number. `at` is in the buffer.
  [[nodiscard]] std::uint64_t u64(std::size_t at) const noexcept { return get<std::uint64_t>(at); }

  /// Finds the capability `id` of version 1.
  /// \param first the offset of the first capability, 0 if there is none
  /// \return the offset of the capability
  /// \par Errors
  /// - `errc::noent`: the chain has no such capability
  /// - `errc::msgsize`: the answer does not fit the buffer
  /// - `errc::proto`: an offset points outside of the answer, or the chain has a loop
  [[nodiscard]] result<std::size_t> find(std::uint16_t id, std::size_t first) const noexcept {
    if (size() > capacity) return errc::msgsize;
    // A chain with more capabilities than fit the answer has a loop.
    std::size_t most = size() / sizeof(vfio_info_cap_header);
    for (std::size_t at = first; at != 0; at = u32(at + offsetof(vfio_info_cap_header, next))) {
      if (!holds(at, sizeof(vfio_info_cap_header)) || most-- == 0) return errc::proto;
      if (get<std::uint16_t>(at + offsetof(vfio_info_cap_header, id)) == id &&
          get<std::uint16_t>(at + offsetof(vfio_info_cap_header, version)) == 1)
        return at;
    }
    return errc::noent;
  }
  /// Finds the pairs of a capability whose header is followed by their number (32 bits), by 32 bits
  /// without meaning, and by the pairs.
  /// \param at what `find` returned
  /// \par Errors
  /// - `errc::proto`: the list ends outside of the answer
  [[nodiscard]] result<pair_list> list(std::size_t at) const noexcept {
    const std::size_t number = at + sizeof(vfio_info_cap_header);
    const std::size_t begin = number + 2 * sizeof(std::uint32_t);
    if (!holds(number, 2 * sizeof(std::uint32_t))) return errc::proto;
    const std::size_t count = u32(number);
    if (count > (size() - begin) / pair_size) return errc::proto;
    return pair_list{.at = begin, .count = count};
  }
  /// Reads the first number of pair `i` of a list.
  [[nodiscard]] std::uint64_t first(const pair_list& list, std::size_t i) const noexcept {
    return u64(list.at + i * pair_size);
  }
  /// Reads the second number of pair `i` of a list.
  [[nodiscard]] std::uint64_t second(const pair_list& list, std::size_t i) const noexcept {
    return u64(list.at + i * pair_size + sizeof(std::uint64_t));
  }
  /// Reads the 32-bit number that follows the header of a capability.
  /// \param at what `find` returned
  /// \par Errors
  /// - `errc::proto`: the number lies outside of the answer
  [[nodiscard]] result<std::uint32_t> number(std::size_t at) const noexcept {
    const std::size_t where = at + sizeof(vfio_info_cap_header);
    if (!holds(where, sizeof(std::uint32_t))) return errc::proto;
    return u32(where);
  }

 private:
  static constexpr std::size_t pair_size = 2 * sizeof(std::uint64_t);

  // The size of the answer: `argsz`, as the kernel left it.
  [[nodiscard]] std::size_t size() const noexcept { return u32(0); }
  [[nodiscard]] bool holds(std::size_t at, std::size_t length) const noexcept {
    return at <= size() && length <= size() - at;
  }
  template <class Number>
  [[nodiscard]] Number get(std::size_t at) const noexcept {
    Number number{};
    __builtin_memcpy(&number, bytes_ + at, sizeof number);
    return number;
  }

  alignas(std::uint64_t) unsigned char bytes_[capacity] = {};
};

}  // namespace kvm_vfio::native::vfio::detail
