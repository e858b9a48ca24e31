// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Requests of /dev/kvm, of VMs and of their kvm-vfio.

#include "base.hpp"
#include "support/attribute.hpp"

#include <kvm_vfio/uapi/kvm.hpp>

#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Requests of /dev/kvm, of VMs and of their kvm-vfio.
class kvm_steps : public step_maker {
 protected:
  using step_maker::step_maker;

  void create_kvm_vfio(ref on, int to) {
    kvm_create_device c{.type = KVM_DEV_TYPE_VFIO, .fd = 77, .flags = 0};
    step& s = call(on, "CREATE_DEVICE", KVM_CREATE_DEVICE, bytes(c));
    s.where = place::good;
    s.made = {kind::kvm_vfio, to};
    s.makes = true;
    s.made_at = offsetof(kvm_create_device, fd);
  }
  // The requests of a VM that only keep books.

  void irqchip() {
    const ref vm = some(kind::vm);
    call(vm, "CREATE_IRQCHIP", KVM_CREATE_IRQCHIP, 0);
  }
  void set_memory() {
    kvm_userspace_memory_region m{};
    m.slot =
        r_.percent(90) ? static_cast<unsigned>(r_.below(3)) : r_.of({32763U, 32764U, 1U << 20});
    m.flags = r_.percent(85) ? static_cast<unsigned>(r_.below(4)) & 1U : 1U << r_.below(32);
    m.guest_phys_addr = m_.page * static_cast<unsigned>(r_.below(6));
    m.memory_size = m_.page * static_cast<unsigned>(r_.below(4));
    if (r_.percent(8)) m.guest_phys_addr = r_.of<std::uint64_t>({1, 1ULL << 52, ~0ULL << 12});
    if (r_.percent(5)) m.memory_size = r_.of<std::uint64_t>({1, 1ULL << 43, ~0ULL << 12});
    m.userspace_addr = r_.percent(90) ? 0 : r_.of<std::uint64_t>({1, m_.page});
    call(some(kind::vm), "SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, bytes(m),
         {{offsetof(decltype(m), userspace_addr), {kind::dma_memory}}});
  }
  void irqfd() {
    kvm_irqfd i{};
    i.gsi = static_cast<unsigned>(r_.below(3));
    i.flags = r_.percent(90) ? static_cast<unsigned>(r_.below(4)) : 1U << r_.below(32);
    const ref event = mostly(kind::event);
    const ref resample = mostly(kind::event);
    call(some(kind::vm), "IRQFD", KVM_IRQFD, bytes(i),
         {{0, event}, {offsetof(decltype(i), resamplefd), resample}});
  }
  void ioeventfd() {
    kvm_ioeventfd i{};
    i.datamatch = static_cast<unsigned>(r_.below(2));
    i.addr = r_.percent(90) ? 0x1000U * static_cast<unsigned>(r_.below(2)) : ~std::uint64_t{0} - 3;
    i.len = r_.of({0U, 1U, 2U, 4U, 4U, 4U, 8U, 3U});
    i.flags = r_.percent(90) ? static_cast<unsigned>(r_.below(16)) : 1U << r_.below(32);
    const ref event = mostly(kind::event);
    call(some(kind::vm), "IOEVENTFD", KVM_IOEVENTFD, bytes(i),
         {{offsetof(decltype(i), fd), event}});
  }
  void vm_call() {
    switch (r_.below(8)) {
      case 0: return irqchip();
      case 1:
      case 2: return set_memory();
      case 3:
      case 4:
      case 5: return irqfd();
      default: return ioeventfd();
    }
  }

  // Adds a file to a kvm-vfio, or removes it.
  void file_call(ref on, std::uint64_t which, ref file) {
    const kvm_device_attr a = support::file_attribute(which);
    step& s = call(on, which == u::dev_vfio_file_add ? "FILE_ADD" : "FILE_DEL", KVM_SET_DEVICE_ATTR,
                   bytes(a), {{offsetof(kvm_device_attr, addr), {kind::dma_memory}}});
    s.where = place::good;
    s.pointee = file;
  }
  void kvm_call() {
    if (m_.books && r_.percent(40)) return vm_call();
    switch (r_.below(10)) {
      case 0: {
        step& s = call({kind::kvm}, "CREATE_VM", KVM_CREATE_VM, 0);
        s.made = some(kind::vm);
        s.makes = true;
        return;
      }
      case 1: {
        const int to = slot();
        return create_kvm_vfio(some(kind::vm), to);
      }
      default: {
        constexpr std::uint64_t no_such = 4;
        const std::uint64_t which = !r_.percent(95)    ? no_such
                                    : r_.below(2) == 0 ? u::dev_vfio_file_add
                                                       : u::dev_vfio_file_del;
        const kind k = r_.of({kind::group, kind::group, kind::device, kind::cdev});
        const ref file = r_.percent(85) ? some(k) : anything();
        file_call(some(kind::kvm_vfio), which, file);
        return;
      }
    }
  }
};

}  // namespace vfio_lockstep
