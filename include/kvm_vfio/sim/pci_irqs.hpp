// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO_DEVICE_SET_IRQS of a PCI function: which events are signalled by which interrupt.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/ioctl.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim {

/// The interrupts of one function. INTx, MSI and MSI-X exclude each other.
class pci_irqs {
 public:
  /// Nothing is armed.
  /// \param error_always the error interrupt is there without PCI Express too
  explicit pci_irqs(const pci_spec& spec, bool error_always = false) noexcept;

  /// How many interrupts an index has. \pre `index < VFIO_PCI_NUM_IRQS`
  [[nodiscard]] std::uint32_t count(std::uint32_t index) const noexcept;
  /// The armed one of INTx, MSI and MSI-X; VFIO_PCI_NUM_IRQS: none.
  [[nodiscard]] std::uint32_t armed() const noexcept { return armed_; }
  /// Whether any event is connected.
  [[nodiscard]] bool any() const noexcept;
  /// The device raises an interrupt: its event is signalled.
  /// \return whether there was one
  bool raise(std::uint32_t index, std::uint32_t vector = 0) noexcept;
  /// Disconnects everything (the device's last close).
  void reset() noexcept;

  /// VFIO_DEVICE_SET_IRQS.
  /// \return fault · inval · notty: no such action for this index · badf: an event's descriptor
  [[nodiscard]] errc set(process& task, std::uint64_t argument);

 private:
  using header = vfio_irq_set;
  using bytes = std::vector<unsigned char>;

  [[nodiscard]] errc validate(const header& h, std::uint32_t& each) const noexcept;
  [[nodiscard]] static std::int32_t fd_at(const bytes& data, std::size_t i) noexcept;
  // -1: nothing; badf: not open · inval: not an event.
  [[nodiscard]] static errc connect(process& task, std::int32_t fd, file_ref& to) noexcept;

  // INTx, MSI, MSI-X.
  errc trigger(process& task, const header& h, const bytes& data) noexcept;
  errc connect_all(process& task, const header& h, const bytes& data) noexcept;
  errc mask(const header& h, const bytes& data, bool on) noexcept;
  // The error and the request interrupt: one event each.
  static errc single(process& task, const header& h, const bytes& data, file_ref& event) noexcept;
  void disarm() noexcept;
  [[nodiscard]] const file_ref* event(std::uint32_t index, std::uint32_t vector) const noexcept;

  std::uint32_t intx_;
  std::uint32_t msi_;
  std::uint32_t msix_;
  std::uint32_t errors_;
  std::uint32_t armed_ = VFIO_PCI_NUM_IRQS;
  bool intx_masked_ = false;
  std::vector<file_ref> vectors_;
  file_ref error_;
  file_ref request_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/pci_irqs.hpp>
#endif
