// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of model_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/model_file.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE answer model_file::ioctl(process& task, std::uint32_t request,
                                         std::uint64_t argument) {
  return to_answer(made_.ioctl(task, request, argument));
}

KVM_VFIO_INLINE answer model_file::pread(void*, std::size_t, std::uint64_t) { return errc::spipe; }

KVM_VFIO_INLINE answer model_file::pwrite(const void*, std::size_t, std::uint64_t) {
  return errc::spipe;
}

KVM_VFIO_INLINE void model_file::release() noexcept { made_.release(); }

}  // namespace kvm_vfio::sim
