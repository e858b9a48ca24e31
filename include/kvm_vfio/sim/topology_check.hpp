// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a right topology is: one check for topologies from code, from JSON and from sysfs.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology_error.hpp>

namespace kvm_vfio::sim {

/// Looks for everything that is wrong with a topology. A right one has
/// - names, group numbers and device file numbers that nobody else has, IOMMUs that exist;
/// - ranges whose first address is not behind their last one, pages of at least 4 KiB;
/// - at most six BARs, a 64-bit one followed by an empty one, sizes that are powers of two,
///   addresses that are multiples of the size;
/// - numbers of vectors that PCI allows, the MSI-X table and its pending bits inside a memory BAR
///   and apart from each other;
/// - capabilities that do not overlap, and say what the other members of `pci_spec` say.
/// \return what is wrong where, in the order of the topology; empty: nothing
[[nodiscard]] topology_errors check(const topology& t);

/// A topology that was checked. A `world` is made of nothing else, so no world can stand on a wrong
/// one.
class checked_topology {
 public:
  /// Implicit, so that a test can hand a topology that it wrote in code to a `world`.
  /// Data from outside comes through topology_json.hpp and topology_sysfs.hpp, which return the
  /// errors instead.
  /// \throw invalid_topology says what is wrong where; compiled without exceptions it prints that
  ///        and ends the program
  checked_topology(const topology& t);  // NOLINT(google-explicit-constructor)
  /// \copydoc checked_topology(const topology&)
  checked_topology(topology&& t);  // NOLINT(google-explicit-constructor)
  /// Copies what was checked.
  checked_topology(const checked_topology&);
  /// Takes what was checked.
  checked_topology(checked_topology&&) noexcept;
  /// Copies what was checked.
  checked_topology& operator=(const checked_topology&);
  /// Takes what was checked.
  checked_topology& operator=(checked_topology&&) noexcept;
  ~checked_topology();

  /// What was checked.
  [[nodiscard]] const topology& get() const noexcept { return topology_; }

 private:
  topology topology_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_check.hpp>
#endif
