// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The check of a topology. The check is the same for topologies from code, from JSON and from
/// sysfs.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>

namespace kvm_vfio::sim {

/// Checks a topology. A valid topology fulfils these conditions:
/// - No two IOMMUs and no two devices have the same name. No two groups have the same number, and
///   no two devices the same file number. The IOMMU that a group names exists.
/// - The first address of a range is not greater than the last one. Pages have at least 4 KiB.
/// - A function has at most six BARs, and a 64-bit BAR is followed by an empty one. The size of a
///   BAR is a power of two, and its address is a multiple of the size.
/// - PCI allows the numbers of MSI and MSI-X vectors. The MSI-X table and the pending bits are
///   inside a memory BAR and do not overlap.
/// - Capabilities do not overlap, and their bytes agree with the other members of `pci_spec`.
/// \return all errors, in the order of the topology; empty: the topology is valid
[[nodiscard]] topology_errors check(const topology& t);

/// A topology that has passed `check`. The constructor of `world` takes only this type, so that no
/// world runs on an invalid topology.
class checked_topology {
 public:
  /// Checks a topology and copies it. The conversion is implicit, so that a test can give a
  /// topology that it wrote in code to a `world`. For a topology from outside use topology_json.hpp
  /// or topology_sysfs.hpp, which return errors instead of throwing them.
  /// \throw invalid_topology the topology is not valid. A program that is compiled without
  ///        exceptions prints the errors and ends (std::abort).
  checked_topology(const topology& t);  // NOLINT(google-explicit-constructor)
  /// \copydoc checked_topology(const topology&)
  checked_topology(topology&& t);  // NOLINT(google-explicit-constructor)
  /// Copies the topology without another check.
  checked_topology(const checked_topology&);
  /// Moves the topology. Do not use the moved-from object again.
  checked_topology(checked_topology&&) noexcept;
  /// Copies the topology without another check.
  checked_topology& operator=(const checked_topology&);
  /// Moves the topology. Do not use the moved-from object again.
  checked_topology& operator=(checked_topology&&) noexcept;
  ~checked_topology();

  /// The topology.
  [[nodiscard]] const topology& get() const noexcept { return topology_; }

 private:
  topology topology_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/topology_check.hpp>
#endif
