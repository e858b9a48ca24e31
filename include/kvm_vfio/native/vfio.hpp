// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO's own files, as far as it takes to attach a device to a VM: containers, groups, devices. As
/// in kvm.hpp there is a view (`group_ref`) and an owner (`group`) of each.
///
/// The order that is safe on every kernel: group into container, set the container's IOMMU,
/// FILE_ADD of the group, get the device; or FILE_ADD of the device file, then bind it.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/native/iommufd.hpp>
#include <kvm_vfio/native/path.hpp>
#include <kvm_vfio/native/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>
#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

/// An IOMMU address space for groups (/dev/vfio/vfio).
class container_ref {
 public:
  constexpr container_ref() noexcept = default;
  /// A view of an open descriptor.
  constexpr explicit container_ref(int fd) noexcept : fd_(fd) {}

  /// A new container. \return as open(2); noent: VFIO is not loaded · notty: not a container ·
  ///         EPROTO: another VFIO_API_VERSION
  template <class Owner = owned<container_ref>>  // complete only when called
  [[nodiscard]] static result<Owner> open(const char* at = "/dev/vfio/vfio") noexcept {
    result<unique_fd> fd = sys::open(at, O_RDWR);
    if (!fd) return fd.error();
    Owner opened(static_cast<unique_fd&&>(*fd));
    const result<int> version = sys::ioctl(opened.fd(), VFIO_GET_API_VERSION);
    if (!version) return version.error();
    if (*version != VFIO_API_VERSION) return errc::proto;
    return opened;
  }
  /// VFIO_CHECK_EXTENSION: whether the container, or before its IOMMU is set any driver, has it.
  [[nodiscard]] result<bool> check_extension(unsigned long extension) const noexcept {
    const result<int> answer = sys::ioctl(fd_, VFIO_CHECK_EXTENSION, extension);
    if (!answer) return answer.error();
    return *answer > 0;
  }
  /// VFIO_SET_IOMMU, once there is a group. inval: no group yet, or set already · nodev: no driver
  [[nodiscard]] errc set_iommu(unsigned long type = VFIO_TYPE1v2_IOMMU) const noexcept {
    return sys::ioctl(fd_, VFIO_SET_IOMMU, type).error();
  }
  /// VFIO_IOMMU_MAP_DMA. exists: overlaps another · nomem: RLIMIT_MEMLOCK · inval: not aligned
  [[nodiscard]] errc map(const dma_mapping& m) const noexcept {
    vfio_iommu_type1_dma_map map{};
    map.argsz = sizeof map;
    map.flags = VFIO_DMA_MAP_FLAG_READ | (m.writable ? VFIO_DMA_MAP_FLAG_WRITE : 0U);
    map.vaddr = reinterpret_cast<std::uintptr_t>(m.memory);
    map.iova = m.iova;
    map.size = m.size;
    return sys::ioctl(fd_, VFIO_IOMMU_MAP_DMA, &map).error();
  }
  /// VFIO_IOMMU_UNMAP_DMA. \return how many bytes were mapped; inval: would split a mapping
  [[nodiscard]] result<std::uint64_t> unmap(std::uint64_t iova, std::uint64_t size) const noexcept {
    vfio_iommu_type1_dma_unmap unmap{};
    unmap.argsz = sizeof unmap;
    unmap.iova = iova;
    unmap.size = size;
    if (const auto done = sys::ioctl(fd_, VFIO_IOMMU_UNMAP_DMA, &unmap); !done) return done.error();
    return std::uint64_t{unmap.size};
  }
  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};
/// A container, owned. It lives until it is closed and no group is in it any more: a group leaves
/// it by `unset_container` or when the group is closed.
using container = owned<container_ref>;

/// A VFIO device's file: a character device of its own, or what a group handed out.
class device_ref {
 public:
  constexpr device_ref() noexcept = default;
  /// A view of an open descriptor.
  constexpr explicit device_ref(int fd) noexcept : fd_(fd) {}

  /// Opens /dev/vfio/devices/vfioN (Linux 6.6). \return as open(2); noent: no such device, or the
  ///         kernel has no VFIO_DEVICE_CDEV · inval: a negative number
  template <class Owner = owned<device_ref>>  // complete only when called
  [[nodiscard]] static result<Owner> open(int number) noexcept {
    if (number < 0) return errc::inval;
    path dev;
    dev << "/dev/vfio/devices/vfio" << static_cast<unsigned>(number);
    return open<Owner>(dev.get());
  }
  /// The same by its path.
  template <class Owner = owned<device_ref>>
  [[nodiscard]] static result<Owner> open(const char* at) noexcept {
    result<unique_fd> fd = sys::open(at, O_RDWR);
    if (!fd) return fd.error();
    return Owner(static_cast<unique_fd&&>(*fd));
  }
  /// VFIO_DEVICE_BIND_IOMMUFD; undone by closing the device. Attach the device to the VM before.
  /// \return the device's number in the iommufd; badf · inval: bound already, or not a cdev
  [[nodiscard]] result<std::uint32_t> bind_iommufd(iommufd_ref to) const noexcept {
    uapi::device_bind_iommufd bind{
        .argsz = sizeof bind, .flags = 0, .iommufd = to.fd(), .out_devid = 0};
    if (const auto done = sys::ioctl(fd_, uapi::request_bind_iommufd, &bind); !done)
      return done.error();
    return bind.out_devid;
  }
  /// VFIO_DEVICE_ATTACH_IOMMUFD_PT: DMA goes through the address space from now on. noent · inval
  [[nodiscard]] errc attach_iommufd_pt(ioas_id ioas) const noexcept {
    uapi::device_attach_iommufd_pt attach{
        .argsz = sizeof attach, .flags = 0, .pt_id = static_cast<std::uint32_t>(ioas)};
    return sys::ioctl(fd_, uapi::request_attach_iommufd_pt, &attach).error();
  }
  /// VFIO_DEVICE_DETACH_IOMMUFD_PT.
  [[nodiscard]] errc detach_iommufd_pt() const noexcept {
    uapi::device_detach_iommufd_pt detach{.argsz = sizeof detach, .flags = 0};
    return sys::ioctl(fd_, uapi::request_detach_iommufd_pt, &detach).error();
  }
  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};
/// A VFIO device's file, owned.
using device = owned<device_ref>;

/// An IOMMU group (/dev/vfio/N). Its file is open once at the most.
class group_ref {
 public:
  constexpr group_ref() noexcept = default;
  /// A view of an open descriptor.
  constexpr explicit group_ref(int fd) noexcept : fd_(fd) {}

  /// \return as open(2); noent: no such group, or none of its devices is bound to VFIO · busy:
  ///         open already, or kvm-vfio still holds it · inval: a negative number
  template <class Owner = owned<group_ref>>  // complete only when called
  [[nodiscard]] static result<Owner> open(int number) noexcept {
    if (number < 0) return errc::inval;
    path dev;
    dev << "/dev/vfio/" << static_cast<unsigned>(number);
    return open<Owner>(dev.get());
  }
  /// The same by its path.
  template <class Owner = owned<group_ref>>
  [[nodiscard]] static result<Owner> open(const char* at) noexcept {
    result<unique_fd> fd = sys::open(at, O_RDWR);
    if (!fd) return fd.error();
    return Owner(static_cast<unique_fd&&>(*fd));
  }
  /// VFIO_GROUP_GET_STATUS: whether every device of the group is bound to VFIO or to no driver.
  [[nodiscard]] result<bool> viable() const noexcept {
    vfio_group_status status{.argsz = sizeof status, .flags = 0};
    if (const auto done = sys::ioctl(fd_, VFIO_GROUP_GET_STATUS, &status); !done)
      return done.error();
    return (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0;
  }
  /// VFIO_GROUP_SET_CONTAINER. inval: has a container already · perm: not viable
  [[nodiscard]] errc set_container(container_ref to) const noexcept {
    int fd = to.fd();
    return sys::ioctl(fd_, VFIO_GROUP_SET_CONTAINER, &fd).error();
  }
  /// VFIO_GROUP_UNSET_CONTAINER. busy: a device of the group is open · inval: no container
  [[nodiscard]] errc unset_container() const noexcept {
    return sys::ioctl(fd_, VFIO_GROUP_UNSET_CONTAINER).error();
  }
  /// VFIO_GROUP_GET_DEVICE_FD. \param name as sysfs has it ("0000:06:0d.0")
  /// \return nodev: not in this group · inval: no container, or its IOMMU is not set · mfile
  [[nodiscard]] result<device> get_device(const char* name) const noexcept {
    const result<int> fd = sys::ioctl(fd_, VFIO_GROUP_GET_DEVICE_FD, name);
    if (!fd) return fd.error();
    return device(unique_fd(*fd));
  }
  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};
/// An IOMMU group, owned.
using group = owned<group_ref>;

}  // namespace kvm_vfio::native::vfio
