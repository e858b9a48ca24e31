// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The requests of devices.

#include "irq.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// The requests of devices.
class device_steps : public irq_steps {
 protected:
  using irq_steps::irq_steps;

  // Reads, writes and maps, without the requests.
  void region_call(kind k) {
    const ref on = mostly(k);
    if (not_compared(on) || on.what == kind::event) return;
    switch (r_.below(4)) {
      case 0: return write_config(on);
      case 1: return map_region(on);
      case 2: return write_region(on);
      default: return read_device(on);
    }
  }
  // The requests, each as probable as the number of its combinations wants.
  void request_call(kind k) {
    const ref on = mostly(k);
    if (not_compared(on) || on.what == kind::event) return;
    if (on.what != kind::device && on.what != kind::cdev) return device_call(k);
    switch (r_.below(8)) {
      case 0: call(on, "RESET", VFIO_DEVICE_RESET, 0); return;
      case 1:
      case 2:
      case 3: return hot_reset(on);
      case 4: return feature(on);
      default: return device_call(on.what);
    }
  }
  void device_call(kind k) {
    const ref on = mostly(k);
    // read(2) and pread(2) are one in the simulator, and an event has no pread.
    const bool event = on.what == kind::event;
    if (k == kind::cdev && (r_.percent(50) || not_compared(on))) return cdev_call(on);
    if (not_compared(on)) return;
    const target* const t = device_in(on);
    if (t && r_.percent(t->pci.bus_resets ? 12 : 4)) return hot_reset(on);
    switch (r_.below(14)) {
      case 0: {
        vfio_device_info info{};
        info.argsz = argsz(sizeof info, {16, 20, 24, 32});
        call(on, "DEVICE_GET_INFO", VFIO_DEVICE_GET_INFO, bytes(info));
        return;
      }
      case 1:
      case 2: {
        vfio_region_info info{};
        info.argsz = argsz(sizeof info, {48, 64});
        info.flags = flags(0);
        info.index = static_cast<std::uint32_t>(r_.below(11));
        call(on, "GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO, bytes(info));
        return;
      }
      case 3: {
        const vfio_irq_info info{.argsz = argsz(sizeof info),
                                 .flags = flags(0),
                                 .index = static_cast<std::uint32_t>(r_.below(6)),
                                 .count = 9};
        call(on, "GET_IRQ_INFO", VFIO_DEVICE_GET_IRQ_INFO, bytes(info));
        return;
      }
      case 4:
      case 5:
      case 6: return set_irqs(on);
      case 7: return feature(on);
      case 8:
        if (r_.percent(20)) call(on, "RESET", VFIO_DEVICE_RESET, 0);
        else read_event();
        return;
      case 9: return event ? read_event() : write_config(on);
      case 10: return map_region(on);
      case 11: return event ? read_event() : write_region(on);
      default: return event ? read_event() : read_device(on);
    }
  }
  void hot_reset(ref on) {
    if (r_.percent(60)) {
      const std::uint32_t size = r_.percent(90) ? r_.of({12U, 16U, 20U, 28U, 28U, 36U, 100U}) : 11U;
      call(on, "GET_PCI_HOT_RESET_INFO", VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
           bytes(size, flags(0), std::uint32_t{7}, std::uint64_t{}, std::uint64_t{}));
      return;
    }
    const std::uint32_t count =
        r_.percent(60) ? (on.what == kind::cdev ? 0U : 1U) : r_.of({0U, 1U, 2U, 3U});
    const std::uint32_t given = flags(0);
    auto argument = bytes(argsz(12 + 4 * count), given, count);
    std::vector<patch> patches;
    for (std::uint32_t i = 0; i < count; ++i) {
      argument.resize(argument.size() + 4, 0xff);
      ref to = r_.percent(85) ? some(kind::group) : anything();
      // Mostly the group of the device.
      for (int j = 0; j < slots && r_.percent(60); ++j) {
        const target* const of = first_of_group({kind::group, j});
        if (of && device_in(on) && of->group == device_in(on)->group) to = {kind::group, j};
      }
      patches.push_back({argument.size() - 4, to});
    }
    call(on, "PCI_HOT_RESET", VFIO_DEVICE_PCI_HOT_RESET, std::move(argument), std::move(patches));
  }
  // VFIO_DEVICE_FEATURE with the features 3 (ENTRY), 4 (ENTRY with an eventfd) and 5 (EXIT).
  void low_power(ref on) {
    const std::uint32_t which = 3U + static_cast<std::uint32_t>(r_.below(3));
    const std::uint32_t how =
        r_.percent(60) ? std::uint32_t{VFIO_DEVICE_FEATURE_SET}
                       : r_.of({std::uint32_t{VFIO_DEVICE_FEATURE_PROBE},
                                std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET},
                                std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET},
                                0U, std::uint32_t{VFIO_DEVICE_FEATURE_GET}});
    const ref file = r_.percent(60)   ? some(kind::event)
                     : r_.percent(30) ? ref{kind::minus_one}
                                      : anything();
    set_low_power(on, which | how, file, r_.percent(15) ? 12 : 16);
  }
  void set_low_power(ref on, std::uint32_t flags, ref file, std::uint32_t size = 16) {
    const bool with = (flags & VFIO_DEVICE_FEATURE_MASK) == 4;
    const std::uint32_t right = with ? size : std::uint32_t{8};
    auto argument = bytes(with ? argsz(right, {12, 15}) : argsz(right), flags, -1, 0U);
    argument.resize(right);
    std::vector<patch> patches;
    if (with && file.what != kind::minus_one) patches.push_back({8, file});
    step& s = call(on, "FEATURE", VFIO_DEVICE_FEATURE, std::move(argument), std::move(patches));
    s.suspends = flags == (4U | VFIO_DEVICE_FEATURE_SET);
  }
  void feature(ref on) {
    // A container's request of the same number tracks dirty pages, which is not modelled.
    if (on.what == kind::container || on.what == kind::iommufd) return;
    if (m_.suspends && r_.percent(50)) return low_power(on);
    vfio_device_feature f{};
    f.argsz = argsz(offsetof(vfio_device_feature, data));
    // Tokens change what later calls find; probing does not.
    const std::uint32_t which = r_.percent(60) ? r_.of({0U, 1U, 2U, 10U}) : 100U;
    const std::uint32_t how =
        r_.of({std::uint32_t{VFIO_DEVICE_FEATURE_PROBE},
               std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET},
               std::uint32_t{VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET}, 0U,
               std::uint32_t{VFIO_DEVICE_FEATURE_GET}});
    f.flags = which | how;
    auto argument = bytes(f);
    argument.resize(offsetof(vfio_device_feature, data));
    call(on, "FEATURE", VFIO_DEVICE_FEATURE, std::move(argument));
  }
};

}  // namespace vfio_lockstep
