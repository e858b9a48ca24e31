// SPDX-License-Identifier: BSL-1.0
// The VMM's passthrough code: gives a device to the VM, and takes it back. It does not know the
// library. Its system calls go through a System, which the tests replace:
//   open, close, ioctl   return a value that is not negative, or the error number negated
#pragma once
#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vmm {

// The VM's kvm-vfio. Returns its descriptor, or the error number negated.
template <class System>
long create_kvm_vfio(System& system, int vm) {
  kvm_create_device create{};
  create.type = KVM_DEV_TYPE_VFIO;
  const long e = system.ioctl(vm, KVM_CREATE_DEVICE, reinterpret_cast<std::uintptr_t>(&create));
  return e < 0 ? e : static_cast<long>(create.fd);
}

// One device of the VM, the only one of its group.
template <class System>
class passthrough {
 public:
  passthrough(System& system, int kvm_vfio) : system_(system), kvm_vfio_(kvm_vfio) {}
  passthrough(const passthrough&) = delete;
  passthrough& operator=(const passthrough&) = delete;
  ~passthrough() { unplug(); }

  // Returns 0, or the error number negated; then nothing is left behind.
  long plug(const std::string& group, const std::string& device) {
    const long e = steps(group, device);
    if (e < 0) unplug();
    return e < 0 ? e : 0;
  }
  // Undoes the steps that were done, the last one first.
  void unplug() {
    close(device_);
    if (tracked_) (void)tell_kvm(KVM_DEV_VFIO_GROUP_DEL);
    tracked_ = false;
    if (in_container_) (void)system_.ioctl(number(group_), VFIO_GROUP_UNSET_CONTAINER, 0);
    in_container_ = false;
    close(container_);
    close(group_);
  }

 private:
  // This order is safe on every kernel.
  long steps(const std::string& group, const std::string& device) {
    group_ = system_.open(("/dev/vfio/" + group).c_str());
    if (group_ < 0) return group_;
    container_ = system_.open("/dev/vfio/vfio");
    if (container_ < 0) return container_;
    const int container = number(container_);
    if (const long e = system_.ioctl(number(group_), VFIO_GROUP_SET_CONTAINER, address(&container));
        e < 0)
      return e;
    in_container_ = true;
    if (const long e = system_.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU); e < 0)
      return e;
    if (const long e = tell_kvm(KVM_DEV_VFIO_GROUP_ADD); e < 0) return e;
    tracked_ = true;
    device_ = system_.ioctl(number(group_), VFIO_GROUP_GET_DEVICE_FD, address(device.c_str()));
    return device_;
  }
  long tell_kvm(std::uint64_t what) {
    const std::int32_t group = number(group_);
    kvm_device_attr attribute{};
    attribute.group = KVM_DEV_VFIO_GROUP;
    attribute.attr = what;
    attribute.addr = address(&group);
    return system_.ioctl(kvm_vfio_, KVM_SET_DEVICE_ATTR, address(&attribute));
  }
  void close(long& fd) {
    if (fd >= 0) (void)system_.close(number(fd));
    fd = -1;
  }
  static int number(long fd) { return static_cast<int>(fd); }
  static std::uintptr_t address(const void* object) {
    return reinterpret_cast<std::uintptr_t>(object);
  }

  System& system_;
  int kvm_vfio_;
  long group_ = -1, container_ = -1, device_ = -1;
  bool in_container_ = false, tracked_ = false;
};

}  // namespace vmm
