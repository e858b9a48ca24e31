// SPDX-License-Identifier: BSL-1.0
// What is tested on the simulator and, where there is one, on a real device.
#pragma once
#include "../passthrough.hpp"

#include <atomic>
#include <cstdio>

inline std::atomic<int> failures = 0;
inline void check(bool holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  std::printf("line %d FAILED: %s\n", line, what);
}
#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

// A VM's kvm-vfio, made by the System's own calls; -1: there is no KVM.
template <class System>
int kvm_vfio_of_new_vm(System& system) {
  const long kvm = system.open("/dev/kvm");
  if (kvm < 0) return -1;
  const long vm = system.ioctl(static_cast<int>(kvm), KVM_CREATE_VM, 0);
  (void)system.close(static_cast<int>(kvm));
  if (vm < 0) return -1;
  const long kvm_vfio = vmm::create_kvm_vfio(system, static_cast<int>(vm));
  (void)system.close(static_cast<int>(vm));  // kvm-vfio keeps the VM alive
  return static_cast<int>(kvm_vfio);
}

// The device can be plugged, unplugged, and plugged again; a name that is not there is refused.
template <class System>
void plug_and_unplug(System& system, int kvm_vfio, const char* group, const char* device) {
  vmm::passthrough plugged(system, kvm_vfio);
  CHECK(plugged.plug(group, device) == 0);
  plugged.unplug();
  CHECK(plugged.plug(group, "no-such-device") < 0);
  CHECK(plugged.plug(group, device) == 0);
}
