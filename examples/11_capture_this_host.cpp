// SPDX-License-Identifier: BSL-1.0
// Reads the IOMMU groups and devices of this host from sysfs and writes them as JSON, for tests
// that run elsewhere. The members that sysfs does not show are listed on standard error.
//
//   11_capture_this_host            > this-host.json
//   11_capture_this_host COPY_OF_SYS > that-host.json
//   11_capture_this_host --check FILE            reads a file again, and prints its errors
#include <kvm_vfio/sim/topology_json.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>
#include <kvm_vfio/sim/world.hpp>

#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace {
namespace sim = kvm_vfio::sim;

int capture(const char* root) {
  const sim::topology_result host = sim::topology_from_sysfs(root);
  std::fputs(to_text(host.unknown).c_str(), stderr);
  std::fputs(to_text(host.errors).c_str(), stderr);
  if (!host) return 1;
#if KVM_VFIO_SIM_TOPOLOGY_JSON
  if (std::fputs(sim::topology_to_json(host.machine).c_str(), stdout) == EOF ||
      std::fflush(stdout) != 0) {
    std::perror("standard output");
    return 1;
  }
  return 0;
#else
  std::fputs("this program was built without nlohmann's JSON library, so it writes nothing\n",
             stderr);
  return 77;
#endif
}

int check(const char* path) {
#if KVM_VFIO_SIM_TOPOLOGY_JSON
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::perror(path);
    return 1;
  }
  std::ostringstream text;
  text << file.rdbuf();
  const sim::topology_result read = sim::topology_from_json(text.str());
  std::fputs(to_text(read.errors).c_str(), stderr);
  if (!read) return 1;
  const sim::world world(read.machine);
  std::printf("%s: %zu groups; the topology is valid\n", path, world.groups().size());
  return 0;
#else
  std::fprintf(
      stderr,
      "%s: this program was built without nlohmann's JSON library, so it cannot read the file\n",
      path);
  return 77;
#endif
}
}  // namespace

int main(int argc, char** argv) try {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--check" && argc == 3) return check(argv[2]);
  if (argc <= 2 && first.substr(0, 1) != "-") return capture(argc == 2 ? argv[1] : "/sys");
  std::fputs("usage: 11_capture_this_host [COPY_OF_SYS] | --check FILE\n", stderr);
  return first == "--help" ? 0 : 2;
} catch (const std::exception& e) {
  std::fprintf(stderr, "11_capture_this_host: %s\n", e.what());
  return 1;
}
