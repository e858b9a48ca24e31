// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of irqs.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci/irqs.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/event_file.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE pci_irqs::pci_irqs(const pci_spec& spec, const linux_release& release,
                                   std::uint32_t most_msi, bool is_virtual) noexcept
    : intx_(spec.intx && !is_virtual ? 1 : 0),
      msi_(spec.msi_vectors),
      msix_(spec.msix_vectors),
      errors_(spec.express || release.error_irq_always ? 1 : 0),
      most_msi_(most_msi),
      dynamic_msix_(release.dynamic_msix),
      accepts_low_events_(release.accepts_low_events) {}

KVM_VFIO_INLINE std::uint32_t pci_irqs::count(std::uint32_t index) const noexcept {
  switch (index) {
    case VFIO_PCI_INTX_IRQ_INDEX: return intx_;
    case VFIO_PCI_MSI_IRQ_INDEX: return msi_;
    case VFIO_PCI_MSIX_IRQ_INDEX: return msix_;
    case VFIO_PCI_ERR_IRQ_INDEX: return errors_;
    default: return 1;  // the request interrupt
  }
}

KVM_VFIO_INLINE bool pci_irqs::any() const noexcept {
  return armed_ != VFIO_PCI_NUM_IRQS || error_ || request_;
}

KVM_VFIO_INLINE bool pci_irqs::connected(std::uint32_t index, std::uint32_t vector) const noexcept {
  const file_ref* const f = event(index, vector);
  return f && *f;
}

KVM_VFIO_INLINE bool pci_irqs::masked() const noexcept {
  if (armed_ != VFIO_PCI_INTX_IRQ_INDEX || !intx_masked_) return false;
  return intx_disabled_ || !unmask_ || unmask_->consumed() == unmasks_seen_;
}

KVM_VFIO_INLINE bool pci_irqs::has_unmask_event() const noexcept {
  return unmask_ && unmask_->references() != 0;
}

KVM_VFIO_INLINE bool pci_irqs::raise(std::uint32_t index, std::uint32_t vector) noexcept {
  look_at_unmask();
  const file_ref* const f = event(index, vector);
  if (!f || !*f) return false;
  if (index == VFIO_PCI_INTX_IRQ_INDEX) {
    if (intx_masked_) return false;
    intx_masked_ = true;  // INTx is level-triggered: vfio-pci masks it until the process unmasks it
  }
  f->get()->as_event()->signal();
  return true;
}

KVM_VFIO_INLINE void pci_irqs::loop_back(std::uint32_t index, std::uint32_t vector) noexcept {
  const file_ref* const f = event(index, vector);
  if (!f || !*f || (index == VFIO_PCI_INTX_IRQ_INDEX && intx_disabled_)) return;
  f->get()->as_event()->signal();
}

KVM_VFIO_INLINE void pci_irqs::disable_intx(bool disabled) noexcept {
  if (disabled == intx_disabled_) return;
  look_at_unmask();
  intx_disabled_ = disabled;
  intx_masked_ = disabled;
}

KVM_VFIO_INLINE void pci_irqs::reset() noexcept {
  disarm();
  intx_disabled_ = false;
  error_.reset();
  request_.reset();
}

KVM_VFIO_INLINE answer pci_irqs::set(process& task, std::uint64_t argument) {
  vfio_irq_set h{};
  constexpr std::size_t size = offsetof(vfio_irq_set, data);
  if (const errc e = detail::read_argsz(task, argument, h, size); e != errc::ok) return e;
  look_at_unmask();
  std::uint32_t each = 0;
  if (const errc e = validate(h, each); e != errc::ok) return e;
  std::vector<unsigned char> data(std::size_t{each} * h.count);
  if (!data.empty() && !task.mem().read(argument + size, data.data(), data.size()))
    return errc::fault;
  const std::uint32_t action = h.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
  switch (h.index) {
    case VFIO_PCI_INTX_IRQ_INDEX:
      if (action == VFIO_IRQ_SET_ACTION_TRIGGER) return trigger(task, h, data);
      if (action == VFIO_IRQ_SET_ACTION_MASK || action == VFIO_IRQ_SET_ACTION_UNMASK)
        return to_answer(mask(task, h, data, action == VFIO_IRQ_SET_ACTION_MASK));
      return errc::notty;
    case VFIO_PCI_MSI_IRQ_INDEX:
    case VFIO_PCI_MSIX_IRQ_INDEX:
      if (action != VFIO_IRQ_SET_ACTION_TRIGGER) return errc::notty;
      return trigger(task, h, data);
    case VFIO_PCI_ERR_IRQ_INDEX:
      if (action != VFIO_IRQ_SET_ACTION_TRIGGER) return errc::notty;
      return to_answer(single(task, h, data, error_));
    default:
      if (action != VFIO_IRQ_SET_ACTION_TRIGGER) return errc::notty;
      return to_answer(single(task, h, data, request_));
  }
}

KVM_VFIO_INLINE errc pci_irqs::validate(const header& h, std::uint32_t& each) const noexcept {
  if (h.index >= VFIO_PCI_NUM_IRQS || h.count >= ~std::uint32_t{0} - h.start ||
      (h.flags & ~std::uint32_t{VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK}))
    return errc::inval;
  const std::uint32_t n = count(h.index);
  if (h.start >= n || h.start + h.count > n) return errc::inval;
  switch (h.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_DATA_NONE: each = 0; break;
    case VFIO_IRQ_SET_DATA_BOOL: each = 1; break;
    case VFIO_IRQ_SET_DATA_EVENTFD: each = sizeof(std::int32_t); break;
    default: return errc::inval;
  }
  const auto room = h.argsz - static_cast<std::uint32_t>(offsetof(vfio_irq_set, data));
  if (each != 0 && room / each < h.count) return errc::inval;
  return errc::ok;
}

KVM_VFIO_INLINE std::int32_t pci_irqs::fd_at(const bytes& data, std::size_t i) noexcept {
  std::int32_t fd = -1;
  __builtin_memcpy(&fd, &data[i * sizeof fd], sizeof fd);
  return fd;
}

KVM_VFIO_INLINE errc pci_irqs::connect(process& task, std::int32_t fd, file_ref& to) noexcept {
  to.reset();
  if (fd < 0) return errc::ok;
  const result<file*> f = task.fget(fd);
  if (!f) return f.error();
  file_ref held(*f);
  if (!held->as_event()) return errc::inval;
  to = std::move(held);
  return errc::ok;
}

KVM_VFIO_INLINE answer pci_irqs::trigger(process& task, const header& h, const bytes& data) {
  const bool intx = h.index == VFIO_PCI_INTX_IRQ_INDEX;
  if (armed_ == h.index && h.count == 0 && (h.flags & VFIO_IRQ_SET_DATA_NONE)) {
    disarm();
    return 0;
  }
  if (armed_ != h.index && armed_ != VFIO_PCI_NUM_IRQS) return errc::inval;
  if (intx && (h.start != 0 || h.count != 1)) return errc::inval;
  if (h.flags & VFIO_IRQ_SET_DATA_EVENTFD)
    return armed_ == h.index ? to_answer(connect_all(task, h, data)) : arm(task, h, data);
  if (armed_ != h.index) return errc::inval;
  if (!dynamic_msix_ && h.start + h.count > vectors_.size()) return errc::inval;
  for (std::uint32_t i = 0; i < h.count; ++i)
    if ((h.flags & VFIO_IRQ_SET_DATA_NONE) || data[i]) loop_back(h.index, h.start + i);
  return 0;
}

KVM_VFIO_INLINE answer pci_irqs::arm(process& task, const header& h, const bytes& data) {
  const std::uint32_t wanted = h.start + h.count;
  // The order of these two checks is not the same for MSI and MSI-X.
  if (!awake_ && h.index == VFIO_PCI_MSI_IRQ_INDEX) return errc::inval;
  if (wanted == 0) return errc::range;
  if (!awake_ && h.index == VFIO_PCI_MSIX_IRQ_INDEX) return errc::inval;
  if (h.index == VFIO_PCI_MSI_IRQ_INDEX && wanted > most_msi_)
    return static_cast<std::int64_t>(most_msi_);
  vectors_.resize(wanted);
  armed_ = h.index;
  write_msi(h.index);
  intx_masked_ = intx_disabled_;
  const errc e = connect_all(task, h, data);
  if (e != errc::ok) disarm();
  return to_answer(e);
}

KVM_VFIO_INLINE errc pci_irqs::connect_all(process& task, const header& h, const bytes& data) {
  const std::size_t end = std::size_t{h.start} + h.count;
  if (!dynamic_msix_ && (h.start >= vectors_.size() || end > vectors_.size())) return errc::inval;
  if (grows(h.index) && vectors_.size() < end) vectors_.resize(end);
  errc e = errc::ok;
  for (std::uint32_t i = 0; i < h.count && e == errc::ok; ++i) {
    const std::size_t vector = std::size_t{h.start} + i;
    const std::int32_t fd = fd_at(data, i);
    if (vector < vectors_.size()) {
      file_ref made;
      e = connect(task, fd, made);
      if (made || vectors_[vector]) write_msi(h.index);
      // VFIO frees a vector of MSI before it looks at the descriptor, but not INTx.
      if (e == errc::ok || h.index != VFIO_PCI_INTX_IRQ_INDEX) vectors_[vector] = std::move(made);
    } else if (fd >= 0) {
      e = errc::inval;  // the function has no such vector now
    }
    if (e == errc::ok) continue;
    for (std::size_t j = h.start; j < vector && j < vectors_.size(); ++j) vectors_[j].reset();
  }
  return e;
}

KVM_VFIO_INLINE errc pci_irqs::mask(process& task, const header& h, const bytes& data,
                                    bool on) noexcept {
  if (armed_ != VFIO_PCI_INTX_IRQ_INDEX || h.start != 0 || h.count != 1) return errc::inval;
  if (h.flags & VFIO_IRQ_SET_DATA_EVENTFD)
    return on ? errc::notty : connect_unmask(task, fd_at(data, 0));
  if (!(h.flags & VFIO_IRQ_SET_DATA_NONE) && !data[0]) return errc::ok;
  if (on) intx_masked_ = true;
  else unmask();
  return errc::ok;
}

KVM_VFIO_INLINE errc pci_irqs::connect_unmask(process& task, std::int32_t fd) noexcept {
  if (fd < 0) {
    drop_unmask();
    return errc::ok;
  }
  file_ref held;
  if (const errc e = connect(task, fd, held); e != errc::ok) return e;
  if (unmask_) return errc::busy;
  unmask_ = held->as_event();
  unmask_->watch();
  // A count that is there already unmasks, too, but stays.
  if (unmask_->count() != 0) unmask();
  unmasks_seen_ = unmask_->consumed();
  unmask_->add_consumer();
  return errc::ok;
}

KVM_VFIO_INLINE void pci_irqs::look_at_unmask() noexcept {
  if (!unmask_) return;
  const std::uint32_t seen = unmask_->consumed();
  if (seen != unmasks_seen_) unmask();
  unmasks_seen_ = seen;
  if (unmask_->references() == 0) drop_unmask();
}

KVM_VFIO_INLINE void pci_irqs::drop_unmask() noexcept {
  if (!unmask_) return;
  unmask_->remove_consumer();
  unmask_->unwatch();
  unmask_ = nullptr;
}

KVM_VFIO_INLINE errc pci_irqs::single(process& task, const header& h, const bytes& data,
                                      file_ref& event) const noexcept {
  if (h.start != 0 || h.count > 1) return errc::inval;
  if (h.flags & VFIO_IRQ_SET_DATA_NONE) {
    if (!event) return errc::inval;
    if (h.count != 0) event->as_event()->signal();
    else event.reset();
    return errc::ok;
  }
  if (h.count == 0) return errc::inval;
  if (h.flags & VFIO_IRQ_SET_DATA_BOOL) {
    if (data[0] && event) event->as_event()->signal();
    return errc::ok;
  }
  file_ref next;
  const std::int32_t fd = fd_at(data, 0);
  if (fd < -1) return accepts_low_events_ ? errc::ok : errc::inval;
  if (const errc e = connect(task, fd, next); e != errc::ok) return e;
  event = std::move(next);
  return errc::ok;
}

KVM_VFIO_INLINE void pci_irqs::disarm() noexcept {
  write_msi(armed_);
  armed_ = VFIO_PCI_NUM_IRQS;
  vectors_.clear();
  drop_unmask();
}

KVM_VFIO_INLINE const file_ref* pci_irqs::event(std::uint32_t index,
                                                std::uint32_t vector) const noexcept {
  if (index == VFIO_PCI_ERR_IRQ_INDEX) return &error_;
  if (index == VFIO_PCI_REQ_IRQ_INDEX) return &request_;
  return index == armed_ && vector < vectors_.size() ? &vectors_[vector] : nullptr;
}

}  // namespace kvm_vfio::sim
