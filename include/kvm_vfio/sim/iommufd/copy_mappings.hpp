// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Mappings of an iommufd that get further addresses (IOMMU_IOAS_COPY).

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>
#include <map>

namespace kvm_vfio::sim {

struct iommufd_object;
struct iommufd_shared;

/// Maps the memory behind a range of one address space in another one, or in the same one
/// (iommufd_ioas_copy). Each mapping of the range gives a mapping.
/// \param task    the process that asks
/// \param state   the state of all iommufds
/// \param objects the objects of the iommufd
/// \param c       the struct; `dst_iova` gets the address that was chosen
/// \par Errors
/// - `errc::opnotsupp`: a flag is unknown
/// - `errc::overflow`: a number is the last one that there is, or the address of the source and the
///   length wrap around
/// - `errc::inval`: no access flag, or the length is 0
/// - `errc::noent`: there is no address space with one of the numbers, or an address of the range
///   is not mapped
/// - further errors: those of `ioas::check_place` or `ioas::find_free`, and of `ioas::add_copies`
[[nodiscard]] errc copy_mappings(process& task, iommufd_shared& state,
                                 std::map<std::uint32_t, iommufd_object>& objects,
                                 uapi::iommu_ioas_copy& c);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/iommufd/impl/copy_mappings.hpp>
#endif
