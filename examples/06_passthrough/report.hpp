// SPDX-License-Identifier: BSL-1.0
// What the VMM sees when it plugs a device, uses it and unplugs it: one line for each answer. The
// lines are compared between systems.
#pragma once
#include "passthrough.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace vmm {

// The device that is plugged: of a group, or with a file of its own.
struct chosen {
  int group = -1;
  std::string name{};  // of a group's device
  int file = -1;       // the N of /dev/vfio/devices/vfioN
};

// Plugs, uses and unplugs a device. `memory` is a page of memory of this process.
template <kv::system System>
std::vector<std::string> report(const System& sys, const chosen& which, void* memory,
                                std::size_t size) {
  std::vector<std::string> lines;
  const auto say = [&](const char* what, errc e, std::uint64_t value = 0) {
    char line[80];
    std::snprintf(line, sizeof line, "%s: %s %llx", what, kv::name(e),
                  static_cast<unsigned long long>(value));
    lines.emplace_back(line);
    return e == errc::ok;
  };
  passthrough<System> vm(sys);
  if (!say("start", vm.start())) return lines;
  vm.set_memory(memory, size, 0x100000);
  const auto plug = [&] {
    return which.file < 0 ? vm.plug_from_group(which.group, which.name.c_str())
                          : vm.plug_device_file(which.file);
  };
  for (int round = 0; round < 2; ++round) {
    if (!say("plug", plug())) return lines;
    const auto identity = vm.identity();
    say("identity", identity.error(), identity ? *identity : 0);
    const auto info = vm.device().view().info();
    say("info", info.error(), info ? info->flags : 0);
    for (std::uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; ++i) {
      const auto region = vm.device().view().region(i);
      say("region", region.error(), region ? region->size : 0);
    }
    for (std::uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; ++i) {
      const auto irq = vm.device().view().irq(i);
      say("irq", irq.error(), irq ? irq->count : 0);
    }
    say("no interrupt yet", vm.interrupts().error());
    say("raise", vm.raise());
    const auto raised = vm.interrupts();
    say("interrupts", raised.error(), raised ? *raised : 0);
    say("reset", vm.device().view().reset());
    say("unplug", vm.unplug());
  }
  return lines;
}

}  // namespace vmm
