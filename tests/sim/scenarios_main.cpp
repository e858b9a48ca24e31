// SPDX-License-Identifier: BSL-1.0
// Prints the transcript of a scenario: on the simulator as Linux 7.3, 6.12 or 6.1, or on the
// system that this runs on. `diff` is the judge.
#include "fixture.hpp"
#include "real_system.hpp"
#include "scenarios.hpp"

#include <cstdio>
#include <cstring>

namespace {
template <class Profile>
std::vector<std::string> simulated(const char* name, const scenarios::target& on,
                                   bool snoop_control) {
  machine_under_test<Profile> m(two_groups(snoop_control));
  sim_system system(m.task);
  return scenarios::run(system, name, on);
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: %s 7.3|6.12|6.1|real SCENARIO [GROUP DEVICE [DEVICE_FILE]]\n"
                 "scenarios: %s\n",
                 argv[0], scenarios::names);
    return 2;
  }
  scenarios::target on;
  if (argc > 4) on = {argv[3], argv[4], argc > 5 ? argv[5] : ""};
  else if (std::strcmp(argv[1], "real") != 0) on.device_file = "/dev/vfio/devices/vfio0";
  const std::string_view as = argv[1];
  std::vector<std::string> lines;
  if (as == "7.3") lines = simulated<kvm_vfio::linux_7_3>(argv[2], on, true);
  else if (as == "6.12") lines = simulated<kvm_vfio::linux_6_12>(argv[2], on, true);
  else if (as == "6.1") lines = simulated<kvm_vfio::linux_6_1>(argv[2], on, true);
  else if (as == "real") {
    real_system system;
    lines = scenarios::run(system, argv[2], on);
  }
  for (const std::string& line : lines) std::puts(line.c_str());
  return lines.empty() ? 1 : 0;
}
