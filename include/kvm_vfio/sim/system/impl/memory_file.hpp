// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of memory_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/system/memory_file.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE std::uint64_t memory_file::pinnable_bytes() const noexcept {
  return __atomic_load_n(&size_, __ATOMIC_ACQUIRE);
}

}  // namespace kvm_vfio::sim
