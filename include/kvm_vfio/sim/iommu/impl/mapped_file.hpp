// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of mapped_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/iommu/mapped_file.hpp>

#include <memory>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE unmapped_files::~unmapped_files() {
  while (first_) {
    mapped_file* const gone = first_;
    first_ = gone->next;
    delete gone;
  }
}

KVM_VFIO_INLINE std::shared_ptr<mapped_file> unmapped_files::make() {
  return {new mapped_file, [this](mapped_file* f) {
            f->next = first_;
            first_ = f;
          }};
}

KVM_VFIO_INLINE void unmapped_files::take_from(unmapped_files& other) noexcept {
  first_ = std::exchange(other.first_, nullptr);
}

}  // namespace kvm_vfio::sim
