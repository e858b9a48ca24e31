// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The prediction whether a device makes the DMA of a VM noncoherent, with its reason.
/// \see [Noncoherent DMA, predicted](docs/guide.md)

namespace kvm_vfio::client {

/// What FILE_ADD of a group or of a device file makes of the VM's DMA.
enum class dma_coherency : unsigned char {
  unknown,      ///< a program cannot know it before FILE_ADD
  coherent,     ///< the file changes nothing: the VM's DMA stays as coherent as it is
  noncoherent,  ///< the VM's DMA is noncoherent as long as kvm-vfio tracks the file
};

/// Why a prediction is as it is. Each reason belongs to one answer.
enum class coherency_reason : unsigned char {
  /// Unknown. The kernel does not describe the IOMMU, or describes an IOMMU that is not Intel's
  /// (IOMMU_GET_HW_INFO). Only for device files.
  iommu_not_described,
  /// Unknown. An IOMMU in front of the container does not enforce coherency, and the container has
  /// several groups. Linux 6.1 then counts all of them as noncoherent. Linux 6.12 asks for each
  /// group alone, and the container cannot. Only for groups.
  other_groups,
  /// Unknown. The group has mediated devices, or a program cannot see that it has none. Linux 6.1
  /// counts a group of mediated devices as its container. Linux 6.12 counts it as noncoherent. Only
  /// for groups.
  perhaps_mediated,
  /// Coherent. The IOMMU makes all DMA of the device coherent.
  iommu_enforces,
  /// Noncoherent. The IOMMU does not make all DMA of the device coherent.
  iommu_does_not_enforce,
  /// Noncoherent. No IOMMU stands in front of the device, because it is a mediated device. Only for
  /// device files.
  no_iommu,
};

/// A prediction of what KVM learns at FILE_ADD. It is about one file: if kvm-vfio tracks another
/// noncoherent file, the VM's DMA is noncoherent whatever this file is.
struct coherency_forecast {
  /// Why the answer is as it is.
  coherency_reason reason = coherency_reason::iommu_not_described;

  /// Returns the answer.
  [[nodiscard]] constexpr dma_coherency answer() const noexcept {
    switch (reason) {
      case coherency_reason::iommu_enforces: return dma_coherency::coherent;
      case coherency_reason::iommu_does_not_enforce:
      case coherency_reason::no_iommu: return dma_coherency::noncoherent;
      case coherency_reason::iommu_not_described:
      case coherency_reason::other_groups:
      case coherency_reason::perhaps_mediated: break;
    }
    return dma_coherency::unknown;
  }
  /// Returns the answer and its reason as one sentence for a log, without a line break.
  [[nodiscard]] constexpr const char* explain() const noexcept {
    switch (reason) {
      case coherency_reason::iommu_enforces:
        return "Adding this device does not make the VM's DMA noncoherent, because the IOMMU "
               "enforces coherency.";
      case coherency_reason::iommu_does_not_enforce:
        return "Adding this device makes the VM's DMA noncoherent, because the IOMMU does not "
               "enforce coherency.";
      case coherency_reason::no_iommu:
        return "Adding this device makes the VM's DMA noncoherent, because no IOMMU stands in "
               "front of a mediated device.";
      case coherency_reason::other_groups:
        return "Nobody can say whether adding this device makes the VM's DMA noncoherent, because "
               "the container does not enforce coherency for one of its groups and does not say "
               "for which one.";
      case coherency_reason::perhaps_mediated:
        return "Nobody can say whether adding this device makes the VM's DMA noncoherent, because "
               "its group may have mediated devices, which Linux 6.1 counts as coherent and "
               "Linux 6.12 as noncoherent.";
      case coherency_reason::iommu_not_described: break;
    }
    return "Nobody can say whether adding this device makes the VM's DMA noncoherent, because the "
           "kernel does not describe the IOMMU of the device.";
  }
  /// Compares the reasons.
  friend bool operator==(const coherency_forecast&, const coherency_forecast&) = default;
};

}  // namespace kvm_vfio::client
