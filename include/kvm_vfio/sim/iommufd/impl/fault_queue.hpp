// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of fault_queue.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommufd/fault_queue.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE fault_queue::fault_queue(iommufd_file& of) noexcept
    : file(file_kind::other), of_(of) {
  of.get();
}

KVM_VFIO_INLINE answer fault_queue::pread(void*, std::size_t, std::uint64_t) { return errc::spipe; }

KVM_VFIO_INLINE answer fault_queue::pwrite(const void*, std::size_t, std::uint64_t) {
  return errc::spipe;
}

KVM_VFIO_INLINE answer fault_queue::read(void*, std::size_t size) {
  return size % uapi::pgfault_size != 0 ? answer(errc::spipe) : answer(0);
}

KVM_VFIO_INLINE answer fault_queue::write(const void*, std::size_t size) {
  if (size % sizeof(uapi::iommu_hwpt_page_response) != 0) return errc::spipe;
  return size != 0 ? answer(errc::inval) : answer(0);
}

KVM_VFIO_INLINE void fault_queue::release() noexcept {
  if (id_ != 0) of_.fault_queue_closed(id_);
  of_.put();
}

}  // namespace kvm_vfio::sim
