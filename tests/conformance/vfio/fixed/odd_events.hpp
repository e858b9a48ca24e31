// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Eventfds whose count is at its end, and eventfds whose signals KVM takes.

#include "recorder.hpp"
#include "vms.hpp"

#include <linux/kvm.h>
#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// Makes a device and the process signal eventfds.
template <class System>
class odd_events {
 public:
  explicit odd_events(recorder<System>& on) : on_(on) {}

  void run(const target& t) {
    device_ = on_.open_device(t).device;
    if (device_ < 0) return;
    const int event = on_.eventfd();
    irqs(VFIO_IRQ_SET_DATA_EVENTFD, 1, event);
    write(event, ~std::uint64_t{0} - 1);
    irqs(VFIO_IRQ_SET_DATA_NONE, 1);
    irqs(VFIO_IRQ_SET_DATA_NONE, 1);
    write(event, 1);
    read(event);
    read(event);
    const int kvm = on_.open("kvm", "/dev/kvm");
    const int vm = on_.make("CREATE_VM", kvm, KVM_CREATE_VM);
    on_.ioctl("CREATE_IRQCHIP", vm, KVM_CREATE_IRQCHIP);
    write(event, 3);
    // A count that is there already is taken, too.
    set_irqfd(on_, vm, event, 5);
    read(event);
    write(event, 3);
    read(event);
    irqs(VFIO_IRQ_SET_DATA_NONE, 1);
    read(event);
    set_irqfd(on_, vm, event, 5, KVM_IRQFD_FLAG_DEASSIGN);
    irqs(VFIO_IRQ_SET_DATA_NONE, 1);
    read(event);
    on_.close_all();
  }

 private:
  // The device asks the process to give it back.
  void irqs(std::uint32_t data, std::uint32_t count, int fd = -1) {
    auto c = words({24, data | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, count,
                    static_cast<std::uint32_t>(fd)});
    on_.ioctl_of("SET_IRQS", device_, VFIO_DEVICE_SET_IRQS, c);
  }
  void write(int event, std::uint64_t count) {
    on_.say("write", on_.sys().write(event, &count, sizeof count));
  }
  void read(int event) {
    std::uint64_t count = 0;
    const auto got = on_.sys().read(event, &count, sizeof count);
    on_.say("count", got.error(), count);
  }

  recorder<System>& on_;
  int device_ = -1;
};

}  // namespace vfio_lockstep::fixed
