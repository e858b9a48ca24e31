// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of pci_capabilities.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::uint16_t word_of(const capability_spec& c, std::size_t at) noexcept {
  const auto byte = [&c](std::size_t i) -> unsigned { return i < c.bytes.size() ? c.bytes[i] : 0; };
  const std::size_t i = at - header_size(c);
  return static_cast<std::uint16_t>(byte(i) | byte(i + 1) << 8);
}

KVM_VFIO_INLINE std::uint32_t dword_of(const capability_spec& c, std::size_t at) noexcept {
  return word_of(c, at) | std::uint32_t{word_of(c, at + 2)} << 16;
}

KVM_VFIO_INLINE std::size_t size_of(const capability_spec& c) noexcept {
  std::size_t least = header_size(c);
  if (!is_extended(c)) {
    if (c.id == PCI_CAP_ID_EXP) least = 0x14;
    if (c.id == PCI_CAP_ID_MSIX) least = PCI_CAP_MSIX_SIZEOF;
    if (c.id == PCI_CAP_ID_MSI) least = msi_layout_of(word_of(c, PCI_MSI_FLAGS)).size;
  }
  return std::max(least, header_size(c) + c.bytes.size());
}

KVM_VFIO_INLINE bar_place pending_bits_of(const pci_spec& pci) noexcept {
  if (pci.msix_pba) return *pci.msix_pba;
  return {pci.msix_table.bar, pci.msix_table.offset + pci.msix_vectors * PCI_MSIX_ENTRY_SIZE};
}

}  // namespace kvm_vfio::sim

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE void put_bytes(std::vector<std::uint8_t>& to, std::size_t at, std::uint64_t value,
                               std::size_t width) noexcept {
  for (std::size_t i = 0; i < width; ++i, value >>= 8)
    to[at + i] = static_cast<std::uint8_t>(value);
}

KVM_VFIO_INLINE std::vector<std::uint8_t> generated_bytes(const pci_spec& pci, unsigned id) {
  constexpr std::size_t header = 2;
  std::vector<std::uint8_t> out;
  if (id == PCI_CAP_ID_EXP) {
    out.resize(0x3c - header);
    put_bytes(out, PCI_EXP_FLAGS - header, 2, 2);  // version 2 of the capability, type endpoint
    put_bytes(out, PCI_EXP_DEVCAP - header, pci.resets ? PCI_EXP_DEVCAP_FLR : 0, 4);
  } else if (id == PCI_CAP_ID_MSI) {
    unsigned log2 = 0;
    while (log2 < 5 && (1U << (log2 + 1)) <= pci.msi_vectors) ++log2;
    out.resize(msi_layout_of(PCI_MSI_FLAGS_64BIT).size - header);
    put_bytes(out, PCI_MSI_FLAGS - header, PCI_MSI_FLAGS_64BIT | log2 << 1, 2);
  } else if (id == PCI_CAP_ID_MSIX) {
    const bar_place pending = pending_bits_of(pci);
    out.resize(PCI_CAP_MSIX_SIZEOF - header);
    put_bytes(out, PCI_MSIX_FLAGS - header, pci.msix_vectors - 1, 2);
    put_bytes(out, PCI_MSIX_TABLE - header, pci.msix_table.offset | pci.msix_table.bar, 4);
    put_bytes(out, PCI_MSIX_PBA - header, pending.offset | pending.bar, 4);
  }
  return out;
}

}  // namespace kvm_vfio::sim::detail

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::vector<capability_spec> capabilities_of(const pci_spec& pci) {
  std::vector<capability_spec> out = pci.capabilities;
  for (capability_spec& c : out)
    if (!is_extended(c) && c.bytes.empty()) c.bytes = detail::generated_bytes(pci, c.id);
  if (!out.empty()) return out;
  std::size_t at = PCI_STD_HEADER_SIZEOF;
  const auto add = [&](bool there, std::uint16_t id) {
    if (!there) return;
    out.push_back({.id = id, .offset = static_cast<std::uint16_t>(at)});
    out.back().bytes = detail::generated_bytes(pci, id);
    at += (size_of(out.back()) + 3) & ~std::size_t{3};
  };
  add(pci.express, PCI_CAP_ID_EXP);
  add(pci.msi_vectors != 0, PCI_CAP_ID_MSI);
  add(pci.msix_vectors != 0, PCI_CAP_ID_MSIX);
  return out;
}

KVM_VFIO_INLINE std::size_t end_of_own_registers(const pci_spec& pci) {
  std::size_t end = PCI_CFG_SPACE_SIZE;
  for (const capability_spec& c : capabilities_of(pci)) end = std::min<std::size_t>(end, c.offset);
  return end;
}

}  // namespace kvm_vfio::sim
