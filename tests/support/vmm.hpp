// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A VMM's calls to KVM and VFIO, on any system.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include "support/attribute.hpp"
#include "support/system.hpp"

#include <cstdint>
#include <utility>

namespace support {

/// Makes the calls of a VMM, one function for each, and keeps no state. A descriptor is a number of
/// the system's, and a new one is the caller's to close.
template <system System>
class vmm {
 public:
  using errc = kvm_vfio::errc;
  using descriptor = kvm_vfio::result<int>;

  /// \param sys a system, or a view of one
  explicit vmm(System sys) : sys_(std::move(sys)) {}

  [[nodiscard]] System& system_calls() noexcept { return sys_; }
  [[nodiscard]] descriptor open(const char* path) { return made(sys_.open(path)); }
  errc close(int fd) { return error_of(sys_.close(fd)); }
  errc ioctl(int fd, unsigned long request, std::uintptr_t argument = 0) {
    return error_of(sys_.ioctl(fd, request, argument));
  }
  /// Makes an ioctl whose argument is the address of an object.
  template <class T>
  errc ioctl_at(int fd, unsigned long request, T& argument) {
    return ioctl(fd, request, address_of(argument));
  }

  /// Creates a VM.
  [[nodiscard]] descriptor create_vm(int kvm) { return made(sys_.ioctl(kvm, KVM_CREATE_VM, 0)); }
  /// Creates a VM's kvm-vfio device.
  [[nodiscard]] descriptor create_kvm_vfio(int vm) {
    kvm_create_device create = create_argument();
    const errc e = ioctl_at(vm, KVM_CREATE_DEVICE, create);
    if (e != errc::ok) return e;
    return static_cast<int>(create.fd);
  }
  /// Sets an attribute of a kvm-vfio device whose argument is a descriptor.
  errc set_file(int device, std::uint64_t number, int fd) {
    std::int32_t argument = fd;
    const kvm_device_attr attr = file_attribute(number, address_of(argument));
    return ioctl_at(device, KVM_SET_DEVICE_ATTR, attr);
  }
  errc add(int device, int fd) { return set_file(device, kvm_vfio::uapi::dev_vfio_file_add, fd); }
  errc del(int device, int fd) { return set_file(device, kvm_vfio::uapi::dev_vfio_file_del, fd); }
  /// Attaches a tracked group to a VM's TCE table.
  errc set_spapr_tce(int device, int group, int table) {
    kvm_vfio_spapr_tce argument{.groupfd = group, .tablefd = table};
    const kvm_device_attr attr =
        file_attribute(kvm_vfio::uapi::dev_vfio_group_set_spapr_tce, address_of(argument));
    return ioctl_at(device, KVM_SET_DEVICE_ATTR, attr);
  }

  errc set_container(int group, int container) {
    std::int32_t fd = container;
    return ioctl_at(group, VFIO_GROUP_SET_CONTAINER, fd);
  }
  errc unset_container(int group) { return ioctl(group, VFIO_GROUP_UNSET_CONTAINER); }
  errc set_iommu(int container, unsigned long type = VFIO_TYPE1v2_IOMMU) {
    return ioctl(container, VFIO_SET_IOMMU, type);
  }
  /// Opens a device of a group by the device's name.
  [[nodiscard]] descriptor device_fd(int group, const char* name) {
    return made(
        sys_.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, reinterpret_cast<std::uintptr_t>(name)));
  }

 private:
  static errc error_of(long answer) noexcept {
    return answer < 0 ? kvm_vfio::to_errc(-answer) : errc::ok;
  }
  static descriptor made(long answer) noexcept {
    if (answer < 0) return error_of(answer);
    return static_cast<int>(answer);
  }

  System sys_;
};

}  // namespace support
