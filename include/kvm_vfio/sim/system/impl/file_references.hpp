// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of file_references.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/file_references.hpp>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE result<file*> counted_files::get_file(file* const& f) noexcept {
  f->get();
  return f;
}

KVM_VFIO_INLINE result<file*> watched_files::get_file(file* const& f) noexcept {
  f->watch();
  return f;
}

}  // namespace kvm_vfio::sim
