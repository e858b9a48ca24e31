// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The VMM of example 06 on simulated machines with a device like QEMU's edu.

#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>

#include "06_passthrough/report.hpp"
#include "support/catch.hpp"
#include "support/every_fault.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace client_tests {

namespace kv = kvm_vfio;
namespace sim = kvm_vfio::sim;
using kv::errc;

using support::edu;
inline const vmm::chosen by_group{.group = 7, .name = "0000:00:04.0"};
inline const vmm::chosen by_file{.file = 0};

/// A page of memory that a device may access.
struct page {
  static constexpr std::size_t size = 4096;
  alignas(size) unsigned char bytes[size] = {};
};

/// A simulated machine and the example's VMM on it.
template <class Profile>
struct vm_on_machine {
  sim::machine<Profile> machine{edu()};
  sim::process& task = machine.process();
  page memory;
  vmm::passthrough<sim::process_ref> vm{sim::process_ref(task)};

  vm_on_machine() {
    REQUIRE(vm.start() == errc::ok);
    vm.set_memory(memory.bytes, page::size, 0x100000);
  }
  errc plug(const vmm::chosen& which) {
    return which.file < 0 ? vm.plug_from_group(which.group, which.name.c_str())
                          : vm.plug_device_file(which.file);
  }
};

}  // namespace client_tests
