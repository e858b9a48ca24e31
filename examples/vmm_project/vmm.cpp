// SPDX-License-Identifier: BSL-1.0
// The VMM: makes a VM and gives it a device. A real VMM would then run the VM.
//   vmm GROUP DEVICE     for example: vmm 26 0000:06:0d.0
#include "passthrough.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/host.hpp>

#include <cstdio>

namespace {
int failed(const char* what, kvm_vfio::errc e) {
  std::fprintf(stderr, "vmm: %s: %s\n", what, name(e));
  return 1;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s GROUP DEVICE\n", argv[0]);
    return 2;
  }
  const kvm_vfio::native::host host;
  const auto kvm = host.open("/dev/kvm", O_RDWR);
  if (!kvm) return failed("/dev/kvm", kvm.error());
  const auto vm = host.ioctl(*kvm, KVM_CREATE_VM, 0);
  if (!vm) return failed("KVM_CREATE_VM", vm.error());
  const auto kvm_vfio = vmm::create_kvm_vfio(host, *vm);
  if (!kvm_vfio) return failed("KVM_CREATE_DEVICE", kvm_vfio.error());
  vmm::passthrough device(host, *kvm_vfio);
  if (const auto e = device.plug(argv[1], argv[2]); e != kvm_vfio::errc::ok)
    return failed(argv[2], e);
  std::printf("%s now belongs to the VM\n", argv[2]);
  return 0;
}
