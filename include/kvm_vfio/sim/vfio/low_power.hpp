// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The low-power state of a PCI function (VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY and its relatives).

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// Whether a process lets the host put a function into a low-power state (the members
/// pm_runtime_engaged and pm_wake_eventfd_ctx of the kernel's struct vfio_pci_core_device).
///
/// Linux suspends the function some time after the call, and each access resumes it. The simulator
/// suspends the function at once.
class low_power {
 public:
  /// Feature 3: the function may be suspended until LOW_POWER_EXIT.
  static constexpr std::uint32_t entry = 3;
  /// Feature 4: the function may be suspended until the next access, which signals an eventfd.
  static constexpr std::uint32_t entry_with_wakeup = 4;
  /// Feature 5: the function may no longer be suspended.
  static constexpr std::uint32_t exit = 5;

  /// Whether the function may be suspended.
  [[nodiscard]] bool engaged() const noexcept { return engaged_; }
  /// Whether the next access signals an eventfd.
  [[nodiscard]] bool wakes() const noexcept { return static_cast<bool>(wakeup_); }
  /// Resumes the function for an access. If an eventfd waits for this, it is signalled, and the
  /// function may no longer be suspended (vfio_pci_core_runtime_resume).
  void access() noexcept;
  /// The function may no longer be suspended; no eventfd is signalled (vfio_pci_runtime_pm_exit).
  void leave() noexcept;
  /// Executes VFIO_DEVICE_FEATURE for the features 3, 4 and 5.
  /// \param task  the process that asks
  /// \param flags the flags of the struct, with the number of the feature
  /// \param data  the address of the data behind the struct
  /// \param size  the size of this data in bytes
  /// \par Errors
  /// - `errc::inval`: GET; neither SET nor PROBE; the data is too short; the descriptor is negative
  ///   or no eventfd; ENTRY while the function may be suspended
  /// - `errc::fault`: the data cannot be read
  /// - `errc::badf`: the descriptor is not open
  [[nodiscard]] errc feature(process& task, std::uint32_t flags, std::uint64_t data,
                             std::size_t size);

 private:
  bool engaged_ = false;
  file_ref wakeup_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/low_power.hpp>
#endif
