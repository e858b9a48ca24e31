// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads, writes and mappings of the regions of a device.

#include "group.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Reads, writes and mappings of the regions of a device.
class region_steps : public group_steps {
 protected:
  using group_steps::group_steps;

  static constexpr std::uint64_t config = std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40;
  void read_device(ref on) {
    const target* const t = device_in(on);
    if (t && r_.percent(50)) return read_config(on, *t);
    if (t && r_.percent(60)) return read_region(on, *t);
    // A region of any device, or the start of a configuration space.
    const std::uint64_t region = static_cast<std::uint64_t>(r_.below(11));
    const std::uint64_t at = r_.percent(85)
                                 ? 4 * static_cast<std::uint64_t>(r_.below(16))
                                 : r_.of<std::uint64_t>({1, 0x0e, 0x100, 0xfff, 0x1000, 0x1004});
    step& s = add({.what = verb::pread, .on = on, .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (region == 7 ? at : at & ~std::uint64_t{3});
    s.argument.resize(r_.percent(95) ? 4 : 0);
    // What a BAR holds is the device's own business. What is behind the header differs.
    if (region != 7 || at >= PCI_CAPABILITY_LIST) s.masks.push_back({0, 4});
  }
  void read_config(ref on, const target& t) {
    const int end = t.pci.express ? 4096 : 256;
    const std::uint64_t at =
        r_.percent(70) ? 4 * static_cast<std::uint64_t>(r_.below(64))
        : r_.percent(60)
            ? static_cast<std::uint64_t>(r_.below(end))
            : r_.of<std::uint64_t>({1, 0x0e, 0xfc, 0xfe, 0xff, 0x100, 0x104, 0xfff, 0x1000});
    const std::size_t size = r_.percent(70) ? 4 : r_.of<std::size_t>({0, 1, 2, 3, 8, 64, 64, 256});
    step& s = add({.what = verb::pread, .on = on, .only_for = t.device, .name = "config"});
    s.number = config + at;
    s.argument.resize(size);
    // The topology has no pointer to capabilities that the status register does not announce.
    for (std::size_t i = 0; i < size; ++i)
      if (at + i == PCI_CAPABILITY_LIST && t.pci.capabilities.empty()) s.masks.push_back({i, 1});
  }
  // An offset in a region of this size: near its ends, or near its MSI-X table.
  std::uint64_t place_in(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region,
                         std::uint64_t size) {
    if (pci.msix_vectors != 0 && region == pci.msix_table.bar && r_.percent(60)) {
      const std::uint64_t start = pci.msix_table.offset;
      const std::uint64_t end = start + 16 * std::uint64_t{pci.msix_vectors};
      return r_.of<std::uint64_t>({start, start + 4, start + 8, start >= 8 ? start - 8 : start,
                                   end - 4, end - 8, end, end + 4, start + 16});
    }
    return r_.of<std::uint64_t>({0, 4, 8, size / 2, size - 4, size - 8, size, size + 4});
  }
  std::uint64_t region_of(const kvm_vfio::sim::pci_spec& pci) {
    std::vector<std::uint64_t> there;
    for (std::size_t i = 0; i < pci.bars.size(); ++i)
      if (pci.bars[i].size != 0) there.push_back(i);
    if (there.empty() || r_.percent(10)) return static_cast<std::uint64_t>(r_.below(11));
    return there[static_cast<std::size_t>(r_.below(static_cast<int>(there.size())))];
  }
  static std::uint64_t size_of_region(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region) {
    return region < pci.bars.size() ? pci.bars[static_cast<std::size_t>(region)].size : 0;
  }
  // What is read of a BAR is the device's own business, but for the MSI-X table.
  void read_region(ref on, const target& t) {
    const std::uint64_t region = region_of(t.pci);
    if (region == VFIO_PCI_CONFIG_REGION_INDEX) return read_config(on, t);
    const std::uint64_t at = place_in(t.pci, region, size_of_region(t.pci, region));
    step& s = add({.what = verb::pread,
                   .on = on,
                   .only_for = t.device,
                   .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1));
    s.argument.resize(m_.any_access ? r_.of<std::size_t>({4, 4, 8, 16, 32, 3, 0})
                                    : r_.of<std::size_t>({4, 4, 0}));
    for (std::size_t i = 0; i < s.argument.size(); ++i)
      if (!in_table(t.pci, region, at + i)) s.masks.push_back({i, 1});
  }
  static bool in_table(const kvm_vfio::sim::pci_spec& pci, std::uint64_t region, std::uint64_t at) {
    return pci.msix_vectors != 0 && region == pci.msix_table.bar && at >= pci.msix_table.offset &&
           at < pci.msix_table.offset + 16 * std::uint64_t{pci.msix_vectors};
  }
  // A write that reaches the device could make it act, so only what VFIO keeps for itself, what is
  // behind the end, and memory without a device behind it is written.
  void write_region(ref on) {
    const target* const t = device_in(on);
    if (!t) return read_event();
    const std::uint64_t region = region_of(t->pci);
    const std::uint64_t size = size_of_region(t->pci, region);
    if (region == VFIO_PCI_CONFIG_REGION_INDEX) return write_config(on);
    const std::uint64_t at = place_in(t->pci, region, size);
    std::size_t count = r_.of<std::size_t>({4, 4, 8, 16, 0});
    constexpr std::uint64_t large = std::uint64_t{1} << 32;
    for (std::size_t i = 0; i < count; ++i)
      if (size < large && at + i < size && !in_table(t->pci, region, at + i)) count = i;
    step& s = add({.what = verb::pwrite,
                   .on = on,
                   .only_for = t->device,
                   .name = "region " + std::to_string(region)});
    s.number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1));
    s.argument.assign(count, 0x5a);
  }
  void map_region(ref on) {
    // An iommufd maps objects, which are not modelled.
    if (on.what == kind::iommufd || on.what == kind::vm || !m_.maps) return;
    const target* const t = device_in(on);
    const std::uint64_t region = t ? region_of(t->pci) : static_cast<std::uint64_t>(r_.below(11));
    const std::uint64_t p = m_.page;
    const std::uint64_t whole = t ? size_of_region(t->pci, region) : p;
    const std::uint64_t at =
        r_.percent(50)
            ? 0
            : r_.of<std::uint64_t>({0, p, whole >= p ? whole - p : p, whole, 16, whole / 2});
    add({.what = verb::mmap,
         .on = on,
         .name = "region " + std::to_string(region),
         .number = (region << 40) + (at & ((std::uint64_t{1} << 40) - 1)),
         .size = r_.of<std::uint64_t>({p, p, whole, whole + 1, whole + p, 1, 2 * p, 0})});
  }
  void write_config(ref on) {
    step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
    const target* const t = device_in(on);
    std::uint64_t msi = 0;
    if (t)
      for (const kvm_vfio::sim::capability_spec& c : t->pci.capabilities)
        if (c.id == PCI_CAP_ID_MSI && !is_extended(c)) msi = c.offset;
    std::uint64_t at = 0;
    switch (r_.below(6)) {
      case 0:  // a BAR is sized
        at = PCI_BASE_ADDRESS_0 + 4 * static_cast<unsigned>(r_.below(6));
        s.argument =
            bytes(r_.percent(80) ? ~std::uint32_t{0} : static_cast<std::uint32_t>(r_.next()));
        break;
      case 1:
        at = PCI_COMMAND;  // without parity, which not every function implements
        s.argument = bytes(r_.of<std::uint16_t>({0, 2, 3, 6, 0x402, 0xffbf}));
        break;
      case 2:
        at = PCI_INTERRUPT_LINE;
        s.argument = {static_cast<unsigned char>(r_.below(256))};
        break;
      case 3:  // nothing here can be written
        at = r_.of<std::uint64_t>({0, 8, 0x2c});
        s.argument = bytes(static_cast<std::uint32_t>(r_.next()));
        break;
      case 4:
        at = PCI_ROM_ADDRESS;
        s.argument = bytes(r_.of({~0U, 0xfffff800U, 0U}));
        break;
      default:
        at = PCI_INTERRUPT_LINE;
        s.argument = {static_cast<unsigned char>(r_.below(256))};
        if (msi == 0) break;
        s.only_for = t->device;
        at = msi + PCI_MSI_FLAGS;
        s.argument = bytes(static_cast<std::uint16_t>(r_.below(256)));
        if (r_.percent(60)) break;
        at = msi + r_.of({4U, 8U});
        s.argument = bytes(static_cast<std::uint32_t>(r_.next()));
        break;
    }
    s.number = config + at;
    step again = s;
    again.what = verb::pread;
    again.number = config + (at & ~std::uint64_t{3});
    again.argument.resize(4);
    add(std::move(again));
  }
};

}  // namespace vfio_lockstep
