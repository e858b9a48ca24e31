// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptor of an iommufd. An iommufd has address spaces for devices that have a device file
/// of their own (cdev).
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstdint>

namespace kvm_vfio::native::vfio {

/// A range of this process's memory, and the IOVA at which devices see it. Both addresses and the
/// size are multiples of the page size.
struct dma_mapping {
  std::uint64_t iova = 0;  ///< the first address of the range as devices see it
  void* memory = nullptr;  ///< the first byte of the range in this process
  std::uint64_t size = 0;  ///< the size of the range in bytes
  bool writable = true;    ///< whether devices may also write to the range
};

/// A range of a file in memory, and the IOVA at which devices see it. The addresses and the size
/// are multiples of the page size.
struct dma_file_mapping {
  std::uint64_t iova = 0;   ///< the first address of the range as devices see it
  int file = -1;            ///< the descriptor of the file, which may be closed after the call
  std::uint64_t start = 0;  ///< the offset of the range in the file, in bytes
  std::uint64_t size = 0;   ///< the size of the range in bytes
  bool writable = true;     ///< whether devices may also write to the range
};

/// The number of an IOAS (an I/O address space) of an iommufd. 0 means none.
enum class ioas_id : std::uint32_t {};

/// What the kernel tells of the IOMMU in front of a device.
struct iommu_hardware {
  /// Whose IOMMU it is (`uapi::hw_info_type_intel_vtd`, or another IOMMU_HW_INFO_TYPE_*), or
  /// `uapi::hw_info_type_none`: the kernel does not describe it.
  std::uint32_t type = uapi::hw_info_type_none;
  std::uint64_t vtd_cap = 0;   ///< the capability register of Intel's IOMMU
  std::uint64_t vtd_ecap = 0;  ///< the extended capability register of Intel's IOMMU
};

/// A view of an iommufd, the file /dev/iommu (from Linux 6.2 on). It does not own the descriptor.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_iommufd_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Opens an iommufd.
  /// \par Errors
  /// - `errc::noent`: the kernel has no iommufd
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_iommufd_ref>> open(
      const char* at = "/dev/iommu", const System& on = native::detail::only<System>()) noexcept {
    return descriptor<System>::template open_as<basic_iommufd_ref>(at, on);
  }
  /// Makes a new IOAS without mappings (IOMMU_IOAS_ALLOC).
  /// \par Errors
  /// - `errc::nomem`: no memory
  [[nodiscard]] result<ioas_id> alloc_ioas() const noexcept {
    uapi::iommu_ioas_alloc alloc{.size = sizeof alloc, .flags = 0, .out_ioas_id = 0};
    if (const auto done = this->request(uapi::request_ioas_alloc, &alloc); !done)
      return done.error();
    return ioas_id{alloc.out_ioas_id};
  }
  /// Destroys an IOAS (IOMMU_DESTROY).
  /// \par Errors
  /// - `errc::busy`: a device is attached to the IOAS
  /// - `errc::noent`: the iommufd has no such IOAS
  [[nodiscard]] errc destroy(ioas_id ioas) const noexcept {
    uapi::iommu_destroy destroy{.size = sizeof destroy, .id = static_cast<std::uint32_t>(ioas)};
    return this->request(uapi::request_destroy, &destroy).error();
  }
  /// Maps memory at the IOVA that `m` names (IOMMU_IOAS_MAP).
  /// \par Errors
  /// - `errc::exists`: the range overlaps another mapping
  /// - `errc::inval`: the range is not aligned, or lies in a reserved region
  /// - `errc::overflow`: the range ends behind the last address
  /// - `errc::fault`: the memory is not mapped in this process
  /// - `errc::nomem`: no memory, or more locked memory than RLIMIT_MEMLOCK allows
  /// - `errc::noent`: the iommufd has no such IOAS
  [[nodiscard]] errc map(ioas_id ioas, const dma_mapping& m) const noexcept {
    uapi::iommu_ioas_map map{};
    map.size = sizeof map;
    map.flags = uapi::map_fixed_iova | uapi::map_readable | (m.writable ? uapi::map_writeable : 0U);
    map.ioas_id = static_cast<std::uint32_t>(ioas);
    map.user_va = reinterpret_cast<std::uintptr_t>(m.memory);
    map.length = m.size;
    map.iova = m.iova;
    return this->request(uapi::request_ioas_map, &map).error();
  }
  /// Maps memory of a file, such as that of memfd_create(2), at the IOVA that `m` names
  /// (IOMMU_IOAS_MAP_FILE, from Linux 6.13 on). A VMM that updates itself keeps such mappings.
  /// \par Errors
  /// - `errc::exists`: the range overlaps another mapping
  /// - `errc::inval`: the range is not aligned, or lies in a reserved region; the file is not in
  ///   memory, or is shorter
  /// - `errc::overflow`: the range ends behind the last address or the last offset
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::nomem`: no memory, or more locked memory than RLIMIT_MEMLOCK allows
  /// - `errc::noent`: the iommufd has no such IOAS
  /// - `errc::notty`: the kernel is older
  [[nodiscard]] errc map_file(ioas_id ioas, const dma_file_mapping& m) const noexcept {
    uapi::iommu_ioas_map_file map{};
    map.size = sizeof map;
    map.flags = uapi::map_fixed_iova | uapi::map_readable | (m.writable ? uapi::map_writeable : 0U);
    map.ioas_id = static_cast<std::uint32_t>(ioas);
    map.fd = m.file;
    map.start = m.start;
    map.length = m.size;
    map.iova = m.iova;
    return this->request(uapi::request_ioas_map_file, &map).error();
  }
  /// Removes the mappings in a range (IOMMU_IOAS_UNMAP).
  /// \param iova the first address of the range
  /// \param size the size of the range in bytes
  /// \return the number of bytes that were mapped
  /// \par Errors
  /// - `errc::noent`: the range has no mapping, or the iommufd has no such IOAS
  [[nodiscard]] result<std::uint64_t> unmap(ioas_id ioas, std::uint64_t iova,
                                            std::uint64_t size) const noexcept {
    uapi::iommu_ioas_unmap unmap{.size = sizeof unmap,
                                 .ioas_id = static_cast<std::uint32_t>(ioas),
                                 .iova = iova,
                                 .length = size};
    if (const auto done = this->request(uapi::request_ioas_unmap, &unmap); !done)
      return done.error();
    return unmap.length;
  }
  /// Asks what the IOMMU in front of a device is (IOMMU_GET_HW_INFO, from Linux 6.6 on).
  /// \param device the number of the device in the iommufd, as `bind_iommufd` returns it
  /// \par Errors
  /// - `errc::noent`: the iommufd has no device with this number, or the device is a mediated
  ///   device, which has no IOMMU of its own
  /// - `errc::notty`: the kernel is older
  /// - `errc::proto`: the kernel says that the IOMMU is Intel's, and does not give its registers
  [[nodiscard]] result<iommu_hardware> hardware(std::uint32_t device) const noexcept {
    uapi::iommu_hw_info_vtd registers{};
    uapi::iommu_hw_info info{};
    info.size = sizeof info;
    info.dev_id = device;
    info.data_len = sizeof registers;
    info.data_uptr = reinterpret_cast<std::uintptr_t>(&registers);
    if (const auto done = this->request(uapi::request_get_hw_info, &info); !done)
      return done.error();
    if (info.out_data_type != uapi::hw_info_type_intel_vtd)
      return iommu_hardware{.type = info.out_data_type, .vtd_cap = 0, .vtd_ecap = 0};
    if (info.data_len < sizeof registers) return errc::proto;
    return iommu_hardware{
        .type = info.out_data_type, .vtd_cap = registers.cap_reg, .vtd_ecap = registers.ecap_reg};
  }
};
/// A view of an iommufd of the running kernel.
using iommufd_ref = basic_iommufd_ref<host>;
/// Owns an iommufd. Closing it destroys the IOASes that were made from it.
template <system System>
using basic_iommufd = owned<basic_iommufd_ref<System>>;
/// Owns an iommufd of the running kernel.
using iommufd = basic_iommufd<host>;

}  // namespace kvm_vfio::native::vfio
