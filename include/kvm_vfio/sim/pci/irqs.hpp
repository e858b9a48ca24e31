// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The interrupts of a PCI function: VFIO_DEVICE_SET_IRQS connects them with eventfds.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

/// The interrupts of a PCI function. Only one of INTx, MSI and MSI-X can be armed at a time.
/// An index is the number of a kind of interrupt (VFIO_PCI_*_IRQ_INDEX).
class pci_irqs {
 public:
  /// Makes the interrupts; none is armed.
  /// \param spec     the description of the function
  /// \param release  the Linux release whose VFIO is simulated
  /// \param most_msi the most MSI vectors that the host gives to one function
  /// \param is_virtual whether it is a virtual function (SR-IOV), which has no INTx
  pci_irqs(const pci_spec& spec, const linux_release& release, std::uint32_t most_msi,
           bool is_virtual) noexcept;
  pci_irqs(const pci_irqs&) = delete;
  pci_irqs& operator=(const pci_irqs&) = delete;
  ~pci_irqs() { drop_unmask(); }

  /// The number of interrupts of an index. \pre `index < VFIO_PCI_NUM_IRQS`
  [[nodiscard]] std::uint32_t count(std::uint32_t index) const noexcept;
  /// Whether SET_IRQS can add vectors to those of an armed index.
  [[nodiscard]] bool grows(std::uint32_t index) const noexcept {
    return dynamic_msix_ && msix_ != 0 && index == VFIO_PCI_MSIX_IRQ_INDEX;
  }
  /// The index of the armed interrupt: INTx, MSI or MSI-X. VFIO_PCI_NUM_IRQS: none is armed.
  [[nodiscard]] std::uint32_t armed() const noexcept { return armed_; }
  /// The number of vectors of the armed interrupt, also of those without an eventfd.
  [[nodiscard]] std::uint32_t armed_vectors() const noexcept {
    return static_cast<std::uint32_t>(vectors_.size());
  }
  /// Returns the number of MSI vectors that Linux wrote into the function since the last call of
  /// this function. Linux writes the number of armed vectors when MSI is armed, when a vector gets
  /// or loses its eventfd, and when MSI is disarmed. 0: Linux wrote nothing.
  [[nodiscard]] std::uint32_t take_written_msi() noexcept {
    return std::exchange(written_msi_, 0U);
  }
  /// Whether any interrupt is armed, or the error or request interrupt has an eventfd.
  [[nodiscard]] bool any() const noexcept;
  /// Whether a vector of an index has an eventfd.
  [[nodiscard]] bool connected(std::uint32_t index, std::uint32_t vector) const noexcept;
  /// Whether INTx is armed and masked.
  [[nodiscard]] bool masked() const noexcept;
  /// Whether an open eventfd unmasks INTx (UNMASK with an eventfd).
  [[nodiscard]] bool has_unmask_event() const noexcept;
  /// The process disables INTx in the command register, or enables it again. While it is disabled,
  /// INTx stays masked, and TRIGGER does not signal its eventfd.
  void disable_intx(bool disabled) noexcept;
  /// Tells whether the function is in the power state D0. In the others MSI and MSI-X cannot be
  /// armed.
  void set_awake(bool awake) noexcept { awake_ = awake; }
  /// Raises an interrupt of the function, as its hardware would. INTx is masked afterwards, until
  /// the process unmasks it.
  /// \param index  the kind of interrupt
  /// \param vector the number of the interrupt in this kind, counted from 0
  /// \return whether an eventfd was signalled
  bool raise(std::uint32_t index, std::uint32_t vector = 0) noexcept;
  /// Disconnects all eventfds and enables INTx (the last close of the device).
  void reset() noexcept;

  /// Executes VFIO_DEVICE_SET_IRQS.
  /// \return 0. If the host has fewer MSI vectors than are asked for, the number of vectors that it
  ///         has; then no interrupt is armed
  /// \par Errors
  /// - `errc::fault`: the struct or its data cannot be read
  /// - `errc::inval`: argsz, flags, index, start or count are wrong; another interrupt is armed;
  ///   there is nothing to mask, to trigger or to disconnect; a descriptor is not an eventfd; MSI
  ///   or MSI-X is to be armed in another power state than D0 (`pci_config::power`)
  /// - `errc::notty`: there is no such action for this index
  /// - `errc::busy`: UNMASK with an eventfd: INTx has an eventfd to unmask it already
  /// - `errc::badf`: a descriptor is not open
  /// - `errc::range`: an interrupt is to be armed with no vector at all
  [[nodiscard]] answer set(process& task, std::uint64_t argument);

 private:
  using header = vfio_irq_set;
  using bytes = std::vector<unsigned char>;

  [[nodiscard]] errc validate(const header& h, std::uint32_t& each) const noexcept;
  [[nodiscard]] static std::int32_t fd_at(const bytes& data, std::size_t i) noexcept;
  // Puts the eventfd behind a descriptor into `to`; a negative descriptor empties it. Errors:
  // - badf: the descriptor is not open
  // - inval: the file is not an eventfd
  [[nodiscard]] static errc connect(process& task, std::int32_t fd, file_ref& to) noexcept;

  // The action TRIGGER of INTx, MSI and MSI-X.
  answer trigger(process& task, const header& h, const bytes& data);
  answer arm(process& task, const header& h, const bytes& data);
  errc connect_all(process& task, const header& h, const bytes& data);
  // The action TRIGGER without eventfds: signals the eventfd of a vector.
  void loop_back(std::uint32_t index, std::uint32_t vector) noexcept;
  errc mask(process& task, const header& h, const bytes& data, bool on) noexcept;
  // The action UNMASK with an eventfd: each write to the eventfd unmasks INTx.
  errc connect_unmask(process& task, std::int32_t fd) noexcept;
  void unmask() noexcept { intx_masked_ = intx_disabled_; }
  // Unmasks INTx if the eventfd was written since. Forgets the eventfd if its last file is closed.
  void look_at_unmask() noexcept;
  void drop_unmask() noexcept;
  // The action TRIGGER of the error and of the request interrupt, which have one eventfd each.
  errc single(process& task, const header& h, const bytes& data, file_ref& event) const noexcept;
  void disarm() noexcept;
  // Linux writes the message of MSI into the function, with the number of armed vectors.
  void write_msi(std::uint32_t index) noexcept {
    if (index == VFIO_PCI_MSI_IRQ_INDEX) written_msi_ = armed_vectors();
  }
  [[nodiscard]] const file_ref* event(std::uint32_t index, std::uint32_t vector) const noexcept;

  std::uint32_t intx_;
  std::uint32_t msi_;
  std::uint32_t msix_;
  std::uint32_t errors_;
  std::uint32_t most_msi_;
  std::uint32_t written_msi_ = 0;
  bool dynamic_msix_;
  bool accepts_low_events_;
  std::uint32_t armed_ = VFIO_PCI_NUM_IRQS;
  bool intx_masked_ = false;
  bool intx_disabled_ = false;
  bool awake_ = true;
  event_file* unmask_ = nullptr;  // watched, but without a reference
  std::uint32_t unmasks_seen_ = 0;
  std::vector<file_ref> vectors_;
  file_ref error_;
  file_ref request_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/pci/impl/irqs.hpp>
#endif
