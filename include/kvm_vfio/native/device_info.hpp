// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What a VFIO device says about itself: its kind, its regions and its interrupts.
/// `vfio::device_ref` has these functions.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/capability_chain.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// The facts of VFIO_DEVICE_GET_INFO.
struct device_info {
  std::uint32_t flags = 0;    ///< VFIO_DEVICE_FLAGS_PCI, VFIO_DEVICE_FLAGS_PLATFORM and others
  std::uint32_t regions = 0;  ///< the number of regions, also those of size 0
  std::uint32_t irqs = 0;     ///< the number of interrupt indexes, also those without vectors

  /// Returns true for a PCI device.
  [[nodiscard]] constexpr bool is_pci() const noexcept { return flags & VFIO_DEVICE_FLAGS_PCI; }
  /// Returns true for a platform device, for example of a device tree.
  [[nodiscard]] constexpr bool is_platform() const noexcept {
    return flags & VFIO_DEVICE_FLAGS_PLATFORM;
  }
  /// Returns true if the device can be reset by itself (VFIO_DEVICE_RESET).
  [[nodiscard]] constexpr bool can_reset() const noexcept {
    return flags & VFIO_DEVICE_FLAGS_RESET;
  }
};

/// A region of a device, for example a BAR or the configuration space, as
/// VFIO_DEVICE_GET_REGION_INFO describes it.
struct region_info {
  std::uint32_t index = 0;   ///< the number of the region, for example VFIO_PCI_CONFIG_REGION_INDEX
  std::uint32_t flags = 0;   ///< VFIO_REGION_INFO_FLAG_READ and others
  std::uint64_t size = 0;    ///< the size in bytes; 0 if the device does not have this region
  std::uint64_t offset = 0;  ///< the position of the region in the device file, in bytes
  bool sparse = false;       ///< whether only areas of the region can be mapped
  std::size_t areas = 0;     ///< the number of these areas

  /// Returns true if the region can be read with pread(2).
  [[nodiscard]] constexpr bool readable() const noexcept {
    return flags & VFIO_REGION_INFO_FLAG_READ;
  }
  /// Returns true if the region can be written with pwrite(2).
  [[nodiscard]] constexpr bool writable() const noexcept {
    return flags & VFIO_REGION_INFO_FLAG_WRITE;
  }
  /// Returns true if the region, or areas of it, can be mapped with mmap(2).
  [[nodiscard]] constexpr bool mappable() const noexcept {
    return flags & VFIO_REGION_INFO_FLAG_MMAP;
  }
};

/// A part of a region that can be mapped.
struct region_area {
  std::uint64_t offset = 0;  ///< the position in the region, in bytes
  std::uint64_t size = 0;    ///< the size in bytes
};

/// The facts of VFIO_DEVICE_GET_IRQ_INFO about an interrupt index, for example
/// VFIO_PCI_MSIX_IRQ_INDEX.
struct irq_info {
  std::uint32_t flags = 0;  ///< VFIO_IRQ_INFO_EVENTFD and others
  std::uint32_t count = 0;  ///< the number of vectors; 0 if the device does not have this interrupt

  /// Returns true if interrupts can signal eventfds.
  [[nodiscard]] constexpr bool eventfd() const noexcept { return flags & VFIO_IRQ_INFO_EVENTFD; }
  /// Returns true if the vectors can be masked and unmasked.
  [[nodiscard]] constexpr bool maskable() const noexcept { return flags & VFIO_IRQ_INFO_MASKABLE; }
  /// Returns true if VFIO masks a vector each time that it signals the vector. The VMM unmasks it.
  [[nodiscard]] constexpr bool automasked() const noexcept {
    return flags & VFIO_IRQ_INFO_AUTOMASKED;
  }
  /// Returns true if the index must be disarmed before more vectors can be armed.
  [[nodiscard]] constexpr bool noresize() const noexcept { return flags & VFIO_IRQ_INFO_NORESIZE; }
};

/// The part of `basic_device_ref` that asks the device about itself. Each function makes one ioctl
/// and allocates nothing.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_device_info_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Asks for the kind of the device, and for its numbers of regions and of interrupt indexes
  /// (VFIO_DEVICE_GET_INFO).
  /// \par Errors
  /// - `errc::inval`: the device file is not bound to an iommufd yet
  /// - each other error of ioctl(2)
  [[nodiscard]] result<device_info> info() const noexcept {
    vfio_device_info answer{};
    answer.argsz = sizeof answer;
    if (const auto done = this->request(VFIO_DEVICE_GET_INFO, &answer); !done) return done.error();
    return device_info{
        .flags = answer.flags, .regions = answer.num_regions, .irqs = answer.num_irqs};
  }
  /// Asks for a region (VFIO_DEVICE_GET_REGION_INFO), and for its areas that can be mapped.
  /// \param index    the number of the region
  /// \param areas    an array that receives the areas if the region is sparse; null for no areas
  /// \param capacity the number of areas that the array can hold. If the region has more areas,
  ///                 the array holds the first ones.
  /// \return the region, with the number of all its areas
  /// \par Errors
  /// - `errc::inval`: the device has no region `index`, or it is not bound to an iommufd yet
  /// - `errc::msgsize`: the kernel's answer is longer than 4096 bytes
  /// - `errc::proto`: the kernel's answer contradicts itself
  /// - each other error of ioctl(2)
  [[nodiscard]] result<region_info> region(std::uint32_t index, region_area* areas = nullptr,
                                           std::size_t capacity = 0) const noexcept {
    detail::capability_chain chain;
    chain.put(offsetof(vfio_region_info, argsz), detail::capability_chain::capacity);
    chain.put(offsetof(vfio_region_info, index), index);
    if (const auto done = this->request(VFIO_DEVICE_GET_REGION_INFO, chain.data()); !done)
      return done.error();
    region_info found{.index = index,
                      .flags = chain.u32(offsetof(vfio_region_info, flags)),
                      .size = chain.u64(offsetof(vfio_region_info, size)),
                      .offset = chain.u64(offsetof(vfio_region_info, offset))};
    if (!(found.flags & VFIO_REGION_INFO_FLAG_CAPS)) return found;

    const auto sparse = chain.find(VFIO_REGION_INFO_CAP_SPARSE_MMAP,
                                   chain.u32(offsetof(vfio_region_info, cap_offset)));
    if (sparse.error() == errc::noent) return found;
    if (!sparse) return sparse.error();
    const auto list = chain.list(*sparse);
    if (!list) return list.error();
    found.sparse = true;
    found.areas = list->count;
    for (std::size_t i = 0; areas != nullptr && i < list->count && i < capacity; ++i)
      areas[i] = {.offset = chain.first(*list, i), .size = chain.second(*list, i)};
    return found;
  }
  /// Asks for an interrupt index (VFIO_DEVICE_GET_IRQ_INFO).
  /// \par Errors
  /// - `errc::inval`: the device has no interrupt index `index`, or it is not bound to an iommufd
  ///   yet
  /// - each other error of ioctl(2)
  [[nodiscard]] result<irq_info> irq(std::uint32_t index) const noexcept {
    vfio_irq_info answer{};
    answer.argsz = sizeof answer;
    answer.index = index;
    if (const auto done = this->request(VFIO_DEVICE_GET_IRQ_INFO, &answer); !done)
      return done.error();
    return irq_info{.flags = answer.flags, .count = answer.count};
  }
};

}  // namespace kvm_vfio::native::vfio
