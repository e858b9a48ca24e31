// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A generic PCI function behind vfio-pci: regions, interrupts, reset.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci_config.hpp>
#include <kvm_vfio/sim/pci_irqs.hpp>
#include <kvm_vfio/sim/sparse_bytes.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// A function's state. Guarded by the world's lock.
class pci_endpoint {
 public:
  /// Where a region starts in the device's file.
  static constexpr unsigned offset_shift = 40;
  /// The least BAR that can be mapped, in bytes.
  static constexpr std::uint64_t page = 4096;

  /// As after a reset.
  explicit pci_endpoint(const pci_spec& spec,
                        const linux_release& release = release_of<linux_7_3>());

  /// Its interrupts.
  pci_irqs irqs;
  /// Its configuration space.
  [[nodiscard]] const pci_config& config() const noexcept { return config_; }
  /// How often the device was reset.
  [[nodiscard]] int resets() const noexcept { return resets_; }
  /// Bytes of a region; 0: it is not there.
  [[nodiscard]] std::uint64_t size(std::uint32_t index) const noexcept;
  /// Whether a region can be mapped: a BAR of at least a page.
  [[nodiscard]] bool mappable(std::uint32_t index) const noexcept;
  /// Whether a region is a BAR of I/O ports.
  [[nodiscard]] bool is_io(std::uint32_t index) const noexcept;
  /// The memory behind a BAR. It takes what is written of it. \pre index < PCI_STD_NUM_BARS
  [[nodiscard]] sparse_bytes& bar(std::uint32_t index) noexcept { return bars_[index]; }

  /// The device's own ioctls (vfio_pci_core_ioctl); notty: it has none of that number.
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument);
  /// pread(2): as many bytes as the region has from there.
  /// \return fault: past the config space · inval: no such region, or past it · io: memory is
  ///         disabled in the command register
  answer read(void* to, std::size_t size, std::uint64_t offset) const;
  /// pwrite(2), with the same errors.
  answer write(const void* from, std::size_t size, std::uint64_t offset);
  /// The last close: interrupts off, the configuration space as it was.
  void close() noexcept;

 private:
  struct span {
    errc error = errc::ok;
    std::uint32_t index = 0;
    std::uint64_t at = 0;
    std::size_t size = 0;
  };

  answer get_info(process& task, std::uint64_t argument) const;
  answer get_region_info(process& task, std::uint64_t argument) const;
  answer get_irq_info(process& task, std::uint64_t argument) const;

  // There is neither slot nor bus reset: nodev, if the struct is in order.
  static answer hot_reset(process& task, std::uint64_t argument, bool with_flags);
  [[nodiscard]] bool has_table(std::uint32_t index) const noexcept;
  [[nodiscard]] span find(std::uint64_t offset, std::size_t count) const noexcept;
  // What of a BAR's bytes lies in the MSI-X table, which is VFIO's own: it reads as ones and
  // ignores writes.
  [[nodiscard]] span table_in(const span& s) const noexcept;
  void follow_irqs() noexcept;

  pci_spec spec_;
  linux_release release_;
  pci_config config_;
  sparse_bytes bars_[PCI_STD_NUM_BARS];
  int resets_ = 0;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/pci_endpoint.hpp>
#endif
