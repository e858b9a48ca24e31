// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Resets while interrupts are armed or memory is disabled, and registers, interrupts and resets of
/// a function in a low-power state.

#include "recorder.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device of a group.
template <class System>
class power_states {
 public:
  power_states(recorder<System>& on, const target& t) : on_(on), t_(t) {}

  void run() {
    for (const capability& c : t_.pci.capabilities) {
      if (kvm_vfio::sim::is_extended(c)) continue;
      if (c.id == PCI_CAP_ID_PM) pm_ = c.offset;
      if (c.id == PCI_CAP_ID_MSI) msi_ = c.offset;
      if (c.id == PCI_CAP_ID_MSIX) msix_ = c.offset;
    }
    for (const bool hot : {false, true}) {
      if (!open()) return;
      resets(hot);
      on_.close_all();
    }
    if (pm_ == 0) return;
    for (const unsigned state : {1U, 2U, 3U})
      for (const bool hot : {false, true}) {
        if (!open()) return;
        low_power(state, hot);
        on_.close_all();
      }
  }

 private:
  using capability = kvm_vfio::sim::capability_spec;
  static constexpr std::uint32_t files = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
  static constexpr std::uint32_t signal = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

  bool open() {
    const opened_device o = on_.open_device(t_);
    group_ = o.group;
    device_ = o.device;
    event_ = on_.eventfd();
    return device_ >= 0;
  }
  void reset(bool hot) {
    if (!hot) {
      on_.ioctl("RESET", device_, VFIO_DEVICE_RESET);
      return;
    }
    auto c = words({16, 0, 1, static_cast<std::uint32_t>(group_)});
    on_.ioctl_of("HOT_RESET", device_, VFIO_DEVICE_PCI_HOT_RESET, c);
  }
  void irqs(std::uint32_t index, std::uint32_t flags, std::uint32_t count) {
    auto c = words({24, flags, index, 0, count, static_cast<std::uint32_t>(event_)});
    on_.ioctl_of("SET_IRQS " + std::to_string(index) + " " + std::to_string(flags) + " " +
                     std::to_string(count),
                 device_, VFIO_DEVICE_SET_IRQS, c);
    std::uint64_t signals = 0;
    on_.say("signals", on_.sys().read(event_, &signals, sizeof signals).error(), signals);
  }
  void write(std::uint64_t at, std::vector<unsigned char> data) {
    on_.say("write " + std::to_string(at),
            on_.sys().pwrite(device_, data.data(), data.size(), config_space + at));
  }
  void read(std::uint64_t at, std::size_t size) {
    std::vector<unsigned char> data(size);
    on_.say("read " + std::to_string(at),
            on_.sys().pread(device_, data.data(), size, config_space + at));
    on_.bytes("read", data.data(), size);
  }
  /// The registers that a reset may change, and the first word of each BAR.
  void look() {
    read(PCI_COMMAND, 2);
    read(PCI_CACHE_LINE_SIZE, 1);
    read(PCI_BASE_ADDRESS_0, 24);
    read(PCI_INTERRUPT_LINE, 2);
    if (pm_ != 0) read(pm_, 6);
    if (msi_ != 0) read(msi_, 12);
    if (msix_ != 0) read(msix_, 8);
    unsigned char data[4] = {};
    for (std::size_t i = 0; i < t_.pci.bars.size() && i < 6; ++i)
      if (t_.pci.bars[i].size >= 4 && !t_.pci.bars[i].io)
        on_.say("BAR", on_.sys().pread(device_, data, sizeof data, std::uint64_t{i} << 40));
  }
  void write_registers() {
    write(PCI_BASE_ADDRESS_0, {0xff, 0xff, 0xff, 0xff});
    write(PCI_INTERRUPT_LINE, {0x44});
    if (msi_ != 0) write(msi_ + PCI_MSI_ADDRESS_LO, {0x10, 0x20, 0x30, 0x40});
    if (msi_ != 0) write(msi_ + PCI_MSI_FLAGS, {0x11});
    if (msix_ != 0) write(msix_ + PCI_MSIX_FLAGS + 1, {0xc0});
  }
  void resets(bool hot) {
    write_registers();
    write(PCI_COMMAND, {0x04, 0x04});
    look();
    reset(hot);
    look();
    write(PCI_COMMAND, {0x06, 0x00});
    for (const std::uint32_t index : {0U, 1U, 2U, 3U, 4U}) {
      irqs(index, files, 1);
      irqs(index, signal, 1);
      if (index == 0) irqs(index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 1);
      reset(hot);
      irqs(index, signal, 1);
      look();
      write(PCI_COMMAND, {0x00, 0x00});
      reset(hot);
      irqs(index, signal, 1);
      irqs(index, signal, 0);
      irqs(index, files, 1);
      irqs(index, signal, 1);
      look();
      irqs(index, signal, 0);
      write(PCI_COMMAND, {0x06, 0x00});
    }
  }
  void power(unsigned state) {
    write(pm_ + PCI_PM_CTRL, {static_cast<unsigned char>(state), 0});
    read(pm_ + PCI_PM_CTRL, 2);
  }
  void low_power(unsigned state, bool hot) {
    write(PCI_COMMAND, {0x06, 0x00});
    const std::uint32_t armed = hot ? 2 : 1;
    irqs(armed, files, 1);
    power(state);
    irqs(armed, signal, 1);
    look();
    write_registers();
    write(PCI_COMMAND, {0x06, 0x04});
    look();
    read(0, 64);
    // MSI is not disarmed here. Linux could not write to the function, which would keep the
    // message of the host.
    if (hot) irqs(armed, signal, 0);
    for (const std::uint32_t index : {0U, 1U, 2U, 3U}) {
      irqs(index, files, 1);
      irqs(index, signal, 1);
      if (index != 1) irqs(index, signal, 0);
    }
    for (const unsigned next : {3U, 1U, 2U, 0U, 3U}) power(next);
    on_.ioctl_bytes("ROM", device_, VFIO_DEVICE_GET_REGION_INFO, words({32, 0, 6, 0}, 32));
    look();
    reset(hot);
    look();
    power(0);
    look();
    irqs(2, files, 1);
    irqs(2, signal, 1);
    power(state);
    on_.close("device", device_);
    device_ = on_.get_device(group_, t_.device);
    look();
  }

  recorder<System>& on_;
  const target& t_;
  std::uint64_t pm_ = 0, msi_ = 0, msix_ = 0;
  int group_ = -1, device_ = -1, event_ = -1;
};

}  // namespace vfio_lockstep::fixed
