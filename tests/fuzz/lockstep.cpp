// SPDX-License-Identifier: BSL-1.0
// Fuzzes the simulator with the steps of the lock-step with real kernels. The bytes of an input
// choose the machine and the steps. Nothing is compared here: scripts/conformance compares the
// inputs of the corpus with booted kernels.
#include "conformance/vfio/combinations.hpp"
#include "conformance/vfio/machines.hpp"
#include "conformance/vfio/player.hpp"
#include "conformance/vfio/view.hpp"
#include "support/sim_system.hpp"

#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace vfio_lockstep;
namespace sim = kvm_vfio::sim;

namespace {

/// A machine, ready to be simulated.
struct ready_machine {
  circumstances with;
  facts is;
  std::vector<row> rows;  ///< the combinations that it can reach
};

std::vector<ready_machine> all_machines() {
  std::vector<ready_machine> machines;
  for (const known_machine& m : known_machines()) {
    facts is = facts_of(read_topology(KVM_VFIO_LOCKSTEP_CORPUS "/" + m.topology), m.with, m.has);
    std::vector<row> rows = reachable_rows_of(is.has);
    machines.push_back({m.with, std::move(is), std::move(rows)});
  }
  return machines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<ready_machine> machines = all_machines();
  static memory arena;
  constexpr std::size_t most = 200;  // short inputs: booted kernels play all of them
  if (size < 2 || size > most) return -1;
  const std::vector<unsigned char> input(data, data + size);
  const ready_machine& m = machines[machine_of(input)];
  on_new_kernel(m.with.profile, m.is, arena, [&](sim::process& task, sim::world& world) {
    support::sim_system system(task);
    player<support::sim_system> plays(system, arena);
    const view now(task, world, plays);
    const auto made = make_source(steps_of(input), m.is.has, m.rows, now);
    for (std::vector<step> more = made->next(); !more.empty(); more = made->next())
      for (const step& s : more) (void)plays.run(s);
  });
  return 0;
}
