// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The capabilities of a PCI function as bytes: how long each is, what it holds, where it lies.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// Whether it is in the list of extended capabilities.
[[nodiscard]] constexpr bool is_extended(const capability_spec& c) noexcept {
  return c.offset >= PCI_CFG_SPACE_SIZE;
}
/// Bytes of its header.
[[nodiscard]] constexpr std::size_t header_size(const capability_spec& c) noexcept {
  return is_extended(c) ? 4 : 2;
}
/// Two bytes of it. \param at from its header on; what the specification does not give is zero
[[nodiscard]] std::uint16_t word_of(const capability_spec& c, std::size_t at) noexcept;
/// Four bytes of it, likewise counted from its header.
[[nodiscard]] std::uint32_t dword_of(const capability_spec& c, std::size_t at) noexcept;

/// Where the registers of an MSI capability lie, counted from its header (they depend on its
/// flags).
struct msi_layout {
  /// The message's data, behind an address of 4 or 8 bytes.
  std::size_t data = PCI_MSI_DATA_32;
  /// Bytes of the whole capability.
  std::size_t size = 10;
};
/// The layout that belongs to the flags of an MSI capability.
[[nodiscard]] constexpr msi_layout msi_layout_of(unsigned flags) noexcept {
  const bool wide = (flags & PCI_MSI_FLAGS_64BIT) != 0;
  const bool masks = (flags & PCI_MSI_FLAGS_MASKBIT) != 0;
  return {.data = wide ? std::size_t{PCI_MSI_DATA_64} : std::size_t{PCI_MSI_DATA_32},
          .size = (wide ? 14U : 10U) + (masks ? 10U : 0U)};
}

/// Bytes of the configuration space that it takes, header included.
[[nodiscard]] std::size_t size_of(const capability_spec& c) noexcept;

/// Where the pending bits of MSI-X start.
[[nodiscard]] bar_place pending_bits_of(const pci_spec& pci) noexcept;

namespace detail {
void put_bytes(std::vector<std::uint8_t>& to, std::size_t at, std::uint64_t value,
               std::size_t width) noexcept;

// What follows the header of a capability that the other members of a pci_spec describe.
[[nodiscard]] std::vector<std::uint8_t> generated_bytes(const pci_spec& pci, unsigned id);
}  // namespace detail

/// The capabilities of a function with their bytes: those that the specification lists, or else
/// PCI Express, MSI and MSI-X from 0x40 on, as far as the function has them.
[[nodiscard]] std::vector<capability_spec> capabilities_of(const pci_spec& pci);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/pci_capabilities.hpp>
#endif
