// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Makes Catch2 (2.13 or 3) print errors, results, rules, reports, calls and snapshots as text. A
/// failed check then shows "EBUSY == OK". Include this header in each file that has such checks.
/// For a type of trace/ or sim/ also include the header that has its text: call_text.hpp,
/// checker.hpp, rules.hpp or snapshot_text.hpp.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/testing/print.hpp>

#include <string>

namespace kvm_vfio::testing {
/// The base of the specialisations below.
template <class T>
struct catch2_text {
  /// Returns the text of an object.
  [[nodiscard]] static std::string convert(const T& object) { return printed(object); }
};
}  // namespace kvm_vfio::testing

namespace Catch {

// Catch2's template, which this header does not include.
template <class T, class>
struct StringMaker;

/// Prints a result.
template <class T>
struct StringMaker<kvm_vfio::result<T>, void>
    : kvm_vfio::testing::catch2_text<kvm_vfio::result<T>> {};
/// Prints an error.
template <>
struct StringMaker<kvm_vfio::errc, void> : kvm_vfio::testing::catch2_text<kvm_vfio::errc> {};
/// Prints a rule of the checker.
template <>
struct StringMaker<kvm_vfio::trace::rule, void>
    : kvm_vfio::testing::catch2_text<kvm_vfio::trace::rule> {};
/// Prints a report of the checker.
template <>
struct StringMaker<kvm_vfio::trace::report, void>
    : kvm_vfio::testing::catch2_text<kvm_vfio::trace::report> {};
/// Prints a system call.
template <>
struct StringMaker<kvm_vfio::trace::call, void>
    : kvm_vfio::testing::catch2_text<kvm_vfio::trace::call> {};
/// Prints a snapshot of the simulator.
template <>
struct StringMaker<kvm_vfio::sim::snapshot, void>
    : kvm_vfio::testing::catch2_text<kvm_vfio::sim::snapshot> {};

}  // namespace Catch
