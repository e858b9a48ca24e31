// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// MSI of each device is armed once before the topology is read.

#include "generate.hpp"
#include "support/real_system.hpp"
#include "support/vmm.hpp"

#include <kvm_vfio/errc.hpp>

#include <linux/vfio.h>

#include <cstdint>

namespace vfio_lockstep {

/// Arms MSI of a device and disarms it. On POWER the firmware writes the message into the function
/// when MSI is armed for the first time, and the kernel leaves the message there. sysfs shows the
/// message only afterwards. (Other kernels clear the message when MSI is disarmed.)
/// \param t          the device
/// \param iommu_type the argument of VFIO_SET_IOMMU
inline void arm_msi_once(const target& t, unsigned long iommu_type) {
  using kvm_vfio::errc;
  support::vmm sys{support::real_system()};
  const auto container = sys.open("/dev/vfio/vfio");
  const auto group = sys.open(t.group.c_str());
  const long event = sys.system_calls().eventfd();
  if (container && group && sys.set_container(*group, *container) == errc::ok &&
      sys.set_iommu(*container, iommu_type) == errc::ok) {
    if (const auto device = sys.device_fd(*group, t.device.c_str())) {
      struct {
        std::uint32_t argsz, flags, index, start, count;
        std::int32_t event;
      } arm{.argsz = sizeof arm,
            .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
            .index = VFIO_PCI_MSI_IRQ_INDEX,
            .start = 0,
            .count = 1,
            .event = static_cast<std::int32_t>(event)};
      (void)sys.ioctl_at(*device, VFIO_DEVICE_SET_IRQS, arm);
      (void)sys.close(*device);
    }
  }
  if (event >= 0) (void)sys.close(static_cast<int>(event));
  if (group) (void)sys.close(*group);
  if (container) (void)sys.close(*container);
}

}  // namespace vfio_lockstep
