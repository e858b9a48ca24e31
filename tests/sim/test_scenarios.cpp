// SPDX-License-Identifier: BSL-1.0
// The scenarios on the simulator, against the transcripts of booted kernels.
#include "fixture.hpp"
#include "scenarios.hpp"
#include "support/catch.hpp"

#include <fstream>
#include <string>
#include <vector>

namespace {
std::string text(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}
/// A scenario's part of a kernel's transcript.
std::string transcript(const std::string& kernel, const std::string& scenario) {
  std::ifstream in(std::string(SIM_TRANSCRIPTS "/") + kernel + ".txt");
  const std::string prefix = scenario + "| ";
  std::string out;
  for (std::string line; std::getline(in, line);)
    if (line.compare(0, prefix.size(), prefix) == 0) out += line.substr(prefix.size()) + "\n";
  return out;
}
template <class Profile>
void check(const std::string& scenario, const std::string& release, bool snoop_control) {
  machine_under_test<Profile> m(one_edu(snoop_control));
  support::sim_system system(m.task);
  const scenarios::target on{.device_file = "/dev/vfio/devices/vfio0"};
  const std::vector<std::string> lines = scenarios::run(system, scenario, on);
  INFO(scenario << " on Linux " << release);
  CHECK(text(lines) == transcript(release + (snoop_control ? "-on" : "-off"), scenario));
  REQUIRE_FALSE(lines.empty());
  // Whatever a scenario did, nothing is left behind.
  CHECK(m.task.descriptors() == 0);
  CHECK(m.world.containers() == 0);
  CHECK(m.world.iommufds() == 0);
  CHECK(m.kernel.vms().empty());
}
}  // namespace

TEST_CASE("scenarios answer as the booted kernels did") {
  const std::string scenario = GENERATE("groups", "lifetimes", "tracking", "coherency", "dma",
                                        "device", "interrupts", "iommufd");
  const bool snoop_control = GENERATE(true, false);
  check<kvm_vfio::linux_7_3>(scenario, "7.3", snoop_control);
  if (scenario == "iommufd") return;  // the other kernels were built without
  check<kvm_vfio::linux_6_12>(scenario, "6.12", snoop_control);
  check<kvm_vfio::linux_6_1>(scenario, "6.1", snoop_control);
}

TEST_CASE("a scenario that there is not has no transcript") {
  machine_under_test<> m;
  support::sim_system system(m.task);
  CHECK(scenarios::run(system, "nosuch", {}).empty());
}
