// SPDX-License-Identifier: BSL-1.0
// The scenarios on the simulator, against transcripts. A transcript of a booted kernel replaces
// one of these unchanged.
#include "../catch.hpp"
#include "fixture.hpp"
#include "scenarios.hpp"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace {
std::string text(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}
std::string file(const std::string& name) {
  std::ifstream in(std::string(SIM_TRANSCRIPTS "/") + name);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}
template <class Profile>
void check(const std::string& scenario, const char* release) {
  machine_under_test<Profile> m;
  sim_system system(m.task);
  const scenarios::target on{
      .group = "/dev/vfio/1", .device = "0000:00:04.0", .device_file = "/dev/vfio/devices/vfio0"};
  const std::vector<std::string> lines = scenarios::run(system, scenario, on);
  INFO(scenario << " on Linux " << release);
  REQUIRE_FALSE(lines.empty());
  CHECK(text(lines) == file(scenario + "-" + release + ".txt"));
  // Whatever a scenario did, nothing is left behind.
  CHECK(m.task.descriptors() == 0);
  CHECK(m.world.containers() == 0);
  CHECK(m.world.iommufds() == 0);
  CHECK(m.kernel.vms().empty());
}
}  // namespace

TEST_CASE("scenarios answer as the transcripts say") {
  const std::string scenario =
      GENERATE("groups", "lifetimes", "tracking", "dma", "device", "interrupts", "iommufd");
  check<kvm_vfio::linux_7_3>(scenario, "7.3");
  check<kvm_vfio::linux_6_12>(scenario, "6.12");
  check<kvm_vfio::linux_6_1>(scenario, "6.1");
}

TEST_CASE("a scenario that there is not has no transcript") {
  machine_under_test<> m;
  sim_system system(m.task);
  CHECK(scenarios::run(system, "nosuch", {}).empty());
}
