// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of low_power.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/vfio/low_power.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void low_power::access() noexcept {
  if (!wakeup_) return;
  wakeup_->as_event()->signal();
  leave();
}

KVM_VFIO_INLINE void low_power::leave() noexcept {
  engaged_ = false;
  wakeup_.reset();
}

KVM_VFIO_INLINE errc low_power::feature(process& task, std::uint32_t flags, std::uint64_t data,
                                        std::size_t size) {
  // The kernel's struct vfio_device_low_power_entry_with_wakeup.
  struct {
    std::int32_t wakeup_eventfd;
    std::uint32_t reserved;
  } with{};
  const std::uint32_t which = flags & VFIO_DEVICE_FEATURE_MASK;
  if (flags & VFIO_DEVICE_FEATURE_GET) return errc::inval;
  if (flags & VFIO_DEVICE_FEATURE_PROBE) return errc::ok;
  if (!(flags & VFIO_DEVICE_FEATURE_SET)) return errc::inval;
  file_ref event;
  if (which == entry_with_wakeup) {
    if (size < sizeof with) return errc::inval;
    if (!task.mem().read(data, &with, sizeof with)) return errc::fault;
    if (with.wakeup_eventfd < 0) return errc::inval;
    const result<file*> f = task.fget(with.wakeup_eventfd);
    if (!f) return f.error();
    event = file_ref(*f);
    if (!event->as_event()) return errc::inval;
  }
  if (which == exit) {
    leave();
    return errc::ok;
  }
  if (engaged_) return errc::inval;
  engaged_ = true;
  wakeup_ = std::move(event);
  return errc::ok;
}

}  // namespace kvm_vfio::sim
