// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads, writes and maps the regions of a VFIO device. `vfio::device_ref` has these functions.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/device_info.hpp>
#include <kvm_vfio/native/mapped_region.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio::native::vfio {

/// What a program may do with mapped memory of a device.
enum class protection : int {
  read = PROT_READ,
  write = PROT_WRITE,
  read_write = PROT_READ | PROT_WRITE,
};

namespace detail {
// A register of a device, up to the 32 bits that every driver of VFIO transfers at once.
template <class Number>
concept register_value =
    std::is_same_v<Number, std::uint8_t> || std::is_same_v<Number, std::uint16_t> ||
    std::is_same_v<Number, std::uint32_t>;
}  // namespace detail

/// The part of `basic_device_ref` that transfers bytes of regions. Each function makes at most one
/// system call and allocates nothing. Offsets are positions in the region, in bytes.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_device_regions_ref : public basic_device_info_ref<System> {
 public:
  using basic_device_info_ref<System>::basic_device_info_ref;

  /// Reads bytes from a region.
  /// \param from the region, as `region` returned it
  /// \param to   receives `size` bytes
  /// \par Errors
  /// - `errc::inval`: the bytes are not all in the region, or the region cannot be read
  /// - `errc::io`: the kernel read less than `size` bytes, or the device is in low power
  /// - each other error of pread(2)
  [[nodiscard]] errc read(const region_info& from, std::uint64_t offset, void* to,
                          std::size_t size) const noexcept {
    if (!contains(from, offset, size)) return errc::inval;
    if (size == 0) return errc::ok;
    return whole(this->system_calls().pread(this->fd(), to, size, from.offset + offset), size);
  }
  /// Writes bytes into a region.
  /// \param to   the region, as `region` returned it
  /// \param from `size` bytes
  /// \par Errors
  /// - `errc::inval`: the bytes are not all in the region, or the region cannot be written
  /// - `errc::io`: the kernel wrote less than `size` bytes, or the device is in low power
  /// - each other error of pwrite(2)
  [[nodiscard]] errc write(const region_info& to, std::uint64_t offset, const void* from,
                           std::size_t size) const noexcept {
    if (!contains(to, offset, size)) return errc::inval;
    if (size == 0) return errc::ok;
    return whole(this->system_calls().pwrite(this->fd(), from, size, to.offset + offset), size);
  }
  /// Reads a register that is little-endian, as all registers of PCI's configuration space are.
  /// \tparam Number std::uint8_t, std::uint16_t or std::uint32_t: the size of the register
  /// \par Errors
  /// - each error of `read`
  template <detail::register_value Number>
  [[nodiscard]] result<Number> read_le(const region_info& from,
                                       std::uint64_t offset) const noexcept {
    unsigned char bytes[sizeof(Number)] = {};
    if (const errc e = read(from, offset, bytes, sizeof bytes); e != errc::ok) return e;
    std::uint32_t number = 0;
    for (std::size_t i = sizeof bytes; i-- > 0;) number = number << 8 | bytes[i];
    return static_cast<Number>(number);
  }
  /// Writes a register that is little-endian, as all registers of PCI's configuration space are.
  /// \tparam Number std::uint8_t, std::uint16_t or std::uint32_t: the size of the register
  /// \par Errors
  /// - each error of `write`
  template <detail::register_value Number>
  [[nodiscard]] errc write_le(const region_info& to, std::uint64_t offset,
                              std::type_identity_t<Number> number) const noexcept {
    unsigned char bytes[sizeof(Number)] = {};
    for (std::size_t i = 0; i < sizeof bytes; ++i)
      bytes[i] = static_cast<unsigned char>(std::uint32_t{number} >> 8 * i & 0xff);
    return write(to, offset, bytes, sizeof bytes);
  }
  /// Maps a part of a region into this process.
  /// \param of   the region, as `region` returned it. If the region is sparse, only its areas can
  ///             be mapped.
  /// \param size the size of the part in bytes. Linux maps whole pages: `offset` is a multiple of
  /// the
  ///             page size, and of a region that is smaller than a page, `size` is its size.
  /// \return the owner of the mapping
  /// \par Errors
  /// - `errc::inval`: the part is empty or not all in the region, the region cannot be mapped
  ///   there, or an offset is not aligned
  /// - `errc::nomem`: the process has no free addresses
  /// - each other error of mmap(2)
  [[nodiscard]] result<mapped_region<System>> map(
      const region_info& of, std::uint64_t offset, std::size_t size,
      protection allowed = protection::read_write) const noexcept {
    if (size == 0 || !contains(of, offset, size)) return errc::inval;
    const result<void*> mapped =
        this->system_calls().mmap(size, static_cast<int>(allowed), this->fd(), of.offset + offset);
    if (!mapped) return mapped.error();
    return mapped_region<System>(*mapped, size, this->system_calls());
  }

 private:
  [[nodiscard]] static bool contains(const region_info& region, std::uint64_t offset,
                                     std::uint64_t size) noexcept {
    return offset <= region.size && size <= region.size - offset;
  }
  [[nodiscard]] static errc whole(const result<std::size_t>& moved, std::size_t size) noexcept {
    if (!moved) return moved.error();
    return *moved == size ? errc::ok : errc::io;
  }
};

}  // namespace kvm_vfio::native::vfio
