// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Texts for the reports of test frameworks. GoogleTest finds the functions `PrintTo` by itself.
/// For Catch2 there is catch2.hpp.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>

#include <concepts>
#include <ostream>
#include <string>

namespace kvm_vfio::trace {
struct call;
struct report;
enum class rule : unsigned char;
}  // namespace kvm_vfio::trace
namespace kvm_vfio::sim {
struct snapshot;
}  // namespace kvm_vfio::sim

namespace kvm_vfio {

/// Writes an error as its name ("EBUSY"), or as "error 12345" if the error has no name.
[[nodiscard]] inline std::string to_string(errc e) {
  return has_name(e) ? name(e) : "error " + std::to_string(static_cast<int>(e));
}

namespace testing {
/// Writes an object with the function `to_string` or `to_text` of its namespace.
template <class T>
[[nodiscard]] std::string printed(const T& object) {
  if constexpr (requires { to_string(object); }) {
    return to_string(object);
  } else {
    static_assert(
        requires { to_text(object); },
        "the text of this type is in a header of its own: include <kvm_vfio/trace/call_text.hpp>, "
        "<kvm_vfio/trace/checker.hpp>, <kvm_vfio/trace/rules.hpp> or "
        "<kvm_vfio/sim/snapshot_text.hpp>");
    return to_text(object);
  }
}
}  // namespace testing

/// Writes a result: the name of its error, or its value. If the value has no text, the text is
/// "success".
template <class T>
[[nodiscard]] std::string to_string(const result<T>& r) {
  if (!r) return to_string(r.error());
  if constexpr (std::same_as<T, bool>) return *r ? "true" : "false";
  else if constexpr (requires { std::to_string(*r); }) return std::to_string(*r);
  else if constexpr (requires { std::string(to_string(*r)); }) return to_string(*r);
  else if constexpr (requires { std::string(*r); }) return std::string(*r);
  else return "success";
}

// GoogleTest looks for a function with this name in the namespace of the printed type.
/// Writes an error to a stream, as `to_string` does.
inline void PrintTo(errc e, std::ostream* to) { *to << to_string(e); }
/// Writes a result to a stream, as `to_string` does.
template <class T>
void PrintTo(const result<T>& r, std::ostream* to) {
  *to << to_string(r);
}

}  // namespace kvm_vfio

namespace kvm_vfio::trace {
/// Writes a call, a report or a rule to a stream, as `to_string` does.
template <class T>
  requires std::same_as<T, call> || std::same_as<T, report> || std::same_as<T, rule>
void PrintTo(const T& object, std::ostream* to) {
  *to << kvm_vfio::testing::printed(object);
}
}  // namespace kvm_vfio::trace

namespace kvm_vfio::sim {
/// Writes a snapshot to a stream, as `to_text` does.
template <class T>
  requires std::same_as<T, snapshot>
void PrintTo(const T& object, std::ostream* to) {
  *to << kvm_vfio::testing::printed(object);
}
}  // namespace kvm_vfio::sim
