// SPDX-License-Identifier: BSL-1.0
// A program of somebody else's that uses the simulator, compiled once: it links the library that
// has the functions, and reads a topology from JSON if that library can.
#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/sim/topology_json.hpp>

#ifndef KVM_VFIO_COMPILED
#error "kvm_vfio::sim does not say that it is compiled"
#endif

namespace sim = kvm_vfio::sim;

int main() {
  sim::topology machine;
  machine.groups.push_back({.number = 7, .devices = {{.name = "0000:aa:00.0"}}});
#if KVM_VFIO_SIM_TOPOLOGY_JSON
  const sim::topology_result read = sim::topology_from_json(sim::topology_to_json(machine));
  if (!read.errors.empty() || read.machine != machine) return 1;
#endif
  sim::kernel<> kernel(machine);
  sim::memory memory;
  sim::process task(kernel, memory);
  if (!task.open("/dev/vfio/7")) return 2;
  return kernel.look().groups.size() == 1 ? 0 : 3;
}
