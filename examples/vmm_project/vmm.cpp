// SPDX-License-Identifier: BSL-1.0
// The VMM: makes a VM and gives it a device. A real VMM would then run the VM.
//   vmm GROUP DEVICE     for example: vmm 26 0000:06:0d.0
#include "host.hpp"
#include "passthrough.hpp"

#include <cstdio>
#include <cstring>

namespace {
int failed(const char* what, long e) {
  std::fprintf(stderr, "vmm: %s: %s\n", what, std::strerror(static_cast<int>(-e)));
  return 1;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s GROUP DEVICE\n", argv[0]);
    return 2;
  }
  vmm::host host;
  const long kvm = host.open("/dev/kvm");
  if (kvm < 0) return failed("/dev/kvm", kvm);
  const long vm = host.ioctl(static_cast<int>(kvm), KVM_CREATE_VM, 0);
  if (vm < 0) return failed("KVM_CREATE_VM", vm);
  const long kvm_vfio = vmm::create_kvm_vfio(host, static_cast<int>(vm));
  if (kvm_vfio < 0) return failed("KVM_CREATE_DEVICE", kvm_vfio);
  vmm::passthrough device(host, static_cast<int>(kvm_vfio));
  if (const long e = device.plug(argv[1], argv[2]); e < 0) return failed(argv[2], e);
  std::printf("%s now belongs to the VM\n", argv[2]);
  return 0;
}
