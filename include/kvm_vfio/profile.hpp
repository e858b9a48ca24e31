// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What differs in kvm-vfio between the Linux releases that are modelled. A profile is a set of
/// facts; `device` reads them where the releases differ.

#include <kvm_vfio/symbols.hpp>

#include <type_traits>

namespace kvm_vfio {

/// One Linux release. Its facts are known at compile time.
template <class P>
concept profile = requires(const char*& text) {
  // A profile has no state.
  P();
  // The release's name, for people ("Linux 7.3").
  text = P::name;
  // The symbol that answers whether a file is a VFIO file.
  typename std::integral_constant<symbol, P::validity>;
  // start_assignment and end_assignment are called around a file's stay.
  typename std::bool_constant<P::counts_assignments>;
  // ADD and DEL update coherency after the unlock, in a critical section of its own.
  typename std::bool_constant<P::updates_coherency_apart>;
  // DEL of a file that is not tracked updates coherency all the same.
  typename std::bool_constant<P::updates_coherency_on_noent>;
  // DEL unlinks the entry before it tells anybody, not after.
  typename std::bool_constant<P::del_unlinks_first>;
  // ADD's looked-up file reference becomes the entry's; the entry takes none of its own.
  typename std::bool_constant<P::add_keeps_looked_up>;
  // A VFIO group without a container reads as coherent (an answer of VFIO's, not of the device's).
  typename std::bool_constant<P::group_without_container_is_coherent>;
};

// The written table: one struct for each release, with every fact. A profile of your own derives
// from the release that it is nearest to, and says what is different.

/// Linux 6.1 (long-term): group files only.
struct linux_6_1 {
  static constexpr const char* name = "Linux 6.1";
  static constexpr symbol validity = symbol::file_is_group;
  static constexpr bool counts_assignments = true;
  static constexpr bool updates_coherency_apart = true;
  static constexpr bool updates_coherency_on_noent = true;
  static constexpr bool del_unlinks_first = true;
  static constexpr bool add_keeps_looked_up = true;
  static constexpr bool group_without_container_is_coherent = true;
};
static_assert(profile<linux_6_1>);

/// Linux 6.12 (long-term).
struct linux_6_12 {
  static constexpr const char* name = "Linux 6.12";
  static constexpr symbol validity = symbol::file_is_valid;
  static constexpr bool counts_assignments = true;
  static constexpr bool updates_coherency_apart = false;
  static constexpr bool updates_coherency_on_noent = true;
  static constexpr bool del_unlinks_first = true;
  static constexpr bool add_keeps_looked_up = false;
  static constexpr bool group_without_container_is_coherent = false;
};
static_assert(profile<linux_6_12>);

/// Linux 7.3, the default.
struct linux_7_3 {
  static constexpr const char* name = "Linux 7.3";
  static constexpr symbol validity = symbol::file_is_valid;
  static constexpr bool counts_assignments = false;
  static constexpr bool updates_coherency_apart = false;
  static constexpr bool updates_coherency_on_noent = false;
  static constexpr bool del_unlinks_first = false;
  static constexpr bool add_keeps_looked_up = false;
  static constexpr bool group_without_container_is_coherent = false;
};
static_assert(profile<linux_7_3>);

}  // namespace kvm_vfio
