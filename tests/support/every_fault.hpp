// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the tests share that let each step of something fail in turn, and each pair of steps.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>

#include <cstddef>
#include <string>

namespace support {

/// A group with one device, as QEMU's edu: one MSI vector, a BAR of 1 MiB.
/// \param resets whether the device has a reset, which QEMU's has not
inline kvm_vfio::sim::topology edu(bool resets = false) {
  kvm_vfio::sim::topology machine;
  machine.groups.push_back({.number = 7,
                            .devices = {{.name = "0000:00:04.0",
                                         .pci = {.bars = {{0x100000, false, false}},
                                                 .msi_vectors = 1,
                                                 .express = false,
                                                 .resets = resets}}}});
  return machine;
}

/// The name of a call, without its descriptors: what stands before the first '=' of its text, cut
/// at the numbers.
inline std::string name_of(const kvm_vfio::trace::call& c) {
  const std::string text = to_string(c);
  const std::size_t from = text.find(", ");
  if (c.kind != kvm_vfio::trace::call_kind::ioctl || from == std::string::npos)
    return text.substr(0, text.find('('));
  return text.substr(from + 2, text.find_first_of(" )", from + 2) - from - 2);
}

/// Calls `met(n, m)` for each pair of steps, n < m.
/// \param met lets the steps n and m fail, and returns how many of these two failures happened:
/// less
///            than two if there are fewer steps
/// \return the number of pairs of which both failures happened
template <class Met>
std::size_t each_pair(Met met) {
  std::size_t pairs = 0;
  for (std::size_t n = 1;; ++n)
    for (std::size_t m = n + 1;; ++m) {
      const std::size_t failures = met(n, m);
      if (failures == 0) return pairs;
      if (failures == 1) break;
      ++pairs;
    }
}

}  // namespace support
