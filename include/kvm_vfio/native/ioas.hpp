// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// One IOAS of an iommufd, and the IOVAs that the IOAS can map.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/iova_range.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// The facts of IOMMU_IOAS_IOVA_RANGES.
struct ioas_info {
  std::size_t ranges = 0;       ///< the number of ranges of IOVAs that may be used
  std::uint64_t alignment = 0;  ///< what the IOVA and the size of each mapping are multiples of
};

/// A view of an IOAS: an iommufd and the number of the IOAS. It owns neither. Each function makes
/// one ioctl and allocates nothing.
/// \tparam System the system whose iommufd it is
template <system System>
class basic_ioas_ref {
 public:
  /// The system whose iommufd it is.
  using system_type = System;

  basic_ioas_ref() noexcept = default;
  /// Makes a view of the IOAS `id` of the iommufd `of`.
  basic_ioas_ref(basic_iommufd_ref<System> of, ioas_id id) noexcept : iommufd_(of), id_(id) {}

  /// Returns the number of the IOAS.
  [[nodiscard]] ioas_id id() const noexcept { return id_; }
  /// Returns the iommufd.
  [[nodiscard]] basic_iommufd_ref<System> iommufd() const noexcept { return iommufd_; }
  /// Maps memory at the IOVA that `m` names (IOMMU_IOAS_MAP).
  /// \par Errors
  /// - each error of `basic_iommufd_ref::map`
  [[nodiscard]] errc map(const dma_mapping& m) const noexcept { return iommufd_.map(id_, m); }
  /// Maps memory of a file at the IOVA that `m` names (IOMMU_IOAS_MAP_FILE).
  /// \par Errors
  /// - each error of `basic_iommufd_ref::map_file`
  [[nodiscard]] errc map_file(const dma_file_mapping& m) const noexcept {
    return iommufd_.map_file(id_, m);
  }
  /// Removes the mappings in a range (IOMMU_IOAS_UNMAP).
  /// \param iova the first address of the range
  /// \param size the size of the range in bytes
  /// \return the number of bytes that were mapped
  /// \par Errors
  /// - each error of `basic_iommufd_ref::unmap`
  [[nodiscard]] result<std::uint64_t> unmap(std::uint64_t iova, std::uint64_t size) const noexcept {
    return iommufd_.unmap(id_, iova, size);
  }
  /// Asks which IOVAs mappings may have (IOMMU_IOAS_IOVA_RANGES).
  /// \param ranges   an array that receives the ranges; may be null if `capacity` is 0
  /// \param capacity the number of ranges that the array can hold. If there are more ranges, the
  ///                 array holds the first ones.
  /// \return the facts, with the number of all ranges
  /// \par Errors
  /// - `errc::noent`: the iommufd has no such IOAS
  /// - each other error of ioctl(2)
  [[nodiscard]] result<ioas_info> iova_ranges(iova_range* ranges,
                                              std::size_t capacity) const noexcept {
    constexpr std::size_t most = 0xffffffff;
    const auto asked = static_cast<std::uint32_t>(capacity < most ? capacity : most);
    uapi::iommu_ioas_iova_ranges ask{};
    ask.size = sizeof ask;
    ask.ioas_id = static_cast<std::uint32_t>(id_);
    ask.num_iovas = asked;
    ask.allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges);
    const result<int> done = iommufd_.system_calls().ioctl(
        iommufd_.fd(), uapi::request_ioas_iova_ranges, reinterpret_cast<std::uintptr_t>(&ask));
    // EMSGSIZE says only that there are more ranges. The kernel has written the first ones.
    const bool more = done.error() == errc::msgsize && ask.num_iovas > asked;
    if (!done && !more) return done.error();
    return ioas_info{.ranges = ask.num_iovas, .alignment = ask.out_iova_alignment};
  }

 private:
  basic_iommufd_ref<System> iommufd_{};
  ioas_id id_{};
};
/// A view of an IOAS of the running kernel.
using ioas_ref = basic_ioas_ref<host>;

}  // namespace kvm_vfio::native::vfio
