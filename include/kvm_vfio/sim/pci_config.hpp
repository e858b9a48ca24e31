// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A PCI function's configuration space as vfio-pci shows it: BARs that can be sized, MSI whose
/// enable bit only SET_IRQS sets, other capabilities that can only be read.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/pci_capabilities.hpp>
#include <kvm_vfio/sim/topology.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// The bytes, and which bits of them can be written.
class pci_config {
 public:
  /// As the device's first open finds it: it decodes what it has and is no bus master.
  /// \pre `spec` is right (topology_check.hpp)
  explicit pci_config(const pci_spec& spec);
  /// As it was made. Takes no memory.
  void reset() noexcept;

  /// Bytes: 256, or 4096 of an Express function.
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  /// A byte. \pre it lies inside
  [[nodiscard]] std::uint8_t at(std::size_t offset) const noexcept { return bytes_[offset]; }
  /// Two bytes. \pre they lie inside
  [[nodiscard]] std::uint16_t at16(std::size_t offset) const noexcept;
  /// Four bytes. \pre they lie inside
  [[nodiscard]] std::uint32_t at32(std::size_t offset) const noexcept;
  /// Writes what can be written of one byte.
  void write(std::size_t offset, std::uint8_t value) noexcept;

  /// Whether BARs answer (the command register).
  [[nodiscard]] bool memory_enabled() const noexcept;
  /// Where the MSI capability is, 0: nowhere.
  [[nodiscard]] std::size_t msi() const noexcept { return msi_; }
  /// Where the MSI-X capability is, 0: nowhere.
  [[nodiscard]] std::size_t msix() const noexcept { return msix_; }
  /// SET_IRQS armed or disarmed MSI: its enable bit follows.
  void enable_msi(bool on) noexcept;
  /// SET_IRQS armed or disarmed MSI-X: its enable bit follows.
  void enable_msix(bool on) noexcept;

 private:
  void put(std::size_t offset, std::uint64_t value, std::size_t width) noexcept;
  void allow(std::size_t offset, std::uint64_t mask, std::size_t width) noexcept;
  void set_bit(std::size_t offset, unsigned bit, bool on) noexcept;
  // The enable bit is SET_IRQS's, and no more vectors can be enabled than there are.
  void limit_msi() noexcept;

  void build_header(const pci_spec& spec) noexcept;
  void build_bars(const pci_spec& spec) noexcept;
  void build_capabilities(const std::vector<capability_spec>& all) noexcept;
  void build_msi(std::size_t at) noexcept;

  std::vector<std::uint8_t> bytes_;
  std::vector<std::uint8_t> writable_;
  std::vector<std::uint8_t> initial_;
  std::size_t msi_ = 0;
  std::size_t msix_ = 0;
  unsigned most_msi_ = 0;  // log2
  bool msi_armed_ = false;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/pci_config.hpp>
#endif
