// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of config.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/pci/config.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void pci_config::reset() noexcept {
  std::copy(initial_.begin(), initial_.end(), bytes_.begin());
  if (msi_ == 0) return;
  const unsigned flags = bytes_[msi_ + PCI_MSI_FLAGS] & ~unsigned{PCI_MSI_FLAGS_QSIZE};
  bytes_[msi_ + PCI_MSI_FLAGS] = static_cast<std::uint8_t>(flags | enabled_msi_ << 4);
}

KVM_VFIO_INLINE pci_config::pci_config(const pci_spec& spec, bool is_virtual)
    : bytes_(spec.express ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE),
      writable_(bytes_.size()),
      virtual_(is_virtual) {
  build_header(spec);
  build_bars(spec);
  build_capabilities(capabilities_of(spec));
  std::copy(spec.own_registers.begin(), spec.own_registers.end(),
            bytes_.begin() + PCI_STD_HEADER_SIZEOF);
  initial_.assign(bytes_.begin(), bytes_.end());
}

KVM_VFIO_INLINE std::uint16_t pci_config::at16(std::size_t offset) const noexcept {
  return static_cast<std::uint16_t>(bytes_[offset] | bytes_[offset + 1] << 8);
}

KVM_VFIO_INLINE std::uint32_t pci_config::at32(std::size_t offset) const noexcept {
  return at16(offset) | std::uint32_t{at16(offset + 2)} << 16;
}

KVM_VFIO_INLINE void pci_config::write(std::size_t offset, std::uint8_t value) noexcept {
  if (pm_ != 0 && offset == pm_ + PCI_PM_CTRL) set_power(value & unsigned{PCI_PM_CTRL_STATE_MASK});
  const std::uint8_t mask = writable_[offset];
  bytes_[offset] = static_cast<std::uint8_t>((bytes_[offset] & ~mask) | (value & mask));
  if (msi_ != 0 && offset == msi_ + PCI_MSI_FLAGS) limit_msi();
}

KVM_VFIO_INLINE bool pci_config::memory_enabled() const noexcept {
  return (virtual_ || (at16(PCI_COMMAND) & PCI_COMMAND_MEMORY) != 0) && power() != d3hot;
}

KVM_VFIO_INLINE unsigned pci_config::power() const noexcept {
  return pm_ == 0 ? 0 : at16(pm_ + PCI_PM_CTRL) & unsigned{PCI_PM_CTRL_STATE_MASK};
}

KVM_VFIO_INLINE void pci_config::set_power(unsigned state) noexcept {
  const unsigned can = at16(pm_ + PCI_PM_PMC);
  const bool exists =
      (state != 1 || (can & PCI_PM_CAP_D1)) && (state != 2 || (can & PCI_PM_CAP_D2));
  // From a low-power state Linux goes only deeper, or to D0.
  if (!exists || (state != 0 && state < power())) return;
  const unsigned b = bytes_[pm_ + PCI_PM_CTRL] & ~unsigned{PCI_PM_CTRL_STATE_MASK};
  bytes_[pm_ + PCI_PM_CTRL] = static_cast<std::uint8_t>(b | state);
}

KVM_VFIO_INLINE void pci_config::enable_msi(std::uint32_t vectors) noexcept {
  if (msi_ == 0) return;
  most_msi_ = kvm_vfio::detail::convert<unsigned>(std::bit_width(vectors - 1));
  enabled_msi_ = most_msi_;
}

KVM_VFIO_INLINE void pci_config::reset_function() noexcept {
  if (pm_ != 0) set_power(0);
  enabled_msi_ = msi_armed_ ? most_msi_ : 0;
}

KVM_VFIO_INLINE void pci_config::enable_msix(bool on) noexcept {
  if (msix_ != 0) set_bit(msix_ + PCI_MSIX_FLAGS + 1, PCI_MSIX_FLAGS_ENABLE >> 8, on);
}

KVM_VFIO_INLINE void pci_config::put(std::size_t offset, std::uint64_t value,
                                     std::size_t width) noexcept {
  for (std::size_t i = 0; i < width; ++i, value >>= 8)
    bytes_[offset + i] = static_cast<std::uint8_t>(value);
}

KVM_VFIO_INLINE void pci_config::allow(std::size_t offset, std::uint64_t mask,
                                       std::size_t width) noexcept {
  for (std::size_t i = 0; i < width; ++i, mask >>= 8)
    writable_[offset + i] = static_cast<std::uint8_t>(mask);
}

KVM_VFIO_INLINE void pci_config::set_bit(std::size_t offset, unsigned bit, bool on) noexcept {
  const unsigned b = bytes_[offset];
  bytes_[offset] = static_cast<std::uint8_t>(on ? b | bit : b & ~bit);
}

KVM_VFIO_INLINE void pci_config::limit_msi() noexcept {
  unsigned b = bytes_[msi_ + PCI_MSI_FLAGS];
  if (!msi_armed_) b &= ~unsigned{PCI_MSI_FLAGS_ENABLE};
  const unsigned most = most_msi_ << 4;
  if ((b & PCI_MSI_FLAGS_QSIZE) > most) b = (b & ~unsigned{PCI_MSI_FLAGS_QSIZE}) | most;
  bytes_[msi_ + PCI_MSI_FLAGS] = static_cast<std::uint8_t>(b);
  enabled_msi_ = (b & PCI_MSI_FLAGS_QSIZE) >> 4;
}

KVM_VFIO_INLINE void pci_config::build_header(const pci_spec& spec) noexcept {
  put(PCI_VENDOR_ID, spec.vendor, 2);
  put(PCI_DEVICE_ID, spec.device, 2);
  unsigned command = spec.command & ~unsigned{PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE};
  for (const bar_spec& bar : spec.bars)
    if (bar.size != 0) command |= bar.io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
  // A virtual function has no such bit. VFIO shows it to the process.
  if (virtual_) command |= PCI_COMMAND_MEMORY;
  put(PCI_COMMAND, command, 2);
  put(PCI_STATUS, spec.status, 2);
  allow(PCI_COMMAND,
        PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
            PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
        2);
  put(PCI_REVISION_ID, spec.revision, 1);
  put(PCI_CLASS_PROG, spec.class_code, 3);
  allow(PCI_CACHE_LINE_SIZE, 0xff, 1);
  put(PCI_HEADER_TYPE, spec.multifunction ? 0x80 : 0, 1);
  put(PCI_SUBSYSTEM_VENDOR_ID, spec.subsystem_vendor, 2);
  put(PCI_SUBSYSTEM_ID, spec.subsystem, 2);
  put(PCI_INTERRUPT_LINE, spec.interrupt_line, 1);
  put(PCI_INTERRUPT_PIN, spec.intx && !virtual_ ? 1 : 0, 1);
  allow(PCI_INTERRUPT_LINE, 0xff, 1);
}

KVM_VFIO_INLINE void pci_config::build_bars(const pci_spec& spec) noexcept {
  for (std::size_t i = 0; i < spec.bars.size() && i < PCI_STD_NUM_BARS; ++i) {
    const bar_spec& bar = spec.bars[i];
    if (bar.size == 0) continue;
    std::uint64_t type = bar.io ? PCI_BASE_ADDRESS_SPACE_IO : PCI_BASE_ADDRESS_SPACE_MEMORY;
    if (bar.is_64bit) type |= PCI_BASE_ADDRESS_MEM_TYPE_64;
    if (bar.prefetchable) type |= PCI_BASE_ADDRESS_MEM_PREFETCH;
    const std::size_t at = PCI_BASE_ADDRESS_0 + 4 * i;
    const std::size_t width = bar.is_64bit && i + 1 < PCI_STD_NUM_BARS ? 8 : 4;
    // The BARs of virtual functions are in the SR-IOV capability. The registers here read as 0.
    put(at, virtual_ ? type : type | bar.address, width);
    allow(at, ~(bar.size - 1), width);
  }
  if (spec.rom_size != 0) allow(PCI_ROM_ADDRESS, ~(spec.rom_size - 1) | PCI_ROM_ADDRESS_ENABLE, 4);
}

KVM_VFIO_INLINE void pci_config::build_capabilities(
    const std::vector<capability_spec>& all) noexcept {
  std::size_t link = PCI_CAPABILITY_LIST;
  for (const capability_spec& c : all) {
    std::copy(c.bytes.begin(), c.bytes.end(),
              bytes_.begin() + static_cast<std::ptrdiff_t>(c.offset + header_size(c)));
    if (is_extended(c)) {
      put(c.offset, c.id | std::uint32_t{c.version} << 16, 4);
      // The list of extended capabilities starts at a fixed offset, so nothing points to its first
      // element. The offset of the next element is in the upper 12 bits of a header.
      if (c.offset != PCI_CFG_SPACE_SIZE)
        put(link + 2, at16(link + 2) | std::uint64_t{c.offset} << 4, 2);
      link = c.offset;
      continue;
    }
    put(link, c.offset, 1);
    put(c.offset, c.id, 1);
    link = c.offset + std::size_t{PCI_CAP_LIST_NEXT};
    bytes_[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    if (c.id == PCI_CAP_ID_MSI) build_msi(c.offset);
    if (c.id == PCI_CAP_ID_MSIX) msix_ = c.offset;
    if (c.id == PCI_CAP_ID_PM) {
      pm_ = c.offset;
      set_power(0);  // opening the device wakes it up
    }
  }
}

KVM_VFIO_INLINE void pci_config::build_msi(std::size_t at) noexcept {
  msi_ = at;
  const unsigned flags = at16(at + PCI_MSI_FLAGS);
  const msi_layout layout = msi_layout_of(flags);
  enabled_msi_ = (flags & PCI_MSI_FLAGS_QSIZE) >> 4;
  // VFIO lets a process write all flags, and limits them afterwards (see limit_msi).
  allow(at + PCI_MSI_FLAGS, 0xff, 2);
  allow(at + PCI_MSI_ADDRESS_LO, 0xffffffff, 4);
  if (flags & PCI_MSI_FLAGS_64BIT) allow(at + PCI_MSI_ADDRESS_HI, 0xffffffff, 4);
  allow(at + layout.data, 0xffff, 2);
  if (flags & PCI_MSI_FLAGS_MASKBIT) allow(at + layout.data + 4, 0xffffffff, 4);
}

}  // namespace kvm_vfio::sim
