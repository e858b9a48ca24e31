// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The answer of VFIO to the question whether the DMA of a file is enforced coherent.

#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>

namespace kvm_vfio::sim {

/// Whether the DMA of a VFIO file is enforced coherent, and the reason.
struct coherency_answer {
  /// Whether the DMA is enforced coherent.
  bool coherent = true;
  /// The reason in words; a string that lives as long as the program.
  const char* why = "";
};

/// Answers `vfio_file_enforced_coherent` and gives the reason. The caller holds the world's lock.
/// \param release the Linux release whose rules count
/// \param f       the file; if it is no VFIO file, the answer is true
[[nodiscard]] coherency_answer coherency_of(const linux_release& release, file& f) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/vfio/impl/coherency.hpp>
#endif
