// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// When KVM must be told that a VM's DMA became noncoherent, or coherent again.

namespace kvm_vfio {

/// What an update changed.
enum class coherency_edge : unsigned char { none, to_noncoherent, to_coherent };

/// Remembers what KVM was told last. Pure: it calls nobody, so the edges alternate by
/// construction.
class coherency {
 public:
  /// Records whether any file is noncoherent now and says whether that is news.
  [[nodiscard]] constexpr coherency_edge update(bool noncoherent) noexcept {
    if (noncoherent == noncoherent_) return coherency_edge::none;
    noncoherent_ = noncoherent;
    return noncoherent ? coherency_edge::to_noncoherent : coherency_edge::to_coherent;
  }
  [[nodiscard]] constexpr bool noncoherent() const noexcept { return noncoherent_; }

 private:
  bool noncoherent_ = false;
};

}  // namespace kvm_vfio
