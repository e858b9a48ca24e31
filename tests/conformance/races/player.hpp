// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Makes the calls of a race on any system: a kernel, the simulator, or the model.

#include "race.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include "support/attribute.hpp"

#include <fcntl.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace races {

/// The device with which the races are run.
struct target {
  std::string group;   ///< "/dev/vfio/7"
  std::string device;  ///< the device's name
  std::string cdev;    ///< "/dev/vfio/devices/vfio0", or empty
  unsigned long iommu = VFIO_TYPE1v2_IOMMU;
};

/// Has the descriptors of a race. Threads may call `run` at the same time, if no two of them make
/// the descriptor of one name.
/// \tparam System has open, close, ioctl and eventfd, as `kvm_vfio::system` has them
template <class System>
class player {
 public:
  player(System sys, const target& t) : sys_(sys), target_(t) {
    for (auto& fd : fds_) fd.store(closed, std::memory_order_relaxed);
  }
  player(const player&) = delete;
  player& operator=(const player&) = delete;
  ~player() { close_all(); }

  /// Makes a call. Returns the error number as a negative number, a value, or 0.
  int run(const op& o) noexcept {
    switch (o.what) {
      case verb::open: return made(o.on, sys_.open(path(o.with), O_RDWR));
      case verb::close: return close(o.on);
      case verb::create_vm: return made(o.on, sys_.ioctl(number(slot::kvm), KVM_CREATE_VM, 0));
      case verb::create_kvm_vfio: {
        kvm_create_device create = support::create_argument();
        const int e = ioctl(slot::vm, KVM_CREATE_DEVICE, create);
        if (e == 0) put(o.on, static_cast<int>(create.fd));
        return e;
      }
      case verb::add: return set_file(o, kvm_vfio::uapi::dev_vfio_file_add);
      case verb::del: return set_file(o, kvm_vfio::uapi::dev_vfio_file_del);
      case verb::has_add: {
        kvm_device_attr attr = support::file_attribute(kvm_vfio::uapi::dev_vfio_file_add);
        return ioctl(o.on, KVM_HAS_DEVICE_ATTR, attr);
      }
      case verb::set_container: {
        std::int32_t fd = number(o.with);
        return ioctl(o.on, VFIO_GROUP_SET_CONTAINER, fd);
      }
      case verb::unset_container: return value(number_call(o.on, VFIO_GROUP_UNSET_CONTAINER, 0));
      case verb::set_iommu: return value(number_call(o.on, VFIO_SET_IOMMU, target_.iommu));
      case verb::group_status: {
        vfio_group_status s{.argsz = sizeof s, .flags = 0};
        const int e = ioctl(o.on, VFIO_GROUP_GET_STATUS, s);
        return e != 0 ? e : static_cast<int>(s.flags);
      }
      case verb::get_device:
        return made(o.with, number_call(o.on, VFIO_GROUP_GET_DEVICE_FD,
                                        reinterpret_cast<std::uintptr_t>(target_.device.c_str())));
      case verb::bind: {
        kvm_vfio::uapi::device_bind_iommufd b{
            .argsz = sizeof b, .flags = 0, .iommufd = number(o.with), .out_devid = 0};
        return ioctl(o.on, kvm_vfio::uapi::request_bind_iommufd, b);
      }
      case verb::ioas_alloc: {
        kvm_vfio::uapi::iommu_ioas_alloc a{.size = sizeof a, .flags = 0, .out_ioas_id = 0};
        const int e = ioctl(o.on, kvm_vfio::uapi::request_ioas_alloc, a);
        space_ = a.out_ioas_id;
        return e;
      }
      case verb::attach: {
        kvm_vfio::uapi::device_attach_iommufd_pt a{.argsz = sizeof a, .flags = 0, .pt_id = space_};
        return ioctl(o.on, kvm_vfio::uapi::request_attach_iommufd_pt, a);
      }
      case verb::detach: {
        kvm_vfio::uapi::device_detach_iommufd_pt d{.argsz = sizeof d, .flags = 0};
        return ioctl(o.on, kvm_vfio::uapi::request_detach_iommufd_pt, d);
      }
      case verb::eventfd: return made(o.on, sys_.eventfd());
      case verb::set_irqs: return set_irqs(o);
    }
    return 0;
  }
  /// Returns the number of a name's descriptor, or a number that no descriptor has.
  [[nodiscard]] int number(slot s) const noexcept {
    if (s == slot::none) return closed;
    if (held_.on != slot::none && (s == held_.on || s == held_.with))
      return s == held_.on ? held_.on_fd : held_.with_fd;
    announce(s, false);
    return fds_[static_cast<std::size_t>(s)].load(std::memory_order_acquire);
  }
  /// Makes one more descriptor of a descriptor's file, or returns a number that no descriptor has.
  [[nodiscard]] int hold(int fd) noexcept {
    const auto copy = sys_.dup(fd);
    return copy ? *copy : closed;
  }
  /// Makes a call, with these descriptors instead of those of the names.
  int run_held(const op& o, int on, int with) noexcept {
    held_ = {o.on, o.with, on, with};
    const int answer = run(o);
    held_ = {};
    return answer;
  }
  /// Gives a descriptor back that `hold` made.
  void drop(int fd) noexcept {
    if (fd != closed) static_cast<void>(sys_.close(fd));
  }
  /// Makes calls that must succeed. Throws std::runtime_error if one fails.
  void must(const race& r, const ops& calls) {
    for (const op& o : calls)
      if (const int a = run(o); a < 0)
        throw std::runtime_error(std::string(r.name) + ": a call of the preparation, number " +
                                 std::to_string(&o - calls.data()) +
                                 ", fails: " + kvm_vfio::name(kvm_vfio::to_errc(-a)));
  }
  /// Closes the descriptors whose names are not in `kept`.
  void close_all(const ops& kept = {}) noexcept {
    // A kvm-vfio device and the devices of VFIO come before the files that they need.
    for (int i = slots - 1; i >= 0; --i) {
      bool keep = false;
      for (const op& o : kept) keep = keep || o.on == static_cast<slot>(i);
      if (!keep && number(static_cast<slot>(i)) != closed) (void)close(static_cast<slot>(i));
    }
  }

 private:
  static constexpr int closed = 9999;  // no descriptor has this number

  void put(slot s, int fd) noexcept {
    announce(s, true);
    fds_[static_cast<std::size_t>(s)].store(fd, std::memory_order_release);
  }
  // The names are shared, so the explorer of schedules orders their uses.
  void announce(slot s, bool changes) const noexcept {
    if constexpr (requires { sys_.name(this, s, changes); }) sys_.name(this, s, changes);
  }
  template <class T>
  static int value(const kvm_vfio::result<T>& answer) noexcept {
    return answer ? 0 : -static_cast<int>(answer.error());
  }
  int made(slot s, const kvm_vfio::result<int>& fd) noexcept {
    if (fd) put(s, *fd);
    return value(fd);
  }
  // The name has the number of the descriptor until the descriptor is closed. So a call of another
  // thread fails only after that.
  int close(slot s) noexcept {
    const kvm_vfio::errc e = sys_.close(number(s));
    put(s, closed);
    return -static_cast<int>(e);
  }
  kvm_vfio::result<int> number_call(slot s, unsigned long request,
                                    std::uintptr_t argument) noexcept {
    return sys_.ioctl(number(s), request, argument);
  }
  template <class T>
  int ioctl(slot s, unsigned long request, T& argument) noexcept {
    return value(number_call(s, request, support::address_of(argument)));
  }
  int set_file(const op& o, std::uint64_t attribute) noexcept {
    std::int32_t fd = number(o.with);
    kvm_device_attr attr = support::file_attribute(attribute, support::address_of(fd));
    return ioctl(o.on, KVM_SET_DEVICE_ATTR, attr);
  }
  int set_irqs(const op& o) noexcept {
    // struct vfio_irq_set and its data
    std::array<std::uint32_t, 6> bytes{sizeof bytes,
                                       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                       VFIO_PCI_INTX_IRQ_INDEX,
                                       0,
                                       1,
                                       static_cast<std::uint32_t>(number(o.with))};
    return ioctl(o.on, VFIO_DEVICE_SET_IRQS, bytes);
  }
  [[nodiscard]] const char* path(slot s) const noexcept {
    switch (s) {
      case slot::kvm: return "/dev/kvm";
      case slot::group: return target_.group.c_str();
      case slot::container: return "/dev/vfio/vfio";
      case slot::iommufd: return "/dev/iommu";
      case slot::cdev: return target_.cdev.c_str();
      default: return "";
    }
  }

  System sys_;
  const target& target_;
  std::array<std::atomic<int>, slots> fds_{};
  std::uint32_t space_ = 0;
  struct held {
    slot on = slot::none, with = slot::none;
    int on_fd = closed, with_fd = closed;
  };
  held held_{};
};

}  // namespace races
