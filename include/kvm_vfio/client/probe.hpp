// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a host offers for passed-through devices, asked without side effects.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

namespace kvm_vfio::client {

/// What a host offers. Each member is `errc::ok`, or the reason why the host does not offer it.
struct host_offer {
  errc kvm = errc::nosys;              ///< /dev/kvm can be opened and makes VMs
  errc kvm_vfio_device = errc::nosys;  ///< KVM has the kvm-vfio device type
  errc groups = errc::nosys;           ///< VFIO has containers, so groups can be used
  errc iommufd = errc::nosys;          ///< the kernel has iommufd, so device files can be bound
};

/// Asks a host what it offers: opens /dev/kvm, /dev/vfio/vfio and /dev/iommu, makes a VM, asks KVM
/// for the device type with KVM_CREATE_DEVICE_TEST, and closes everything again. The `fd` of such a
/// call is never used as a descriptor.
/// \param on the system that is asked
template <system System = native::host>
[[nodiscard]] host_offer probe(const System& on = native::detail::only<System>()) noexcept {
  host_offer found;
  if (const auto kvm = native::basic_kvm_ref<System>::open("/dev/kvm", on)) {
    const auto vm = kvm->create_vm();
    found.kvm = vm.error();
    found.kvm_vfio_device = vm ? vm->has_device_type(uapi::dev_type_vfio) : vm.error();
  } else {
    found.kvm = found.kvm_vfio_device = kvm.error();
  }
  found.groups = native::vfio::basic_container_ref<System>::open("/dev/vfio/vfio", on).error();
  found.iommufd = native::vfio::basic_iommufd_ref<System>::open("/dev/iommu", on).error();
  return found;
}

}  // namespace kvm_vfio::client
