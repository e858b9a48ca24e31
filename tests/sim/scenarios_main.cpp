// SPDX-License-Identifier: BSL-1.0
// Prints the transcripts of all scenarios: on the simulator as Linux 7.3, 6.12 or 6.1, or on the
// system that this runs on. `diff` is the judge.
#include "fixture.hpp"
#include "scenarios.hpp"
#include "support/real_system.hpp"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace {
template <class Profile>
std::vector<std::string> simulated(const char* name, const scenarios::target& on,
                                   bool snoop_control) {
  machine_under_test<Profile> m(one_edu(snoop_control));
  support::sim_system system(m.task);
  return scenarios::run(system, name, on);
}

/// Where the running system has the device.
scenarios::target find(const std::string& device) {
  namespace fs = std::filesystem;
  const fs::path at = "/sys/bus/pci/devices/" + device;
  std::error_code none;
  scenarios::target on{
      .group = "/dev/vfio/" + fs::read_symlink(at / "iommu_group", none).filename().string(),
      .device = device};
  for (const auto& node : fs::directory_iterator(at / "vfio-dev", none)) {
    const fs::path file = "/dev/vfio/devices" / node.path().filename();
    if (fs::exists(file, none)) on.device_file = file.string();
  }
  return on;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s 7.3|6.12|6.1 [on|off]\n       %s real [DEVICE]\n", argv[0],
                 argv[0]);
    return 2;
  }
  const std::string_view as = argv[1];
  const bool snoops = argc < 3 || std::strcmp(argv[2], "off") != 0;
  const std::string device = as == "real" && argc > 2 ? argv[2] : "0000:00:04.0";
  const scenarios::target on =
      as == "real" ? find(device)
                   : scenarios::target{.device_file = as == "6.1" ? "" : "/dev/vfio/devices/vfio0"};
  if (as == "real" && on.group == "/dev/vfio/") {
    std::printf("SKIPPED: %s is in no IOMMU group\n", device.c_str());
    return 77;
  }
  bool none = true;
  for (const char* name : scenarios::names) {
    std::vector<std::string> lines;
    if (as == "7.3") lines = simulated<kvm_vfio::linux_7_3>(name, on, snoops);
    else if (as == "6.12") lines = simulated<kvm_vfio::linux_6_12>(name, on, snoops);
    else if (as == "6.1") lines = simulated<kvm_vfio::linux_6_1>(name, on, snoops);
    else if (as == "real") {
      support::real_system system;
      lines = scenarios::run(system, name, on);
    }
    // With the scenario's name in front, so that one file takes them all apart.
    for (const std::string& line : lines) std::printf("%s| %s\n", name, line.c_str());
    none = none && lines.empty();
  }
  return none ? 1 : 0;
}
