// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Files that are opened and duplicated, and the requests of groups.

#include "iommufd.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// Files that are opened and duplicated, and the requests of groups.
class group_steps : public iommufd_steps {
 protected:
  using iommufd_steps::iommufd_steps;

  void open_group(int i, const target& t) { open(kind::group, i, t.group); }
  void open_cdev(int i, const target& t) {
    i = device_slot(t, i);
    open(kind::cdev, i, t.cdev.empty() ? "/dev/vfio/devices/vfio99" : t.cdev, t.device);
  }
  void open_something() {
    const target& t = some_target();
    switch (r_.below(m_.iommufd ? 8 : 5)) {
      case 0:
      case 1: return open_group(slot(), t);
      case 2: return open(kind::container, slot(), "/dev/vfio/vfio");
      case 3:
        if (r_.percent(50)) return open(kind::group, slot(), "/dev/vfio/99");
        return open_group(slot(), t);
      case 4:
        if (r_.percent(25))
          add({.what = verb::open_path, .made = some(kind::path), .makes = true, .name = t.group});
        else add({.what = verb::eventfd, .made = some(kind::event), .makes = true});
        return;
      case 5:
      case 6:
        if (r_.percent(90)) return open_cdev(slot(), t);
        return open(kind::cdev, slot(), "/dev/vfio/devices/vfio99", t.device);
      default: return open(kind::iommufd, slot(), "/dev/iommu");
    }
  }
  void dup() {
    const ref from = some(static_cast<kind>(r_.below(kinds_with_slots)));
    const bool device = from.what == kind::device || from.what == kind::cdev;
    int to = r_.below(slots);
    if (device) to = from.slot < slots - 1 ? to % (slots - 1) : from.slot;
    add({.what = verb::dup, .on = from, .made = {from.what, to}, .makes = true});
  }
  void unknown() {
    const ref on = anything();
    // TIOCGWINSZ and friends are every file's; these are nobody's, or another file's.
    const std::uint32_t request =
        r_.of<std::uint32_t>({_IO(VFIO_TYPE, VFIO_BASE + 99), VFIO_GET_API_VERSION,
                              VFIO_DEVICE_RESET, _IO(';', 0xff), u::request_bind_iommufd});
    if (request == VFIO_DEVICE_RESET && on.what != kind::container && on.what != kind::group)
      return;
    call(on, "unknown", request, bytes(std::uint32_t{16}, 0, 0, 0));
  }

  void set_container(ref on, ref to) {
    call(on, "SET_CONTAINER", VFIO_GROUP_SET_CONTAINER, bytes(std::int32_t{-1}), {{0, to}});
  }
  // The last slot is for devices whose own calls are not compared.
  static int device_slot(const target& t, int wanted) {
    return t.comparable ? wanted % (slots - 1) : slots - 1;
  }
  step& get_device(ref on, const std::string& name, int to) {
    const std::string with_options = name + device_options();
    std::vector<unsigned char> argument(with_options.begin(), with_options.end());
    argument.insert(argument.end(), 1, 0);
    step& s = call(on, "GET_DEVICE_FD", VFIO_GROUP_GET_DEVICE_FD, std::move(argument));
    s.made = {kind::device, to};
    s.device = name;
    s.makes = true;
    return s;
  }
  void get_device(ref on, const target& t, int to) {
    to = device_slot(t, to);
    get_device(on, t.device, to);
  }
  // What may follow the name of a device: blanks, and the token of a virtual function.
  std::string device_options() {
    if (careful_ || r_.percent(80)) return {};
    const std::string token = "vf_token=00000000-0000-0000-0000-000000000001";
    return r_.of<std::string>(
        {" ", "  ", "\n", " \t", " " + token, token, " vf_token=", " other", "  " + token + " "});
  }
  void group_call() {
    const ref on = mostly(kind::group);
    switch (r_.below(6)) {
      case 0: {
        const vfio_group_status s{.argsz = argsz(sizeof s), .flags = flags(0)};
        call(on, "GET_STATUS", VFIO_GROUP_GET_STATUS, bytes(s));
        return;
      }
      case 1:
      case 2: return set_container(on, r_.percent(75) ? mostly(some_container()) : anything());
      case 3: call(on, "UNSET_CONTAINER", VFIO_GROUP_UNSET_CONTAINER, 0); return;
      default:
        if (r_.percent(10)) {
          const int to = r_.below(slots - 1);
          get_device(on, r_.of<std::string>({"", "nosuch", "0000:ff:1f.7"}), to);
          return;
        }
        const target* const t = first_of_group(on);
        const bool own = t && r_.percent(70);
        const int to = slot();
        return get_device(on, own ? neighbour(*t) : some_target(), to);
    }
  }

  void join_iommufd(ref group) {
    const ref fd{kind::iommufd, r_.percent(80) ? 0 : group.slot};
    open(kind::iommufd, fd.slot, "/dev/iommu");
    if (r_.percent(30)) ioas_alloc(fd);
    if (r_.percent(20)) vfio_ioas(fd);
    set_container(group, fd);
    if (r_.percent(50))
      call(fd, "SET_IOMMU", VFIO_SET_IOMMU, r_.percent(70) ? VFIO_TYPE1v2_IOMMU : VFIO_TYPE1_IOMMU);
  }
};

}  // namespace vfio_lockstep
