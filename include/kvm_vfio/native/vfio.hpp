// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptors of VFIO's files. There are three kinds: descriptors of containers, of groups and
/// of device files. Each kind has two classes, a view and an owner. A view, for example
/// `group_ref`, never closes the descriptor. An owner, for example `group`, closes it in its
/// destructor.
///
/// A VMM gives a device to a VM in one of two ways. For each way, one order of the calls is safe on
/// every kernel:
/// - By a group: put the group into a container, choose the container's IOMMU driver, call FILE_ADD
///   for the group, then get the device from the group.
/// - By a device file: open the device file, call FILE_ADD for it, then bind it to an iommufd.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/armed_irqs.hpp>  // IWYU pragma: export
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/device_reset.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/path.hpp>
#include <kvm_vfio/native/type1_info.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>

namespace kvm_vfio::native::vfio {

/// A view of the descriptor of a container. A container is an open /dev/vfio/vfio with a set of DMA
/// mappings for groups. The mappings belong to the container's IOMMU driver. When the last group
/// leaves the container, the container loses its IOMMU driver and all mappings.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_container_ref : public basic_type1_info_ref<System> {
 public:
  using basic_type1_info_ref<System>::basic_type1_info_ref;

  /// Opens a new container.
  /// \par Errors
  /// - `errc::noent`: VFIO is not loaded
  /// - `errc::notty`: the file at `at` is not a container
  /// - `errc::proto`: VFIO has another version of the interface (VFIO_API_VERSION)
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_container_ref>> open(
      const char* at = "/dev/vfio/vfio",
      const System& on = native::detail::only<System>()) noexcept {
    result<owned<basic_container_ref>> opened =
        descriptor<System>::template open_as<basic_container_ref>(at, on);
    if (!opened) return opened;
    const result<int> version = on.ioctl(opened->fd(), VFIO_GET_API_VERSION, 0);
    if (!version) return version.error();
    if (*version != VFIO_API_VERSION) return errc::proto;
    return opened;
  }
  /// Asks whether the IOMMU driver of the container has an extension (VFIO_CHECK_EXTENSION). If the
  /// container has no IOMMU driver yet, asks whether some IOMMU driver has the extension.
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<bool> check_extension(unsigned long extension) const noexcept {
    const result<int> answer = this->request(VFIO_CHECK_EXTENSION, extension);
    if (!answer) return answer.error();
    return *answer > 0;
  }
  /// Chooses the IOMMU driver of a container that has a group (VFIO_SET_IOMMU). Call `set_iommu`
  /// again after the last group left the container and a group has joined it again.
  /// \par Errors
  /// - `errc::inval`: the container has no group, or it has an IOMMU driver already
  /// - `errc::nodev`: the kernel has no such IOMMU driver
  /// - `errc::busy`: a group is attached already to the IOMMU domain of another driver or VMM
  /// - `errc::perm`: the host cannot isolate interrupts, and the module parameter
  ///   allow_unsafe_interrupts is not set
  [[nodiscard]] errc set_iommu(unsigned long type = VFIO_TYPE1v2_IOMMU) const noexcept {
    return this->request(VFIO_SET_IOMMU, type).error();
  }
  /// Maps memory at the IOVA that `m` names (VFIO_IOMMU_MAP_DMA).
  /// \par Errors
  /// - `errc::exists`: the range overlaps another mapping
  /// - `errc::inval`: the range is not aligned or not allowed, or the container has no IOMMU driver
  /// - `errc::nomem`: no memory, or the process would lock more memory than RLIMIT_MEMLOCK allows
  /// - `errc::nospc`: the container has as many mappings as dma_entry_limit allows
  /// - `errc::fault`: the memory is not mapped in this process
  [[nodiscard]] errc map(const dma_mapping& m) const noexcept {
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = VFIO_DMA_MAP_FLAG_READ | (m.writable ? VFIO_DMA_MAP_FLAG_WRITE : 0U);
    map.vaddr = reinterpret_cast<std::uintptr_t>(m.memory);
    map.iova = m.iova;
    map.size = m.size;
    return this->request(VFIO_IOMMU_MAP_DMA, &map).error();
  }
  /// Removes the mappings in a range (VFIO_IOMMU_UNMAP_DMA).
  /// \param iova the first address of the range
  /// \param size the size of the range in bytes
  /// \return the number of bytes that were mapped
  /// \par Errors
  /// - `errc::inval`: the range contains only a part of some mapping, or is not aligned
  [[nodiscard]] result<std::uint64_t> unmap(std::uint64_t iova, std::uint64_t size) const noexcept {
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = iova;
    unmap.size = size;
    if (const auto done = this->request(VFIO_IOMMU_UNMAP_DMA, &unmap); !done) return done.error();
    return std::uint64_t{unmap.size};
  }
};
/// A view of a descriptor of the running kernel.
using container_ref = basic_container_ref<host>;
/// Owns the descriptor of a container. The destructor closes the descriptor, but no group leaves
/// the container by that. The container exists until all its descriptors are closed and its last
/// group has left (`basic_group_ref::unset_container`).
template <system System>
using basic_container = owned<basic_container_ref<System>>;
/// Owns a descriptor of the running kernel.
using container = basic_container<host>;

/// The token that a virtual function shares with its physical function: the 16 bytes of a UUID, in
/// the order of its text.
struct vf_token {
  unsigned char bytes[16];  ///< the first digits of the text first
};

/// A view of the descriptor of a device file. There are two ways to get a device file: from a
/// group, or by opening the device's own character device. The base classes have the functions that
/// use the device: they ask for its regions and interrupts, transfer bytes, connect interrupts with
/// eventfds, and reset the device.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_device_ref : public basic_device_reset_ref<System> {
 public:
  using basic_device_reset_ref<System>::basic_device_reset_ref;

  /// Opens the character device /dev/vfio/devices/vfioN (from Linux 6.6 on).
  /// \param number the N in the path
  /// \par Errors
  /// - `errc::noent`: there is no such device, or the kernel was built without VFIO_DEVICE_CDEV
  /// - `errc::inval`: `number` is negative
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_device_ref>> open(
      int number, const System& on = native::detail::only<System>()) noexcept {
    if (number < 0) return errc::inval;
    path dev;
    dev << "/dev/vfio/devices/vfio" << static_cast<unsigned>(number);
    return open(dev.get(), on);
  }
  /// Opens a character device by its path.
  /// \par Errors
  /// - `errc::noent`: there is no such device, or the kernel was built without VFIO_DEVICE_CDEV
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_device_ref>> open(
      const char* at, const System& on = native::detail::only<System>()) noexcept {
    return descriptor<System>::template open_as<basic_device_ref>(at, on);
  }
  /// Binds the device to an iommufd (VFIO_DEVICE_BIND_IOMMUFD). The binding ends when the device
  /// file is closed. Call FILE_ADD for the device file before you call this function.
  /// \return the number of the device in the iommufd
  /// \par Errors
  /// - `errc::inval`: the device is bound already, or the device file comes from a group
  /// - `errc::badf`: the iommufd's descriptor is not open
  /// - `errc::badfd`: the descriptor in `to` is not an iommufd
  /// - `errc::busy`: the group file of the device's group is open, or another driver or VMM uses a
  ///   device of the group
  /// - `errc::perm`: another driver, VMM or iommufd has claimed the DMA of the group, or the host
  ///   cannot isolate interrupts
  /// - `errc::nodev`: the device is no longer bound to a driver of VFIO
  /// - `errc::srch`: the device's driver needs a VM, but no FILE_ADD was called before
  /// - `errc::access`: the device needs a token (Linux 7.3)
  [[nodiscard]] result<std::uint32_t> bind_iommufd(basic_iommufd_ref<System> to) const noexcept {
    uapi::device_bind_iommufd bind{
        .argsz = sizeof bind, .flags = 0, .iommufd = to.fd(), .out_devid = 0};
    if (const auto done = this->request(uapi::request_bind_iommufd, &bind); !done)
      return done.error();
    return bind.out_devid;
  }
  /// Binds a device that needs a token to an iommufd (VFIO_DEVICE_BIND_IOMMUFD with
  /// VFIO_DEVICE_BIND_FLAG_TOKEN). Otherwise as the function without a token. Linux 7.3 has this
  /// flag. Linux 6.12 has device files without it, and asks for no token there.
  /// \par Errors
  /// - `errc::access`: the device needs a token, and this is not the right one
  /// - `errc::inval`: the device needs no token, or the kernel does not know the flag
  /// - each other error of the function without a token
  [[nodiscard]] result<std::uint32_t> bind_iommufd(basic_iommufd_ref<System> to,
                                                   const vf_token& token) const noexcept {
    uapi::device_bind_iommufd_token bind{
        {.argsz = sizeof bind, .flags = uapi::bind_flag_token, .iommufd = to.fd(), .out_devid = 0},
        reinterpret_cast<std::uintptr_t>(token.bytes)};
    if (const auto done = this->request(uapi::request_bind_iommufd, &bind); !done)
      return done.error();
    return bind.bind.out_devid;
  }
  /// Attaches the device to an IOAS, so that its DMA uses the mappings of the IOAS
  /// (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
  /// \par Errors
  /// - `errc::noent`: the iommufd has no such IOAS
  /// - `errc::inval`: the device is not bound, or another device of its group is attached to
  ///   another page table
  /// - `errc::busy`: the group is attached already to the IOMMU domain of another driver or VMM
  /// - `errc::addrinuse`: a mapping lies in a reserved region of the device
  [[nodiscard]] errc attach_iommufd_pt(ioas_id ioas) const noexcept {
    uapi::device_attach_iommufd_pt attach{
        .argsz = sizeof attach, .flags = 0, .pt_id = static_cast<std::uint32_t>(ioas)};
    return this->request(uapi::request_attach_iommufd_pt, &attach).error();
  }
  /// Detaches the device from its IOAS (VFIO_DEVICE_DETACH_IOMMUFD_PT).
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] errc detach_iommufd_pt() const noexcept {
    uapi::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
    return this->request(uapi::request_detach_iommufd_pt, &detach).error();
  }
};
/// A view of a descriptor of the running kernel.
using device_ref = basic_device_ref<host>;
/// Owns the descriptor of a device file.
template <system System>
using basic_device = owned<basic_device_ref<System>>;
/// Owns a descriptor of the running kernel.
using device = basic_device<host>;

/// A view of the descriptor of a group file, /dev/vfio/N. Only one open file of a group may exist
/// at a time. Linux releases the group file when its descriptors are closed, no device that was
/// opened through the group is open, and no kvm-vfio device tracks the file.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_group_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Opens the group /dev/vfio/N.
  /// \param number the N in the path
  /// \par Errors
  /// - `errc::noent`: there is no such group, or none of its devices is bound to a driver of VFIO
  /// - `errc::busy`: the group is open already, kvm-vfio still tracks it, or a device of it is
  ///   bound to an iommufd
  /// - `errc::inval`: `number` is negative
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_group_ref>> open(
      int number, const System& on = native::detail::only<System>()) noexcept {
    if (number < 0) return errc::inval;
    path dev;
    dev << "/dev/vfio/" << static_cast<unsigned>(number);
    return open(dev.get(), on);
  }
  /// Opens a group by the path of its file.
  /// \par Errors
  /// - `errc::noent`: there is no such group, or none of its devices is bound to a driver of VFIO
  /// - `errc::busy`: the group is open already, kvm-vfio still tracks it, or a device of it is
  ///   bound to an iommufd
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_group_ref>> open(
      const char* at, const System& on = native::detail::only<System>()) noexcept {
    return descriptor<System>::template open_as<basic_group_ref>(at, on);
  }
  /// Returns whether the group is viable (VFIO_GROUP_GET_STATUS). A group is viable if each of its
  /// devices is bound to VFIO, to no driver, or to a driver that never uses DMA.
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<bool> viable() const noexcept { return has(VFIO_GROUP_FLAGS_VIABLE); }
  /// Returns whether the group is in a container (VFIO_GROUP_GET_STATUS).
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<bool> in_container() const noexcept {
    return has(VFIO_GROUP_FLAGS_CONTAINER_SET);
  }
  /// Puts the group into a container (VFIO_GROUP_SET_CONTAINER).
  /// \par Errors
  /// - `errc::inval`: the group is in a container already, or it cannot use the mappings or the
  ///   IOMMU driver of the container `to`
  /// - `errc::perm`: the group is not viable, another driver or VMM has claimed its DMA, or the
  ///   host cannot isolate interrupts
  /// - `errc::busy`: the group is attached already to the IOMMU domain of another driver or VMM
  /// - `errc::nodev`: none of the group's devices is bound to a driver of VFIO any more
  /// - `errc::badf`: the container's descriptor is not open
  /// - `errc::badfd`: the descriptor in `to` is not a container (Linux 6.1: `errc::inval`)
  [[nodiscard]] errc set_container(basic_container_ref<System> to) const noexcept {
    int fd = to.fd();
    return this->request(VFIO_GROUP_SET_CONTAINER, &fd).error();
  }
  /// Takes the group out of its container (VFIO_GROUP_UNSET_CONTAINER). A group leaves its
  /// container also when Linux releases the group file. If the group was the last one in the
  /// container, the container loses its IOMMU driver and all mappings.
  /// \par Errors
  /// - `errc::busy`: a device of the group is open
  /// - `errc::inval`: the group has no container
  [[nodiscard]] errc unset_container() const noexcept {
    return this->request(VFIO_GROUP_UNSET_CONTAINER).error();
  }
  /// Opens the device file of a device of the group (VFIO_GROUP_GET_DEVICE_FD).
  /// \param name the device's name in sysfs, for example "0000:06:0d.0". The text
  ///             " vf_token=UUID" behind the name gives the token that a virtual function shares
  ///             with its physical function.
  /// \par Errors
  /// - `errc::nodev`: the group has no such device
  /// - `errc::inval`: the group has no container, or the container has no IOMMU driver; the text
  ///   behind the name is no token, or the device needs none
  /// - `errc::access`: the device needs a token, and the token is missing or wrong
  /// - `errc::busy`, `errc::perm`: another driver or VMM uses the device, or has claimed the DMA of
  ///   its group
  /// - `errc::srch`: the device's driver needs a VM, but no FILE_ADD was called before
  /// - `errc::mfile`: the process has no free descriptor
  [[nodiscard]] result<basic_device<System>> get_device(const char* name) const noexcept {
    const result<int> fd = this->request(VFIO_GROUP_GET_DEVICE_FD, name);
    if (!fd) return fd.error();
    return basic_device<System>(basic_unique_fd<System>(*fd, this->system_calls()));
  }

 private:
  [[nodiscard]] result<bool> has(std::uint32_t flag) const noexcept {
    vfio_group_status status{.argsz = sizeof status, .flags = 0};
    if (const auto done = this->request(VFIO_GROUP_GET_STATUS, &status); !done) return done.error();
    return (status.flags & flag) != 0;
  }
};
/// A view of a descriptor of the running kernel.
using group_ref = basic_group_ref<host>;
/// Owns the descriptor of a group.
template <system System>
using basic_group = owned<basic_group_ref<System>>;
/// Owns a descriptor of the running kernel.
using group = basic_group<host>;

}  // namespace kvm_vfio::native::vfio
