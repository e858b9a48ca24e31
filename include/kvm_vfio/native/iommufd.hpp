// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// iommufd: IOMMU address spaces for devices that are bound by their own files.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/native/system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>

namespace kvm_vfio::native::vfio {

/// Memory of this process that devices see at `iova`. Sizes and addresses in bytes, multiples of
/// the page size.
struct dma_mapping {
  std::uint64_t iova = 0;  ///< where devices see it
  void* memory = nullptr;  ///< where it is
  std::uint64_t size = 0;  ///< in bytes
  bool writable = true;    ///< whether devices may write
};

/// An IOMMU address space of an iommufd; 0: none.
enum class ioas_id : std::uint32_t {};

/// An iommufd (/dev/iommu, Linux 6.2).
class iommufd_ref {
 public:
  constexpr iommufd_ref() noexcept = default;
  /// A view of an open descriptor.
  constexpr explicit iommufd_ref(int fd) noexcept : fd_(fd) {}

  /// \return as open(2); noent: the kernel has no iommufd
  template <class Owner = owned<iommufd_ref>>  // complete only when called
  [[nodiscard]] static result<Owner> open(const char* at = "/dev/iommu") noexcept {
    result<unique_fd> fd = sys::open(at, O_RDWR);
    if (!fd) return fd.error();
    return Owner(static_cast<unique_fd&&>(*fd));
  }
  /// IOMMU_IOAS_ALLOC: a new address space. nomem
  [[nodiscard]] result<ioas_id> alloc_ioas() const noexcept {
    uapi::iommu_ioas_alloc alloc{.size = sizeof alloc, .flags = 0, .out_ioas_id = 0};
    if (const auto done = sys::ioctl(fd_, uapi::request_ioas_alloc, &alloc); !done)
      return done.error();
    return ioas_id{alloc.out_ioas_id};
  }
  /// IOMMU_DESTROY. busy: a device is attached · noent
  [[nodiscard]] errc destroy(ioas_id ioas) const noexcept {
    uapi::iommu_destroy destroy{.size = sizeof destroy, .id = static_cast<std::uint32_t>(ioas)};
    return sys::ioctl(fd_, uapi::request_destroy, &destroy).error();
  }
  /// IOMMU_IOAS_MAP at a given address. exists: overlaps another · nomem · noent: no such space
  [[nodiscard]] errc map(ioas_id ioas, const dma_mapping& m) const noexcept {
    uapi::iommu_ioas_map map{};
    map.size = sizeof map;
    map.flags = uapi::map_fixed_iova | uapi::map_readable | (m.writable ? uapi::map_writeable : 0U);
    map.ioas_id = static_cast<std::uint32_t>(ioas);
    map.user_va = reinterpret_cast<std::uintptr_t>(m.memory);
    map.length = m.size;
    map.iova = m.iova;
    return sys::ioctl(fd_, uapi::request_ioas_map, &map).error();
  }
  /// IOMMU_IOAS_UNMAP. \return how many bytes were mapped; noent: nothing there
  [[nodiscard]] result<std::uint64_t> unmap(ioas_id ioas, std::uint64_t iova,
                                            std::uint64_t size) const noexcept {
    uapi::iommu_ioas_unmap unmap{.size = sizeof unmap,
                                 .ioas_id = static_cast<std::uint32_t>(ioas),
                                 .iova = iova,
                                 .length = size};
    if (const auto done = sys::ioctl(fd_, uapi::request_ioas_unmap, &unmap); !done)
      return done.error();
    return unmap.length;
  }
  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};
/// An iommufd, owned. What was allocated from it goes with it.
using iommufd = owned<iommufd_ref>;

}  // namespace kvm_vfio::native::vfio
