// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The capabilities of a PCI function as bytes of the configuration space.

#include <kvm_vfio/sim/topology.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// Whether a capability is in the list of extended capabilities.
[[nodiscard]] constexpr bool is_extended(const capability_spec& c) noexcept {
  return c.offset >= PCI_CFG_SPACE_SIZE;
}
/// The size of the header of a capability, in bytes.
[[nodiscard]] constexpr std::size_t header_size(const capability_spec& c) noexcept {
  return is_extended(c) ? 4 : 2;
}
/// Two bytes of a capability as a little-endian number. Bytes that `capability_spec::bytes` does
/// not contain are zero.
/// \param c  the capability
/// \param at the offset from the start of its header, in bytes
[[nodiscard]] std::uint16_t word_of(const capability_spec& c, std::size_t at) noexcept;
/// Four bytes of a capability as a little-endian number. Bytes that `capability_spec::bytes` does
/// not contain are zero.
/// \param c  the capability
/// \param at the offset from the start of its header, in bytes
[[nodiscard]] std::uint32_t dword_of(const capability_spec& c, std::size_t at) noexcept;

/// The layout of an MSI capability, which depends on its flags.
struct msi_layout {
  /// The offset of the message data from the start of the header, in bytes. The data is behind the
  /// message address, which has 4 or 8 bytes.
  std::size_t data = PCI_MSI_DATA_32;
  /// The size of the whole capability, in bytes.
  std::size_t size = 10;
};
/// The layout of an MSI capability with these flags (PCI_MSI_FLAGS).
[[nodiscard]] constexpr msi_layout msi_layout_of(unsigned flags) noexcept {
  const bool wide = (flags & PCI_MSI_FLAGS_64BIT) != 0;
  const bool masks = (flags & PCI_MSI_FLAGS_MASKBIT) != 0;
  return {.data = wide ? std::size_t{PCI_MSI_DATA_64} : std::size_t{PCI_MSI_DATA_32},
          .size = (wide ? 14U : 10U) + (masks ? 10U : 0U)};
}

/// The size of a capability in the configuration space, in bytes, with its header.
[[nodiscard]] std::size_t size_of(const capability_spec& c) noexcept;

/// The position of the pending bits of MSI-X.
[[nodiscard]] bar_place pending_bits_of(const pci_spec& pci) noexcept;

namespace detail {
void put_bytes(std::vector<std::uint8_t>& to, std::size_t at, std::uint64_t value,
               std::size_t width) noexcept;

// The bytes behind the header of PCI Express, MSI or MSI-X, made from the other members of a
// pci_spec. Empty for any other capability.
[[nodiscard]] std::vector<std::uint8_t> generated_bytes(const pci_spec& pci, unsigned id);
}  // namespace detail

/// The end of the registers that a function has for itself: the offset of its first ordinary
/// capability, or 0x100 if it has none.
[[nodiscard]] std::size_t end_of_own_registers(const pci_spec& pci);

/// The capabilities of a function with their bytes. If `pci_spec::capabilities` is empty, they are
/// PCI Express, MSI and MSI-X from 0x40 on, each only if the function has it.
[[nodiscard]] std::vector<capability_spec> capabilities_of(const pci_spec& pci);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/topology/impl/pci_capabilities.hpp>
#endif
