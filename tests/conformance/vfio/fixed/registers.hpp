// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a device tells of its regions and interrupts, its configuration space, its MSI-X table, and
/// the requests that it refuses.

#include "recorder.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Reads and writes the regions of a device.
template <class System>
class registers {
 public:
  registers(recorder<System>& on, const target& t, const machine& m, int device)
      : on_(on), t_(t), m_(m), device_(device) {}

  void use() {
    for (std::uint32_t i = 0; i <= VFIO_PCI_VGA_REGION_INDEX; ++i)
      on_.ioctl_bytes("region " + std::to_string(i), device_, VFIO_DEVICE_GET_REGION_INFO,
                      words({64, 0, i, 0}, 64));
    for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_IRQS; ++i)
      on_.ioctl_bytes("irq " + std::to_string(i), device_, VFIO_DEVICE_GET_IRQ_INFO,
                      words({16, 0, i, 9}));
    ask_features();
    move_position();
    read_bars();
    read_config();
    write_config();
  }
  /// What is in the registers that `use` wrote.
  void read_again(int device) {
    device_ = device;
    read(config_space + PCI_INTERRUPT_LINE, 1);
    read(config_space + PCI_BASE_ADDRESS_0, 24);
  }

 private:
  void ask_features() {
    for (const std::uint32_t number : {0U, 1U, 2U, 10U, 100U})
      for (std::uint32_t how = 0; how < 8; ++how) {
        // Without PROBE, SET gives the device something; only with GET it cannot.
        if (how == 2) continue;
        on_.ioctl_bytes("feature " + std::to_string(number) + " how " + std::to_string(how),
                        device_, VFIO_DEVICE_FEATURE, words({8, number | how << 16}));
      }
  }
  // What is in a BAR is the device's own business, so only the counts are compared.
  void move_position() {
    unsigned char data[4] = {};
    for (const std::size_t size : {std::size_t{0}, sizeof data, sizeof data})
      on_.say("read(2)", on_.sys().read(device_, data, size));
    on_.say("write(2)", on_.sys().write(device_, data, 0));
    for (const std::uint64_t region : {0U, 6U, 7U, 9U, 20U}) {
      const std::uint64_t at = (region << 40) + 0x8000;
      on_.say("empty read", on_.sys().pread(device_, data, 0, at));
      on_.say("empty write", on_.sys().pwrite(device_, data, 0, at));
    }
  }
  void read_bars() {
    for (std::size_t i = 0; i < t_.pci.bars.size() && i < 6; ++i) {
      const kvm_vfio::sim::bar_spec& bar = t_.pci.bars[i];
      if (bar.size < 8 || bar.io) continue;
      const std::uint64_t region = std::uint64_t{i} << 40;
      unsigned char data[16] = {};
      const std::uint64_t end = region + bar.size;
      on_.say("last word", on_.sys().pread(device_, data, 4, end - 4));
      if (m_.any_access) on_.say("behind the end", on_.sys().pread(device_, data, 8, end - 4));
      on_.say("end", on_.sys().pread(device_, data, 4, end));
      const bool memory_on = enable_memory(false);
      on_.say("without memory", on_.sys().pread(device_, data, 4, end - 4));
      if (memory_on) enable_memory(true);
      if (t_.pci.msix_vectors != 0 && t_.pci.msix_table.bar == i)
        read(region + t_.pci.msix_table.offset, m_.any_access ? 16 : 4);
    }
  }
  bool enable_memory(bool on) {
    unsigned char command[2] = {};
    (void)on_.sys().pread(device_, command, 2, config_space + PCI_COMMAND);
    const bool was_on = (command[0] & PCI_COMMAND_MEMORY) != 0;
    command[0] = static_cast<unsigned char>(on ? command[0] | PCI_COMMAND_MEMORY
                                               : command[0] & ~PCI_COMMAND_MEMORY);
    on_.say("command", on_.sys().pwrite(device_, command, 2, config_space + PCI_COMMAND));
    return was_on;
  }
  void read_config() {
    // The topology does not have what is between the header and the first capability, and no
    // pointer to capabilities that the status register does not announce.
    std::uint64_t first = 256;
    for (const kvm_vfio::sim::capability_spec& c : t_.pci.capabilities)
      first = std::min<std::uint64_t>(first, c.offset);
    read(config_space, PCI_CAPABILITY_LIST);
    if (first < 256) read(config_space + PCI_CAPABILITY_LIST, 1);
    if (first < 256) read(config_space + first, 256 - first);
  }
  void write_config() {
    const std::vector<unsigned char> ones(4, 0xff);
    for (std::uint64_t at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4)
      write_and_read(at, ones);
    write_and_read(PCI_ROM_ADDRESS, ones);
    write_and_read(PCI_VENDOR_ID, ones);
    write_and_read(PCI_CLASS_REVISION, ones);
    write_and_read(PCI_SUBSYSTEM_VENDOR_ID, ones);
    write_and_read(PCI_INTERRUPT_LINE, {0x55});
    // Without parity, which not every function implements.
    write_and_read(PCI_COMMAND, {0xbf, 0xff});
    for (const kvm_vfio::sim::capability_spec& c : t_.pci.capabilities)
      if (c.id == PCI_CAP_ID_MSI && !is_extended(c)) {
        write_and_read(c.offset, {0xff, 0xff});
        write_and_read(c.offset + std::uint64_t{PCI_MSI_FLAGS}, {0xff});
      }
  }
  void write_and_read(std::uint64_t at, const std::vector<unsigned char>& data) {
    on_.say("write " + std::to_string(at),
            on_.sys().pwrite(device_, data.data(), data.size(), config_space + at));
    read(config_space + at, data.size());
  }
  void read(std::uint64_t at, std::size_t size) {
    std::vector<unsigned char> data(size);
    const std::string what = "read " + std::to_string(at);
    on_.say(what, on_.sys().pread(device_, data.data(), size, at));
    on_.bytes(what, data.data(), size);
  }

  recorder<System>& on_;
  const target& t_;
  const machine& m_;
  int device_;
};

template <class System>
void use_registers(recorder<System>& on, const target& t, const machine& m) {
  const opened_device o = on.open_device(t);
  if (o.device >= 0) {
    registers<System> r(on, t, m, o.device);
    r.use();
    on.close("device", o.device);
    if (t.physical_group.empty()) r.read_again(on.get_device(o.group, t.device));
  }
  on.close_all();
}

/// The functions that a hot reset of a device resets, and which groups the reset wants.
template <class System>
void use_hot_reset(recorder<System>& on, const target& t, const machine& m) {
  const opened_device o = on.open_device(t);
  for (const std::uint32_t size : {11U, 12U, 16U, 20U, 28U, 36U})
    on.ioctl_bytes("HOT_RESET_INFO", o.device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
                   words({size, 0, 7}, 36));
  int other = -1;
  for (const target& of : m.targets)
    if (of.group != t.group && other < 0) other = on.open("another group", of.group);
  const auto fd = [](int n) { return static_cast<std::uint32_t>(n); };
  on.ioctl_bytes("HOT_RESET without groups", o.device, VFIO_DEVICE_PCI_HOT_RESET,
                 words({12, 0, 0}));
  for (const int to : {o.container, other, o.group}) {
    auto argument = words({16, 0, 1, fd(to)});
    on.ioctl("HOT_RESET", o.device, VFIO_DEVICE_PCI_HOT_RESET,
             reinterpret_cast<std::uintptr_t>(argument.data()));
  }
  on.close_all();
}

}  // namespace vfio_lockstep::fixed
