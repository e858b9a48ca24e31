// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What key.cpp and device_key.cpp share: the members of an argument.

#include "combinations.hpp"
#include "step.hpp"
#include "view.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace vfio_lockstep {

/// Returns a member of the argument, or 0 if the argument is too short.
/// \param offset in bytes
template <class T>
[[nodiscard]] T at(const step& s, std::size_t offset) {
  T value{};
  if (s.argument.size() >= offset + sizeof value)
    std::memcpy(&value, s.argument.data() + offset, sizeof value);
  return value;
}
[[nodiscard]] inline std::uint32_t word(const step& s, std::size_t offset) {
  return at<std::uint32_t>(s, offset);
}
[[nodiscard]] inline std::uint64_t quad(const step& s, std::size_t offset) {
  return at<std::uint64_t>(s, offset);
}

/// Returns the kind of the file that a descriptor in an argument stands for.
[[nodiscard]] inline std::string file_in_words(ref of) {
  if (of.what == kind::closed || of.what == kind::minus_one) return "no file";
  return name_of(of.what);
}
/// Returns the first descriptor or address in the argument. Null: there is none.
[[nodiscard]] inline const patch* first_patch(const step& s) {
  return s.patches.empty() ? nullptr : &s.patches[0];
}

/// Returns which combination a request of a device is.
[[nodiscard]] std::string device_key(const step& s, const view& now);
/// Returns which combination a read, a write or a mapping of a region is.
[[nodiscard]] std::string region_key(const step& s, const view& now, const machine& m);

}  // namespace vfio_lockstep
