// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A range of IOVAs.

#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// A range of IOVAs that may be used for DMA.
struct iova_range {
  std::uint64_t first = 0;  ///< the first IOVA
  std::uint64_t last = 0;   ///< the last IOVA, which belongs to the range
};
// The kernel writes ranges of iommufd into an array of this type.
static_assert(sizeof(iova_range) == sizeof(uapi::iommu_iova_range) &&
              offsetof(iova_range, last) == offsetof(uapi::iommu_iova_range, last));

}  // namespace kvm_vfio::native::vfio
