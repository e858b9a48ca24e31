// SPDX-License-Identifier: BSL-1.0
// What is tested on the simulator and, where there is one, on a real device.
#pragma once
#include "../passthrough.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/system.hpp>

#include <atomic>
#include <cstdio>

using kvm_vfio::errc;

inline std::atomic<int> failures = 0;
inline void check(bool holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  std::printf("line %d FAILED: %s\n", line, what);
}
#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

// Makes the kvm-vfio of a new VM. Returns -1 if there is no KVM.
template <kvm_vfio::system System>
int kvm_vfio_of_new_vm(const System& system) {
  const auto kvm = system.open("/dev/kvm", O_RDWR);
  if (!kvm) return -1;
  const auto vm = system.ioctl(*kvm, KVM_CREATE_VM, 0);
  (void)system.close(*kvm);
  if (!vm) return -1;
  const auto made = vmm::create_kvm_vfio(system, *vm);
  (void)system.close(*vm);  // kvm-vfio keeps the VM alive
  return made.value_or(-1);
}

// The device can be plugged, unplugged, and plugged again; a name that is not there is refused.
template <kvm_vfio::system System>
void plug_and_unplug(const System& system, int kvm_vfio, const char* group, const char* device) {
  vmm::passthrough plugged(system, kvm_vfio);
  CHECK(plugged.plug(group, device) == errc::ok);
  plugged.unplug();
  CHECK(plugged.plug(group, "no-such-device") == errc::nodev);
  CHECK(plugged.plug(group, device) == errc::ok);
}
