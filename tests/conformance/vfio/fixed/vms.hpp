// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Memory slots, irqfds and ioeventfds of two VMs.

#include "recorder.hpp"

#include <linux/kvm.h>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Gives a VM a memory slot.
template <class System>
void set_slot(recorder<System>& on, int vm, std::uint32_t slot, std::uint64_t at,
              std::uint64_t size, std::uint64_t memory) {
  kvm_userspace_memory_region r{};
  r.slot = slot;
  r.guest_phys_addr = at;
  r.memory_size = size;
  r.userspace_addr = memory;
  on.ioctl_at("SET_USER_MEMORY_REGION", vm, KVM_SET_USER_MEMORY_REGION, r);
}

/// Connects an eventfd to an interrupt of a VM, or ends that.
template <class System>
void set_irqfd(recorder<System>& on, int vm, int event, std::uint32_t gsi,
               std::uint32_t flags = 0) {
  kvm_irqfd i{};
  i.fd = static_cast<std::uint32_t>(event);
  i.gsi = gsi;
  i.flags = flags;
  on.ioctl_at("IRQFD", vm, KVM_IRQFD, i);
}

/// Connects an eventfd to writes of a VM, or ends that.
template <class System>
void set_ioeventfd(recorder<System>& on, int vm, int event, std::uint32_t size,
                   std::uint32_t flags = 0) {
  kvm_ioeventfd i{};
  i.addr = 0x1000;
  i.len = size;
  i.fd = event;
  i.flags = flags;
  on.ioctl_at("IOEVENTFD", vm, KVM_IOEVENTFD, i);
}

template <class System>
void use_vms(recorder<System>& on, const machine& m, const dma_memory& memory) {
  const int kvm = on.open("kvm", "/dev/kvm");
  const int vm = on.make("CREATE_VM", kvm, KVM_CREATE_VM);
  const int other = on.make("CREATE_VM", kvm, KVM_CREATE_VM);
  const int event = on.eventfd();
  const int second = on.eventfd();
  set_slot(on, vm, 0, 0, 2 * m.page, memory.there);
  set_slot(on, vm, 1, m.page, 2 * m.page, memory.there);  // overlaps the slot 0
  set_slot(on, vm, 1, 2 * m.page, m.page, memory.there);
  set_slot(on, vm, 1, m.page, m.page, memory.there);          // moves into the slot 0
  set_slot(on, vm, 1, 2 * m.page, 2 * m.page, memory.there);  // another size
  set_slot(on, other, 1, m.page, m.page, memory.there);
  set_slot(on, vm, 1, 0, 0, 0);
  set_slot(on, vm, 1, 0, 0, 0);
  set_irqfd(on, vm, event, 1);  // without an interrupt controller
  on.ioctl("CREATE_IRQCHIP", vm, KVM_CREATE_IRQCHIP);
  on.ioctl("CREATE_IRQCHIP", vm, KVM_CREATE_IRQCHIP);
  on.ioctl("CREATE_IRQCHIP", other, KVM_CREATE_IRQCHIP);
  set_irqfd(on, vm, event, 1);
  set_irqfd(on, vm, event, 2);
  set_irqfd(on, other, event, 1);
  set_irqfd(on, vm, second, 1);
  set_irqfd(on, vm, event, 2, KVM_IRQFD_FLAG_DEASSIGN);
  set_irqfd(on, vm, event, 1, KVM_IRQFD_FLAG_DEASSIGN);
  set_irqfd(on, other, event, 1);
  set_ioeventfd(on, vm, event, 4);
  set_ioeventfd(on, vm, second, 4);
  set_ioeventfd(on, vm, second, 2);
  set_ioeventfd(on, vm, second, 0);
  set_ioeventfd(on, other, second, 0);
  set_ioeventfd(on, vm, second, 4, KVM_IOEVENTFD_FLAG_DEASSIGN);
  set_ioeventfd(on, vm, event, 4, KVM_IOEVENTFD_FLAG_DEASSIGN);
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
