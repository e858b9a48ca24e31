// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Accesses to a device that reach a limit: many bytes, the end of a region, memory that is
/// disabled, low power, a file that is not bound.

#include "odd_calls.hpp"

#include <kvm_vfio/sim/topology/pci_capabilities.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep::fixed {

/// Makes the calls with a device.
template <class System>
class odd_accesses : odd_calls<System> {
  using base = odd_calls<System>;
  using base::ask;
  using base::cut;
  using base::memory_;
  using base::on_;
  using base::page_;
  using base::pair;
  using base::read_only;

 public:
  odd_accesses(recorder<System>& on, const machine& m, const dma_memory& memory)
      : base(on, m, memory) {}

  void run(const target& t) {
    if (!t.cdev.empty()) device_file(t);
    const opened_device o = on_.open_device(t);
    device_ = o.device;
    if (device_ < 0) return;
    behind_the_end(t);
    table(t);
    const unsigned char off[2] = {}, enabled[2] = {PCI_COMMAND_IO | PCI_COMMAND_MEMORY, 0};
    write("the command", off, config_space + PCI_COMMAND);
    disabled(t);
    write("the command", enabled, config_space + PCI_COMMAND);
    low_power(t);
    hot_reset(o.group);
    on_.close_all();
  }

 private:
  // The first call on the file of a device must bind it.
  void device_file(const target& t) {
    const int fd = on_.open("device file", t.cdev);
    unsigned char bytes[4] = {};
    on_.say("read(2)", on_.sys().read(fd, bytes, sizeof bytes));
    on_.say("write(2)", on_.sys().write(fd, bytes, sizeof bytes));
    on_.say("read", on_.sys().pread(fd, bytes, sizeof bytes, config_space));
    on_.say("write", on_.sys().pwrite(fd, bytes, sizeof bytes, config_space));
    on_.say("mmap", on_.sys().mmap(page_, 1, fd, 0).error());
    const int iommufd = on_.open("iommufd", "/dev/iommu");
    const std::uint32_t id = on_.bind(fd, iommufd);
    ask("GET_HW_INFO", iommufd, u::request_get_hw_info, {pair(40, 0), pair(id, 0), 0, 0, 0});
    ask("GET_HW_INFO, short", iommufd, u::request_get_hw_info, {pair(32, 0), pair(id, 0), 0, 0});
    unsigned char registers[64];
    for (unsigned char& b : registers) b = 0x55;
    const std::uint64_t info[] = {pair(40, 0), pair(id, sizeof registers),
                                  reinterpret_cast<std::uintptr_t>(registers), 0, 0};
    on_.ioctl("GET_HW_INFO, much room", iommufd, u::request_get_hw_info,
              reinterpret_cast<std::uintptr_t>(info));
    // The registers themselves are not compared (docs/sim.md).
    on_.bytes("behind the registers", registers + 24, sizeof registers - 24);
    on_.close_all();
  }
  void behind_the_end(const target& t) {
    for (std::size_t i = 0; i < t.pci.bars.size(); ++i) {
      const kvm_vfio::sim::bar_spec& bar = t.pci.bars[i];
      const std::uint64_t at = std::uint64_t{i} << 40;
      if (bar.size == 0 || bar.io) continue;
      on_.say("mmap behind the end", on_.sys().mmap(page_, 1, device_, at + 2 * bar.size).error());
      if (bar.size != 1U << 20) continue;
      // The simulator moves many bytes in parts. The device has no registers here.
      std::vector<unsigned char> many(1U << 19);
      on_.say("a long read", on_.sys().pread(device_, many.data(), 300000, at + 0x10000));
      on_.say("a long write", on_.sys().pwrite(device_, many.data(), 300000, at + 0x10000));
      on_.say("a read up to the end",
              on_.sys().pread(device_, many.data(), many.size(), at + 0xc0000));
      on_.say("a write up to the end",
              on_.sys().pwrite(device_, many.data(), many.size(), at + 0xc0000));
    }
  }
  void table(const target& t) {
    if (t.pci.msix_vectors == 0) return;
    const std::uint32_t index = t.pci.msix_table.bar;
    for (std::size_t size = 32; size <= 56; size += 4)
      cut("GET_REGION_INFO", device_, VFIO_DEVICE_GET_REGION_INFO,
          {pair(64, 0), pair(index, 0), 0, 0, 0, 0, 0}, size);
    read_only("GET_REGION_INFO", device_, VFIO_DEVICE_GET_REGION_INFO,
              {pair(64, 0), pair(index, 0), 0, 0, 0, 0, 0, 0});
    // The position of read(2) is then that of a table in BAR 0.
    std::vector<unsigned char> before(static_cast<std::size_t>(t.pci.msix_table.offset));
    if (index == 0) on_.say("read(2)", on_.sys().read(device_, before.data(), before.size()));
  }
  // Memory that the command register disables. VFIO answers for the MSI-X table itself.
  void disabled(const target& t) {
    unsigned char bytes[4] = {};
    const std::size_t size = std::size_t{16} * t.pci.msix_vectors;
    std::vector<unsigned char> more(size + 16, 0x55);
    on_.say("read(2)", on_.sys().read(device_, more.data(), more.size()));
    if (t.pci.msix_table.bar == 0) on_.bytes("table", more.data(), size);
    on_.say("write(2)", on_.sys().write(device_, bytes, sizeof bytes));
    if (size == 0) return;
    const std::uint64_t at = (std::uint64_t{t.pci.msix_table.bar} << 40) + t.pci.msix_table.offset;
    std::fill(more.begin(), more.end(), 0x55);
    on_.say("the table", on_.sys().pread(device_, more.data(), size, at));
    on_.say("more than the table", on_.sys().pread(device_, more.data(), more.size(), at));
    on_.bytes("table", more.data(), size);
    on_.say("into the table", on_.sys().pread(device_, more.data(), 8, at + size - 4));
    auto* const absent = reinterpret_cast<unsigned char*>(memory_.absent);
    for (const std::size_t there : {0U, 4U})
      on_.say("to odd memory", on_.sys().pread(device_, absent - there, size + 16, at));
  }
  void low_power(const target& t) {
    for (const kvm_vfio::sim::capability_spec& c : t.pci.capabilities) {
      if (is_extended(c) || c.id != PCI_CAP_ID_PM) continue;
      const std::uint64_t at = config_space + c.offset + std::uint64_t{PCI_PM_CTRL};
      for (const int state : {3, 1, 2, 0}) {
        const unsigned char word[2] = {static_cast<unsigned char>(state), 0};
        write("power state " + std::to_string(state), word, at);
        unsigned char now[2] = {};
        on_.say("power state", on_.sys().pread(device_, now, sizeof now, at));
        on_.bytes("power state", now, 1);
        if (state != 3 && state != 0) continue;
        for (const std::uint32_t index : {VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX}) {
          const int event = on_.eventfd();
          irqs(index, VFIO_IRQ_SET_DATA_EVENTFD, 1, event);
          irqs(index, VFIO_IRQ_SET_DATA_NONE, 0, 0);
        }
        unsigned char bytes[4] = {};
        for (std::size_t i = 0; i < t.pci.bars.size(); ++i)
          if (t.pci.bars[i].size != 0 && !t.pci.bars[i].io)
            on_.say("read of BAR " + std::to_string(i),
                    on_.sys().pread(device_, bytes, sizeof bytes, std::uint64_t{i} << 40));
      }
    }
  }
  void irqs(std::uint32_t index, std::uint32_t data, std::uint32_t count, int fd) {
    auto c = words(
        {24, data | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, count, static_cast<std::uint32_t>(fd)});
    on_.ioctl_of("SET_IRQS of " + std::to_string(index), device_, VFIO_DEVICE_SET_IRQS, c);
  }
  void hot_reset(int group) {
    cut("HOT_RESET", device_, VFIO_DEVICE_PCI_HOT_RESET,
        {pair(16, 0), pair(1, static_cast<std::uint32_t>(group))}, 12);
    for (const std::size_t size : {12U, 16U, 20U, 24U})
      cut("HOT_RESET_INFO", device_, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, {pair(64, 0), 0, 0}, size);
  }
  void write(const std::string& what, const unsigned char (&word)[2], std::uint64_t at) {
    on_.say("write " + what, on_.sys().pwrite(device_, word, sizeof word, at));
  }

  int device_ = -1;
};

}  // namespace vfio_lockstep::fixed
