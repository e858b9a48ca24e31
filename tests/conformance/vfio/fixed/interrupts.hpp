// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Interrupts that are armed, triggered by the process, masked and taken away. After each step the
/// counts of the eventfds are compared.

#include "recorder.hpp"

#include <linux/pci_regs.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes SET_IRQS calls for a device.
template <class System>
class interrupts {
 public:
  interrupts(recorder<System>& on, const target& t, int device)
      : on_(on), pci_(t.pci), device_(device) {
    for (int& e : events_) e = on.eventfd();
  }

  void use() {
    if (pci_.intx) use_intx();
    use_vectors(VFIO_PCI_MSI_IRQ_INDEX, pci_.msi_vectors);
    use_vectors(VFIO_PCI_MSIX_IRQ_INDEX, pci_.msix_vectors);
    use_single(VFIO_PCI_ERR_IRQ_INDEX);
    use_single(VFIO_PCI_REQ_IRQ_INDEX);
  }

 private:
  static constexpr std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
  static constexpr std::uint32_t mask = VFIO_IRQ_SET_ACTION_MASK;
  static constexpr std::uint32_t unmask = VFIO_IRQ_SET_ACTION_UNMASK;

  void use_intx() {
    const int first = events_[0], other = events_[1], unmasks = events_[2];
    files(0, trigger, 0, {first});
    none(0, trigger, 0, 1);
    bools(0, trigger, 0, {0});
    bools(0, trigger, 0, {1});
    none(0, mask, 0, 1);
    none(0, trigger, 0, 1);  // a trigger does not look at the mask
    files(0, mask, 0, {unmasks});
    bools(0, unmask, 0, {0});
    files(0, unmask, 0, {unmasks});
    files(0, unmask, 0, {other});  // one eventfd unmasks already
    files(0, unmask, 0, {-1});
    files(0, unmask, 0, {other});
    files(0, unmask, 0, {-1});
    bools(0, unmask, 0, {1});
    disable_intx(true);
    none(0, trigger, 0, 1);
    disable_intx(false);
    none(0, trigger, 0, 1);
    files(0, trigger, 0, {other});
    none(0, trigger, 0, 1);
    disarm(0);
  }
  void disable_intx(bool disabled) {
    const std::uint64_t at = config_space + std::uint64_t{PCI_COMMAND};
    std::uint16_t command = 0;
    on_.say("command", on_.sys().pread(device_, &command, sizeof command, at));
    command = static_cast<std::uint16_t>(disabled ? command | PCI_COMMAND_INTX_DISABLE
                                                  : command & ~PCI_COMMAND_INTX_DISABLE);
    on_.say("command", on_.sys().pwrite(device_, &command, sizeof command, at));
  }
  void use_vectors(std::uint32_t index, std::uint32_t there) {
    files(index, trigger, 0, {events_[0], events_[1]});
    none(index, trigger, 1, 1);
    bools(index, trigger, 0, {0, 1});
    files(index, trigger, 2, {events_[2]});  // more vectors than were armed
    none(index, trigger, 2, 1);
    none(index, mask, 0, 1);
    disarm(index);
    files(index, trigger, 0, {events_[0]});
    none(index, trigger, 0, 1);
    none(index, trigger, 1, 1);  // a vector that was not armed
    files(index, trigger, 0, {-1});
    none(index, trigger, 0, 1);
    disarm(index);
    files(index, trigger, 0, std::vector<std::int32_t>(there, events_[0]));
    files(index, trigger, 0, std::vector<std::int32_t>(there + 1, events_[0]));
    disarm(index);
  }
  void use_single(std::uint32_t index) {
    files(index, trigger, 0, {events_[0]});
    none(index, trigger, 0, 1);
    bools(index, trigger, 0, {0});
    bools(index, trigger, 0, {1});
    none(index, unmask, 0, 1);
    none(index, trigger, 0, 0);
    none(index, trigger, 0, 1);
  }

  void disarm(std::uint32_t index) { none(index, trigger, 0, 0); }
  void none(std::uint32_t index, std::uint32_t action, std::uint32_t start, std::uint32_t count) {
    set(VFIO_IRQ_SET_DATA_NONE | action, index, start, count, nullptr, 0);
  }
  void bools(std::uint32_t index, std::uint32_t action, std::uint32_t start,
             const std::vector<unsigned char>& data) {
    set(VFIO_IRQ_SET_DATA_BOOL | action, index, start, static_cast<std::uint32_t>(data.size()),
        data.data(), data.size());
  }
  void files(std::uint32_t index, std::uint32_t action, std::uint32_t start,
             const std::vector<std::int32_t>& data) {
    set(VFIO_IRQ_SET_DATA_EVENTFD | action, index, start, static_cast<std::uint32_t>(data.size()),
        data.data(), data.size() * sizeof(std::int32_t));
  }
  void set(std::uint32_t flags, std::uint32_t index, std::uint32_t start, std::uint32_t count,
           const void* data, std::size_t size) {
    std::vector<unsigned char> argument =
        words({static_cast<std::uint32_t>(20 + size), flags, index, start, count}, 20 + size);
    if (size != 0) std::memcpy(&argument[20], data, size);
    const std::string what = "SET_IRQS of " + std::to_string(index) + " flags " +
                             std::to_string(flags) + " from " + std::to_string(start) + " count " +
                             std::to_string(count);
    on_.ioctl_of(what, device_, VFIO_DEVICE_SET_IRQS, argument);
    for (const int e : events_) {
      std::uint64_t signals = 0;
      const auto read = on_.sys().read(e, &signals, sizeof signals);
      on_.say("signals", read.error(), signals);
    }
  }

  recorder<System>& on_;
  const kvm_vfio::sim::pci_spec& pci_;
  int device_;
  int events_[3] = {};
};

template <class System>
void use_interrupts(recorder<System>& on, const target& t) {
  const opened_device o = on.open_device(t);
  if (o.device >= 0) interrupts<System>(on, t, o.device).use();
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
