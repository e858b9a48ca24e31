// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What differs in kvm-vfio between the Linux releases that the library models. A profile is a set
/// of constants. `device` reads them where the releases behave differently.

#include <kvm_vfio/symbols.hpp>

#include <type_traits>

namespace kvm_vfio {

/// One Linux release. Its constants are known at compile time.
template <class P>
concept profile = requires(const char*& text) {
  // A profile has no state.
  P();
  // The release's name for messages, for example "Linux 7.3".
  text = P::name;
  // The symbol that tells whether a file is a VFIO file.
  typename std::integral_constant<symbol, P::validity>;
  // If true, ADD calls start_assignment. DEL and the destructor call end_assignment.
  typename std::bool_constant<P::counts_assignments>;
  // If true, ADD and DEL release the lock and take it again before they update coherency.
  typename std::bool_constant<P::updates_coherency_apart>;
  // If true, DEL of a file that is not tracked updates coherency, too.
  typename std::bool_constant<P::updates_coherency_on_noent>;
  // If true, DEL unlinks the entry before it calls set_kvm. If false, DEL unlinks it afterwards.
  typename std::bool_constant<P::del_unlinks_first>;
  // If true, the entry keeps the reference that ADD looked up. If false, it takes another.
  typename std::bool_constant<P::add_keeps_looked_up>;
  // If true, VFIO reports a group without a container as coherent. (kvm-vfio only asks.)
  typename std::bool_constant<P::group_without_container_is_coherent>;
};

// There is one struct for each release, with every constant. To describe another release, derive
// from the nearest of them and define the constants that differ.

/// Linux 6.1 (long-term support). Its kvm-vfio accepts group files only.
struct linux_6_1 {
  ///@{
  /// The facts of this release. The concept `profile` says what each one means.
  static constexpr const char* name = "Linux 6.1";
  static constexpr symbol validity = symbol::file_is_group;
  static constexpr bool counts_assignments = true;
  static constexpr bool updates_coherency_apart = true;
  static constexpr bool updates_coherency_on_noent = true;
  static constexpr bool del_unlinks_first = true;
  static constexpr bool add_keeps_looked_up = true;
  static constexpr bool group_without_container_is_coherent = true;
  ///@}
};
static_assert(profile<linux_6_1>);

/// Linux 6.12 (long-term support).
struct linux_6_12 {
  ///@{
  /// The facts of this release. The concept `profile` says what each one means.
  static constexpr const char* name = "Linux 6.12";
  static constexpr symbol validity = symbol::file_is_valid;
  static constexpr bool counts_assignments = true;
  static constexpr bool updates_coherency_apart = false;
  static constexpr bool updates_coherency_on_noent = true;
  static constexpr bool del_unlinks_first = true;
  static constexpr bool add_keeps_looked_up = false;
  static constexpr bool group_without_container_is_coherent = false;
  ///@}
};
static_assert(profile<linux_6_12>);

/// Linux 7.3, the default profile.
struct linux_7_3 {
  ///@{
  /// The facts of this release. The concept `profile` says what each one means.
  static constexpr const char* name = "Linux 7.3";
  static constexpr symbol validity = symbol::file_is_valid;
  static constexpr bool counts_assignments = false;
  static constexpr bool updates_coherency_apart = false;
  static constexpr bool updates_coherency_on_noent = false;
  static constexpr bool del_unlinks_first = false;
  static constexpr bool add_keeps_looked_up = false;
  static constexpr bool group_without_container_is_coherent = false;
  ///@}
};
static_assert(profile<linux_7_3>);

}  // namespace kvm_vfio
