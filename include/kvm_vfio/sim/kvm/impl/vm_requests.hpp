// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of vm_requests.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/kvm/vm_requests.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE answer kvm_extension(std::uint64_t extension,
                                     const linux_release& release) noexcept {
  switch (extension) {
    case KVM_CAP_IRQCHIP:
    case KVM_CAP_USER_MEMORY:
    case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
    case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
    case KVM_CAP_IRQFD:
    case KVM_CAP_IRQFD_RESAMPLE:
    case KVM_CAP_IOEVENTFD:
    case KVM_CAP_IOEVENTFD_NO_LENGTH:
    case KVM_CAP_IOEVENTFD_ANY_LENGTH:
    case KVM_CAP_READONLY_MEM:
    case KVM_CAP_CHECK_EXTENSION_VM: return 1;
    case KVM_CAP_NR_MEMSLOTS: return std::int64_t{vm_requests::slots};
    case KVM_CAP_DEVICE_CTRL: return release.device_control ? 1 : 0;
    default: return 0;
  }
}

KVM_VFIO_INLINE bool vm_requests::knows(std::uint32_t request) noexcept {
  return request == KVM_SET_USER_MEMORY_REGION || request == KVM_CREATE_IRQCHIP ||
         request == KVM_IRQFD || request == KVM_IOEVENTFD;
}

KVM_VFIO_INLINE answer vm_requests::ioctl(process& task, std::uint32_t request,
                                          std::uint64_t argument) {
  const guard held(lock_);
  switch (request) {
    case KVM_SET_USER_MEMORY_REGION: return set_memory(task, argument);
    case KVM_IRQFD: return set_irqfd(task, argument);
    case KVM_IOEVENTFD: return set_ioeventfd(task, argument);
    default: return std::exchange(irqchip_, true) ? answer(errc::exists) : answer(0);
  }
}

void vm_requests::erase_irqfds(auto wanted) {
  std::erase_if(irqfds_, [&](const irqfd& i) {
    if (!wanted(i)) return false;
    i.event->as_event()->remove_irqfd();
    return true;
  });
}

KVM_VFIO_INLINE void vm_requests::end_irqfds() noexcept {
  const guard held(lock_);
  erase_irqfds([](const irqfd&) { return true; });
}

KVM_VFIO_INLINE std::map<std::uint32_t, vm_requests::slot> vm_requests::memory() const {
  const guard held(lock_);
  return memory_;
}

KVM_VFIO_INLINE std::vector<int> vm_requests::irqfds() const {
  const guard held(lock_);
  std::vector<int> out;
  for (const irqfd& i : irqfds_)
    if (i.event->references() > 0) out.push_back(static_cast<int>(i.gsi));
  return out;
}

KVM_VFIO_INLINE std::size_t vm_requests::ioeventfds() const {
  const guard held(lock_);
  return ioeventfds_.size();
}

KVM_VFIO_INLINE result<vm_requests::watched> vm_requests::eventfd(process& task, int fd) {
  const result<file*> f = task.fget(fd);
  if (!f) return f.error();
  const file_ref held(*f);
  if (!held->as_event()) return errc::inval;
  held->watch();
  return watched(held.get());
}

KVM_VFIO_INLINE answer vm_requests::set_memory(process& task, std::uint64_t argument) {
  kvm_userspace_memory_region c{};
  if (!task.copy_from_user(argument, c)) return errc::fault;
  constexpr std::uint64_t page = 4096;
  constexpr std::uint64_t most = (std::uint64_t{1} << 43) - page;      // 2^31 - 1 pages
  constexpr std::uint64_t user_end = (std::uint64_t{1} << 47) - page;  // of a process on x86
  constexpr std::uint64_t guest_end = std::uint64_t{1} << 52;
  const auto aligned = [](std::uint64_t n) { return n % page == 0; };
  if (c.flags & ~std::uint32_t{KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY}) return errc::inval;
  if (c.slot >= slots) return errc::inval;  // also another address space, in the upper half
  if (!aligned(c.memory_size) || !aligned(c.guest_phys_addr) || !aligned(c.userspace_addr))
    return errc::inval;
  if (c.memory_size > most || c.userspace_addr > user_end - c.memory_size) return errc::inval;
  if (c.guest_phys_addr + c.memory_size < c.guest_phys_addr) return errc::inval;
  const auto old = memory_.find(c.slot);
  if (c.memory_size == 0) {
    if (old == memory_.end()) return errc::inval;
    memory_.erase(old);
    return 0;
  }
  const slot made{c.flags, c.guest_phys_addr, c.memory_size, c.userspace_addr};
  const bool moves = old == memory_.end() || old->second.guest != made.guest;
  if (old != memory_.end()) {
    const slot& s = old->second;
    if (s.size != made.size || s.address != made.address ||
        ((s.flags ^ made.flags) & KVM_MEM_READONLY))
      return errc::inval;
  }
  for (const auto& [number, s] : memory_)
    if (moves && number != c.slot && s.guest < made.guest + made.size &&
        made.guest < s.guest + s.size)
      return errc::exists;
  // The kernel looks last at the end of the guest's addresses, and not if a slot is removed.
  if (made.guest > guest_end - made.size) return errc::inval;
  memory_[c.slot] = made;
  return 0;
}

KVM_VFIO_INLINE answer vm_requests::set_irqfd(process& task, std::uint64_t argument) {
  kvm_irqfd c{};
  if (!task.copy_from_user(argument, c)) return errc::fault;
  if (c.flags & ~std::uint32_t{KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE})
    return errc::inval;
  const bool assigns = !(c.flags & KVM_IRQFD_FLAG_DEASSIGN);
  if (assigns && !irqchip_) return errc::inval;
  result<watched> event = eventfd(task, static_cast<int>(c.fd));
  if (!event) return event.error();
  if (assigns && (c.flags & KVM_IRQFD_FLAG_RESAMPLE))
    if (const auto handled = eventfd(task, static_cast<int>(c.resamplefd)); !handled)
      return handled.error();
  // The close of an eventfd ends its irqfd.
  erase_irqfds([](const irqfd& i) { return i.event->references() == 0; });
  const auto same = [&](const irqfd& i) { return i.event.get() == event->get(); };
  if (!assigns) {
    erase_irqfds([&](const irqfd& i) { return same(i) && i.gsi == c.gsi; });
    return 0;
  }
  if (std::ranges::any_of(irqfds_, same)) return errc::busy;
  event_file& counted = *(*event)->as_event();
  irqfds_.push_back({std::move(*event), c.gsi});
  if (counted.add_irqfd(exclusive_)) return 0;
  irqfds_.pop_back();
  return errc::busy;
}

KVM_VFIO_INLINE answer vm_requests::set_ioeventfd(process& task, std::uint64_t argument) {
  kvm_ioeventfd c{};
  if (!task.copy_from_user(argument, c)) return errc::fault;
  constexpr std::uint32_t ccw = 1 << 3;  // KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY
  constexpr std::uint32_t match = KVM_IOEVENTFD_FLAG_DATAMATCH;
  const bool assigns = !(c.flags & KVM_IOEVENTFD_FLAG_DEASSIGN);
  if (assigns) {
    // Linux keeps the bit for itself (kvm_ioeventfd_flag_nr_fast_mmio), but does not refuse it.
    constexpr std::uint32_t fast_mmio = 1 << 4;
    constexpr std::uint32_t known = match | KVM_IOEVENTFD_FLAG_PIO | ccw | fast_mmio;
    const bool length = c.len == 0 || c.len == 1 || c.len == 2 || c.len == 4 || c.len == 8;
    if (!length || c.addr + c.len < c.addr || (c.flags & ~known)) return errc::inval;
    if (c.len == 0 && (c.flags & match)) return errc::inval;
  }
  result<watched> event = eventfd(task, c.fd);
  if (!event) return event.error();
  const std::uint32_t bus =
      c.flags & KVM_IOEVENTFD_FLAG_PIO ? std::uint32_t{KVM_IOEVENTFD_FLAG_PIO} : c.flags & ccw;
  const bool matches = c.flags & match;
  const auto at = [&](const ioeventfd& o) { return o.bus == bus && o.c.addr == c.addr; };
  if (!assigns) {
    const auto found = std::ranges::find_if(ioeventfds_, [&](const ioeventfd& o) {
      const bool other_matches = o.c.flags & match;
      return at(o) && o.event.get() == event->get() && o.c.len == c.len &&
             other_matches == matches && (!matches || o.c.datamatch == c.datamatch);
    });
    if (found == ioeventfds_.end()) return errc::noent;
    ioeventfds_.erase(found);
    return 0;
  }
  const bool taken = std::ranges::any_of(ioeventfds_, [&](const ioeventfd& o) {
    if (!at(o)) return false;
    if (o.c.len == 0 || c.len == 0) return true;
    const bool both_match = matches && (o.c.flags & match);
    return o.c.len == c.len && (!both_match || o.c.datamatch == c.datamatch);
  });
  if (taken) return errc::exists;
  ioeventfds_.push_back({std::move(*event), bus, c});
  return 0;
}

}  // namespace kvm_vfio::sim
