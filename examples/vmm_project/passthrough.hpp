// SPDX-License-Identifier: BSL-1.0
// The VMM's passthrough code: gives a device to the VM, and takes it back. Its system calls go
// through an object that models kvm_vfio::system. In production this is the running kernel
// (kvm_vfio::native::host). In the tests it is a simulated process or a mock.
#pragma once
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vmm {

using kvm_vfio::errc;
using kvm_vfio::result;

// Makes the VM's kvm-vfio. Returns its descriptor.
template <kvm_vfio::system System>
result<int> create_kvm_vfio(const System& system, int vm) {
  kvm_create_device create{};
  create.type = KVM_DEV_TYPE_VFIO;
  const result<int> made =
      system.ioctl(vm, KVM_CREATE_DEVICE, reinterpret_cast<std::uintptr_t>(&create));
  if (!made) return made.error();
  return static_cast<int>(create.fd);
}

// One device of the VM, the only one of its group.
template <kvm_vfio::system System>
class passthrough {
 public:
  passthrough(const System& system, int kvm_vfio) : system_(system), kvm_vfio_(kvm_vfio) {}
  passthrough(const passthrough&) = delete;
  passthrough& operator=(const passthrough&) = delete;
  ~passthrough() { unplug(); }

  // After an error nothing is left behind.
  [[nodiscard]] errc plug(const std::string& group, const std::string& device) {
    const errc e = steps(group, device);
    if (e != errc::ok) unplug();
    return e;
  }
  // Undoes the steps that were done, the last one first.
  void unplug() {
    close(device_);
    if (tracked_) (void)tell_kvm(KVM_DEV_VFIO_GROUP_DEL);
    tracked_ = false;
    if (in_container_) (void)system_.ioctl(group_, VFIO_GROUP_UNSET_CONTAINER, 0);
    in_container_ = false;
    close(container_);
    close(group_);
  }

 private:
  // This order is safe on every kernel.
  errc steps(const std::string& group, const std::string& device) {
    if (const errc e = keep(system_.open(("/dev/vfio/" + group).c_str(), O_RDWR), group_);
        e != errc::ok)
      return e;
    if (const errc e = keep(system_.open("/dev/vfio/vfio", O_RDWR), container_); e != errc::ok)
      return e;
    const auto joined = system_.ioctl(group_, VFIO_GROUP_SET_CONTAINER, address(&container_));
    if (!joined) return joined.error();
    in_container_ = true;
    const auto chosen = system_.ioctl(container_, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    if (!chosen) return chosen.error();
    if (const errc e = tell_kvm(KVM_DEV_VFIO_GROUP_ADD); e != errc::ok) return e;
    tracked_ = true;
    return keep(system_.ioctl(group_, VFIO_GROUP_GET_DEVICE_FD, address(device.c_str())), device_);
  }
  errc tell_kvm(std::uint64_t what) {
    kvm_device_attr attribute{};
    attribute.group = KVM_DEV_VFIO_GROUP;
    attribute.attr = what;
    attribute.addr = address(&group_);
    return system_.ioctl(kvm_vfio_, KVM_SET_DEVICE_ATTR, address(&attribute)).error();
  }
  static errc keep(const result<int>& made, int& fd) {
    if (made) fd = *made;
    return made.error();
  }
  void close(int& fd) {
    if (fd >= 0) (void)system_.close(fd);
    fd = -1;
  }
  static std::uintptr_t address(const void* object) {
    return reinterpret_cast<std::uintptr_t>(object);
  }

  System system_;
  int kvm_vfio_;
  int group_ = -1, container_ = -1, device_ = -1;
  bool in_container_ = false, tracked_ = false;
};

}  // namespace vmm
