// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The configuration space of a PCI function, as vfio-pci shows it. A process can find the size of
/// a BAR by writing ones. Only VFIO_DEVICE_SET_IRQS sets the enable bits of MSI and MSI-X. The
/// power state can be written. Other capabilities are read-only.

#include <kvm_vfio/sim/topology.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// The configuration space of a PCI function. Offsets are in bytes from its start.
class pci_config {
 public:
  /// Makes the configuration space that a process sees after the first open of the device. The
  /// function decodes its BARs and is not a bus master.
  /// \param spec       the description of the function
  /// \param is_virtual whether it is a virtual function (SR-IOV). VFIO shows the identity that its
  ///                   physical function gives it, and addresses of 0 in its BARs. Its pin is 0.
  ///                   Its memory is always enabled.
  /// \pre `spec` is valid (topology_check.hpp)
  explicit pci_config(const pci_spec& spec, bool is_virtual = false);
  /// Sets all registers to the values that a process finds after it opens the function. Allocates
  /// nothing. These are the values that the constructor gave them, but the number of enabled MSI
  /// vectors stays in the function until a reset of the function clears it.
  void reset() noexcept;

  /// The size in bytes: 4096 for a PCI Express function, otherwise 256.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  /// The byte at an offset. \pre offset < size()
  [[nodiscard]] std::uint8_t at(std::size_t offset) const noexcept { return bytes_[offset]; }
  /// The two bytes at an offset as a little-endian number. \pre offset + 2 <= size()
  [[nodiscard]] std::uint16_t at16(std::size_t offset) const noexcept;
  /// The four bytes at an offset as a little-endian number. \pre offset + 4 <= size()
  [[nodiscard]] std::uint32_t at32(std::size_t offset) const noexcept;
  /// Writes one byte. Bits that are read-only keep their value. \pre offset < size()
  void write(std::size_t offset, std::uint8_t value) noexcept;

  /// Whether the memory BARs can be accessed: the command register enables them, or the function is
  /// a virtual function. And it is not in the power state D3hot.
  [[nodiscard]] bool memory_enabled() const noexcept;
  /// The power state: from 0, which is D0, to 3, which is D3hot. A function without power
  /// management is in D0.
  [[nodiscard]] unsigned power() const noexcept;
  /// The offset of the MSI capability. 0: the function has none.
  [[nodiscard]] std::size_t msi() const noexcept { return msi_; }
  /// The offset of the MSI-X capability. 0: the function has none.
  [[nodiscard]] std::size_t msix() const noexcept { return msix_; }
  /// Linux writes the number of armed MSI vectors into the function, rounded up to a power of two.
  /// The function keeps the number, also when MSI is disarmed and the device is closed. A process
  /// can write at most this number as the number of enabled vectors (vdev->msi_qmax). A process
  /// that has the device open finds the flags of MSI unchanged.
  /// \param vectors the number of vectors, at least 1
  void enable_msi(std::uint32_t vectors) noexcept;
  /// Says whether MSI is armed. While MSI is not armed, a process cannot set the enable bit of MSI.
  void arm_msi(bool armed) noexcept { msi_armed_ = armed; }
  /// The function is reset. Linux sets its power state to D0 first. The number of enabled MSI
  /// vectors in the function becomes 1. If MSI is armed, Linux writes the number that armed MSI
  /// into the function again.
  void reset_function() noexcept;
  /// Sets or clears the enable bit of MSI-X, when VFIO_DEVICE_SET_IRQS arms or disarms MSI-X.
  void enable_msix(bool on) noexcept;

 private:
  void put(std::size_t offset, std::uint64_t value, std::size_t width) noexcept;
  void allow(std::size_t offset, std::uint64_t mask, std::size_t width) noexcept;
  void set_bit(std::size_t offset, unsigned bit, bool on) noexcept;
  // Corrects the flags of MSI after a write. The enable bit stays clear while MSI is not armed, and
  // the number of enabled vectors is limited to the number that armed MSI last. The function gets
  // the number, too (vfio_msi_config_write).
  void limit_msi() noexcept;

  static constexpr unsigned d3hot = 3;  // a power state
  // A write to the power state (vfio_pm_config_write). A state that the function does not have, and
  // a step from a deeper state to another one than D0, change nothing.
  void set_power(unsigned state) noexcept;

  void build_header(const pci_spec& spec) noexcept;
  void build_bars(const pci_spec& spec) noexcept;
  void build_capabilities(const std::vector<capability_spec>& all) noexcept;
  void build_msi(std::size_t at) noexcept;

  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint8_t> writable_;
  std::vector<std::uint8_t> initial_;
  std::size_t msi_ = 0;
  std::size_t msix_ = 0;
  std::size_t pm_ = 0;  // the offset of the capability for power management; 0: there is none
  // Binary logarithms of numbers of MSI vectors: the number that armed MSI last, and the number in
  // the function. The flags in `bytes_` are those that VFIO shows to the process.
  unsigned most_msi_ = 0;
  unsigned enabled_msi_ = 0;
  bool msi_armed_ = false;
  bool virtual_ = false;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/pci/impl/config.hpp>
#endif
