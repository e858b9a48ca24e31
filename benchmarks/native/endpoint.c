// SPDX-License-Identifier: BSL-1.0
// A VMM's way to the kernel's kvm-vfio device, written by hand in C: what endpoint.cpp is measured
// against. Usage: endpoint_c ROUNDS FD; attaches and detaches the descriptor so many times.
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

// Headers before Linux 6.6 have the older names.
#ifndef KVM_DEV_VFIO_FILE
#define KVM_DEV_VFIO_FILE KVM_DEV_VFIO_GROUP
#define KVM_DEV_VFIO_FILE_ADD KVM_DEV_VFIO_GROUP_ADD
#define KVM_DEV_VFIO_FILE_DEL KVM_DEV_VFIO_GROUP_DEL
#endif

static int change(int device, uint64_t number, int fd) {
  const int32_t argument = fd;
  const struct kvm_device_attr attr = {
      .group = KVM_DEV_VFIO_FILE, .attr = number, .addr = (uintptr_t)&argument};
  return ioctl(device, KVM_SET_DEVICE_ATTR, &attr);
}

// Its own function, not inlined: what callgrind counts.
__attribute__((noinline)) int attach_and_detach(int device, int fd) {
  const int added = change(device, KVM_DEV_VFIO_FILE_ADD, fd);
  const int deleted = change(device, KVM_DEV_VFIO_FILE_DEL, fd);
  return added == 0 && deleted == 0;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int rounds = atoi(argv[1]);
  const int fd = atoi(argv[2]);
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) return 3;
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  if (vm < 0) return 3;
  struct kvm_create_device create = {.type = KVM_DEV_TYPE_VFIO};
  if (ioctl(vm, KVM_CREATE_DEVICE, &create) != 0) return 3;
  const int device = (int)create.fd;
  int attached = 0;
  for (int i = 0; i < rounds; ++i) attached += attach_and_detach(device, fd);
  close(device);
  close(vm);
  close(kvm);
  return attached == rounds ? 0 : 1;
}
