// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Connects the interrupts of a VFIO device with eventfds. `vfio::device_ref` has these functions.
///
/// An interrupt index, for example VFIO_PCI_MSIX_IRQ_INDEX, has vectors that count from 0. A vector
/// is armed if VFIO signals an eventfd for each of the vector's interrupts.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/device_regions.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native::vfio {

template <system System>
class armed_irqs;

namespace detail {
// The kernel's `vfio_irq_set` with space for eventfds. MSI-X has at most 2048 vectors.
struct irq_set {
  static constexpr std::uint32_t most = 2048;
  std::uint32_t argsz;
  std::uint32_t flags;
  std::uint32_t index;
  std::uint32_t start;
  std::uint32_t count;
  std::int32_t eventfds[most];
};
static_assert(offsetof(irq_set, count) == offsetof(vfio_irq_set, count) &&
              offsetof(irq_set, eventfds) == sizeof(vfio_irq_set));
}  // namespace detail

/// The part of `basic_device_ref` that sets interrupts (VFIO_DEVICE_SET_IRQS). Each function makes
/// one ioctl and allocates nothing. Each function may fail with these errors:
/// - `errc::inval`: the device has no such index or vectors, or the index cannot do this
/// - `errc::notty`: the device's driver cannot do this with the index
/// - each other error of ioctl(2)
///
/// \tparam System the system whose descriptor it is
template <system System>
class basic_device_irqs_ref : public basic_device_regions_ref<System> {
 public:
  using basic_device_regions_ref<System>::basic_device_regions_ref;

  /// Arms the vectors from `start` on and returns an object that disarms all vectors of the index
  /// in its destructor. The device's descriptor must stay open for as long as that object exists.
  /// \par Errors
  /// - each error of `set_eventfds`; no vector of `start` and the following ones is armed then
  [[nodiscard]] result<armed_irqs<System>> arm(std::uint32_t index, std::uint32_t start,
                                               const int* eventfds,
                                               std::size_t count) const noexcept {
    if (const errc e = set_eventfds(index, start, eventfds, count); e != errc::ok) return e;
    return armed_irqs<System>(*this, index);
  }
  /// Arms the vectors from `start` on, each with its own eventfd. A vector whose eventfd is -1 is
  /// disarmed. VFIO keeps each eventfd alive for as long as its vector is armed.
  /// \param eventfds the descriptors, one for each vector
  /// \param count    the number of vectors, from 1 to 2048
  /// \par Errors
  /// - `errc::inval`: `count` is 0 or more than 2048; the device has no such vectors; another index
  ///   of a PCI device is armed; a descriptor is not an eventfd
  /// - `errc::badf`: a descriptor is not open
  /// - `errc::nospc`: the host has not so many free interrupt vectors, and none is armed. Also if
  ///   the kernel answers with their number and not with an error: on x86 a function has one vector
  ///   of MSI if the IOMMU remaps no interrupts
  /// - `errc::nomem`: the host has no memory
  /// - `errc::busy`: another driver uses the interrupt, and the device cannot share it
  [[nodiscard]] errc set_eventfds(std::uint32_t index, std::uint32_t start, const int* eventfds,
                                  std::size_t count) const noexcept {
    return set_each(index, start, count, VFIO_IRQ_SET_ACTION_TRIGGER,
                    [eventfds](std::size_t i) { return eventfds[i]; });
  }
  /// Disarms all vectors of an index.
  /// \par Errors
  /// - `errc::inval`: no vector of the index is armed, or the device does not have the index
  [[nodiscard]] errc disarm(std::uint32_t index) const noexcept {
    return set(index, 0, 0, VFIO_IRQ_SET_ACTION_TRIGGER);
  }
  /// Disarms `count` vectors from `start` on. The index stays enabled.
  /// \par Errors
  /// - `errc::inval`: `count` is 0 or more than 2048, or the device has no such vectors
  [[nodiscard]] errc disarm(std::uint32_t index, std::uint32_t start,
                            std::size_t count) const noexcept {
    return set_each(index, start, count, VFIO_IRQ_SET_ACTION_TRIGGER,
                    [](std::size_t) { return -1; });
  }
  /// Masks `count` vectors from `start` on. They signal no eventfd until they are unmasked.
  /// \par Errors
  /// - `errc::inval`: `count` is 0, the device has no such vectors, or the index is not armed
  /// - `errc::notty`: vectors of this index cannot be masked
  [[nodiscard]] errc mask(std::uint32_t index, std::uint32_t start = 0,
                          std::uint32_t count = 1) const noexcept {
    return set_some(index, start, count, VFIO_IRQ_SET_ACTION_MASK);
  }
  /// Unmasks `count` vectors from `start` on.
  /// \par Errors
  /// - `errc::inval`: `count` is 0, the device has no such vectors, or the index is not armed
  /// - `errc::notty`: vectors of this index cannot be masked
  [[nodiscard]] errc unmask(std::uint32_t index, std::uint32_t start = 0,
                            std::uint32_t count = 1) const noexcept {
    return set_some(index, start, count, VFIO_IRQ_SET_ACTION_UNMASK);
  }
  /// Lets VFIO unmask a vector each time that an eventfd is signalled. KVM signals such an eventfd
  /// when the VM has handled the interrupt (`basic_vm_ref::assign_irqfd`).
  /// \param eventfd the descriptor of the eventfd, or -1 to end this
  /// \par Errors
  /// - `errc::inval`: the device has no such vector, the index is not armed, or the descriptor is
  ///   not an eventfd
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::busy`: the vector has such an eventfd already
  /// - `errc::notty`: vectors of this index cannot be masked
  [[nodiscard]] errc unmask_on(int eventfd, std::uint32_t index,
                               std::uint32_t vector = 0) const noexcept {
    return set_each(index, vector, 1, VFIO_IRQ_SET_ACTION_UNMASK,
                    [eventfd](std::size_t) { return eventfd; });
  }
  /// Signals the eventfds of `count` vectors from `start` on, as interrupts of the device would.
  /// \par Errors
  /// - `errc::inval`: `count` is 0, the device has no such vectors, or the index is not armed
  [[nodiscard]] errc trigger(std::uint32_t index, std::uint32_t start = 0,
                             std::uint32_t count = 1) const noexcept {
    return set_some(index, start, count, VFIO_IRQ_SET_ACTION_TRIGGER);
  }

 private:
  // Acts on `count` vectors without data.
  [[nodiscard]] errc set(std::uint32_t index, std::uint32_t start, std::uint32_t count,
                         std::uint32_t action) const noexcept {
    const std::uint32_t set[] = {sizeof(vfio_irq_set), VFIO_IRQ_SET_DATA_NONE | action, index,
                                 start, count};
    static_assert(sizeof set == sizeof(vfio_irq_set));
    return this->request(VFIO_DEVICE_SET_IRQS, set).error();
  }
  // As `set`, but refuses a count of 0, which would disarm the index.
  [[nodiscard]] errc set_some(std::uint32_t index, std::uint32_t start, std::uint32_t count,
                              std::uint32_t action) const noexcept {
    return count == 0 ? errc::inval : set(index, start, count, action);
  }
  // Acts on `count` vectors with an eventfd for each, which `eventfd_of` names.
  template <class EventfdOf>
  [[nodiscard]] errc set_each(std::uint32_t index, std::uint32_t start, std::size_t count,
                              std::uint32_t action, EventfdOf eventfd_of) const noexcept {
    if (count == 0 || count > detail::irq_set::most) return errc::inval;
    detail::irq_set set;  // only the eventfds that are used are initialised
    set.argsz = static_cast<std::uint32_t>(sizeof(vfio_irq_set) + count * sizeof(std::int32_t));
    set.flags = VFIO_IRQ_SET_DATA_EVENTFD | action;
    set.index = index;
    set.start = start;
    set.count = static_cast<std::uint32_t>(count);
    for (std::size_t i = 0; i < count; ++i) set.eventfds[i] = eventfd_of(i);
    const result<int> answer = this->request(VFIO_DEVICE_SET_IRQS, &set);
    // If the host has fewer vectors, VFIO arms none, and answers with the number that it has.
    return answer.value_or(0) > 0 ? errc::nospc : answer.error();
  }
};

}  // namespace kvm_vfio::native::vfio
