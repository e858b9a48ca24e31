// SPDX-License-Identifier: BSL-1.0
// The same as endpoint.c through the library. Usage: endpoint_cpp ROUNDS FD
#include <kvm_vfio/native/kvm.hpp>

#include <cstdlib>

namespace native = kvm_vfio::native;
using kvm_vfio::errc;

// Its own function, not inlined: what callgrind counts.
extern "C" [[gnu::noinline]] bool attach_and_detach(native::kvm_vfio_device& device, int fd) {
  auto attached = device.attach(fd);
  return attached && attached->detach() == errc::ok;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int rounds = std::atoi(argv[1]);
  const int fd = std::atoi(argv[2]);
  const auto kvm = native::kvm::open();
  if (!kvm) return 3;
  const auto vm = kvm->create_vm();
  if (!vm) return 3;
  auto device = vm->create_kvm_vfio_device();
  if (!device) return 3;
  int attached = 0;
  for (int i = 0; i < rounds; ++i) attached += attach_and_detach(*device, fd);
  return attached == rounds ? 0 : 1;
}
