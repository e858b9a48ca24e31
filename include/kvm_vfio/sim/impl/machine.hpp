// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of machine.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/snapshot.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE std::string left_open(process& task) {
  std::string out;
  std::size_t seen = 0;
  for (int fd = 0; seen < task.descriptors(); ++fd) {
    const file* const f = task.file_of(fd);
    if (!f) continue;
    ++seen;
    out += "descriptor " + std::to_string(fd) + " is open: " + f->name() + "\n";
  }
  return out;
}

KVM_VFIO_INLINE std::string left_in(const snapshot& s) {
  std::string out;
  const auto mappings = [&](const std::string& owner, const std::vector<mapping_state>& all) {
    for (const mapping_state& m : all) out += owner + " has a DMA mapping: " + text_of(m) + "\n";
  };
  for (const vm_state& v : s.vms)
    for (const file_state& f : v.tracked) out += v.name + " tracks a file: " + f.name + "\n";
  for (const group_state& g : s.groups)
    for (const device_state& d : g.devices)
      for (const interrupt_state& i : d.interrupts)
        out += "device " + d.name + " has an armed interrupt: " + text_of(i) + "\n";
  for (std::size_t i = 0; i < s.containers.size(); ++i) {
    const std::string id = "container " + std::to_string(i);
    for (const int g : s.containers[i].groups)
      out += id + " has a group: " + std::to_string(g) + "\n";
    mappings(id, s.containers[i].mappings);
  }
  for (std::size_t i = 0; i < s.iommufds.size(); ++i) {
    const std::string id = "iommufd " + std::to_string(i);
    for (const ioas_state& x : s.iommufds[i].spaces) {
      out += id + " has an address space: IOAS " + std::to_string(x.id) + "\n";
      mappings(id + ": IOAS " + std::to_string(x.id), x.mappings);
    }
  }
  return out;
}

}  // namespace kvm_vfio::sim::detail
