// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What an IOMMU says about itself (IOMMU_GET_HW_INFO).

#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>

namespace kvm_vfio::sim {

/// Answers IOMMU_GET_HW_INFO for the IOMMU of a device (iommufd_get_hw_info).
/// \param task     the process that asks
/// \param argument the address of the struct in the process
/// \param c        the struct, whose flags are valid
/// \param group    the group of the device
/// \param device   the device
/// \par Errors
/// - `errc::opnotsupp`: the caller asks for data of another type, or the device has no IOMMU
/// - `errc::fault`: the data or the struct cannot be written
answer answer_hw_info(process& task, std::uint64_t argument, uapi::iommu_hw_info c,
                      const iommu_group& group, const device_spec& device);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/hw_info.hpp>
#endif
