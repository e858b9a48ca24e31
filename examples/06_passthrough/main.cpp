// SPDX-License-Identifier: BSL-1.0
// A VMM's passthrough, written once for any system. Without arguments the program runs it on a
// simulated machine, under the checker. With arguments it runs on this host:
//   06_passthrough [GROUP DEVICE]     for example: 26 0000:06:0d.0
// Exit status: 0 success; 1 a call failed or the checker has a report; 2 wrong arguments.
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "report.hpp"

namespace {
namespace sim = kvm_vfio::sim;

constexpr std::size_t page_size = 4096;
alignas(page_size) unsigned char guest_memory[page_size];

template <kvm_vfio::system System>
bool run(const System& sys, const vmm::chosen& which) {
  std::string last;
  for (const std::string& line : vmm::report(sys, which, guest_memory, page_size)) {
    std::puts(line.c_str());
    last = line;
  }
  return last == "unplug: OK 0";
}

bool simulated() {
  sim::topology host;
  host.groups.push_back({.number = 7, .devices = {{.name = "0000:aa:00.0", .pci = {}}}});
  host.groups[0].devices[0].pci.msi_vectors = 1;
  sim::machine<> machine(host);
  const sim::process_ref sys(machine.process());
  const bool by_group = run(sys, {.group = 7, .name = "0000:aa:00.0"});
  const bool by_file = run(sys, {.file = 0});
  const std::string findings = machine.finish();
  std::printf("the checker reports: %s\n", findings.empty() ? "nothing" : findings.c_str());
  return by_group && by_file && findings.empty();
}
}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) return simulated() ? 0 : 1;
  char* end = nullptr;
  const long group = argc == 3 ? std::strtol(argv[1], &end, 10) : -1;
  if (group < 0 || group > 0x7fffffff || *end != '\0' || end == argv[1]) {
    std::fprintf(stderr, "usage: %s [GROUP DEVICE]\n", argv[0]);
    return 2;
  }
  const vmm::chosen which{.group = static_cast<int>(group), .name = argv[2]};
  return run(kvm_vfio::native::host(), which) ? 0 : 1;
}
