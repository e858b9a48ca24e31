// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The attributes of kvm-vfio, each with the function of the device that it calls.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::detail {

// The attributes of a `device`, of which this class is a friend.
template <class Device>
class attributes {
  using looked_up = typename Device::looked_up;

 public:
  // KVM_HAS_DEVICE_ATTR (kvm_vfio_has_attr).
  [[nodiscard]] static constexpr errc has(const kvm_device_attr& attr) noexcept {
    if (attr.group != uapi::dev_vfio_file) return errc::nxio;
    const bool known = attr.attr == uapi::dev_vfio_file_add ||
                       attr.attr == uapi::dev_vfio_file_del ||
                       (Device::spapr && attr.attr == uapi::dev_vfio_group_set_spapr_tce);
    return known ? errc::ok : errc::nxio;
  }

  // KVM_SET_DEVICE_ATTR (kvm_vfio_set_attr). Reads the argument from the memory of the task `from`,
  // looks up the file of its descriptor, and then calls the device, which has no lock until there.
  template <class Caller>
  [[nodiscard]] static constexpr errc set(Device& device, Caller& from,
                                          const kvm_device_attr& attr) noexcept {
    if (has(attr) != errc::ok) return errc::nxio;
    if constexpr (Device::spapr) {
      if (attr.attr == uapi::dev_vfio_group_set_spapr_tce) {
        kvm_vfio_spapr_tce argument{};
        if (!from.copy_from_user(attr.addr, argument)) return errc::fault;
        looked_up seen = look_at(device, from, argument.groupfd);
        return seen ? device.attach_looked_up(seen, argument.tablefd) : seen.error();
      }
    }
    std::int32_t fd = -1;
    if (!from.copy_from_user(attr.addr, fd)) return errc::fault;
    if (attr.attr == uapi::dev_vfio_file_add) {
      looked_up held(device.files_, from.fget(fd));
      return held ? device.add_looked_up(held) : held.error();
    }
    looked_up seen = look_at(device, from, fd);
    return seen ? device.del_looked_up(seen) : seen.error();
  }

 private:
  // Looks a descriptor up without a reference, if the task can do that (fdget).
  template <class Caller>
  static constexpr looked_up look_at(Device& device, Caller& from, int fd) noexcept {
    if constexpr (borrowing_file_table<Caller, typename Device::file>)
      return looked_up(device.files_, from.fdget(fd), looked_up::borrowed);
    else return looked_up(device.files_, from.fget(fd));
  }
};

}  // namespace kvm_vfio::detail
