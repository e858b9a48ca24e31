// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Writes a snapshot as text. There are three formats: lines for a terminal, JSON, and a graph for
/// Graphviz.

#include <kvm_vfio/sim/snapshot.hpp>

#include <string>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
[[nodiscard]] std::string list_of(const std::vector<int>& numbers);
// "0x1000 to 0x1fff: memory 0x7f0000000000, flags 0x3".
[[nodiscard]] std::string text_of(const mapping_state& m);
// Describes a memory slot: "memory slot 0: 0x0 to 0xffff, memory 0x7f0000000000, flags 0x0".
[[nodiscard]] std::string text_of(const slot_state& m);
// "MSI-X (vectors 0 1)".
[[nodiscard]] std::string text_of(const interrupt_state& i);
}  // namespace detail

/// Writes a snapshot as lines of text for a terminal. A group is left out if it is closed and
/// viable, and none of its devices is open.
[[nodiscard]] std::string to_text(const snapshot& s);

/// Writes a snapshot as one line of JSON. The names of the members are those of the structs in
/// snapshot.hpp, but `vm_state::has_device` is called "kvm_vfio".
[[nodiscard]] std::string to_json(const snapshot& s);

/// Writes a snapshot as a graph for `dot -Tsvg`. The nodes are VMs, tracked files, groups, devices,
/// iommufds, containers and domains.
[[nodiscard]] std::string to_dot(const snapshot& s);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/snapshot_text.hpp>
#endif
