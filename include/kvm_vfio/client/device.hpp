// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An open device that a VM uses, whether it came from a group or from a file of its own.

#include <kvm_vfio/client/device_state.hpp>
#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/client/group_state.hpp>
#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/client/step.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/device_info.hpp>
#include <kvm_vfio/native/device_regions.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/mapped_region.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace kvm_vfio::client {

template <system>
class attached_group;
template <system>
class address_space;

namespace detail {

// Makes the state of a device whose steps were done already: a device of an address space. `vm` may
// be empty. After an error `file` still owns the descriptor.
template <system System>
[[nodiscard]] result<shared<device_state<System>>> adopt_device(
    native::vfio::basic_device<System>& file, const shared<dma_space_state<System>>& space,
    bool in_space, const shared<vm_files_state<System>>& vm = {},
    const shared<group_state<System>>& group = {}) noexcept {
  const auto info = file.info();  // EINVAL: the device is not open, because it is not bound
  if (!info) return info.error();
  shared<device_state<System>> made(new (std::nothrow) device_state<System>(
      static_cast<native::vfio::basic_device<System>&&>(file), group));
  if (!made) return errc::nomem;
  made->adopt(space, in_space, vm, info->irqs);
  return made;
}

}  // namespace detail

/// A part of a region that is mapped into this process. Keeps its device open. The destructor
/// removes the mapping. Move-only.
template <system System = native::host>
class mapped_region {
 public:
  mapped_region() = default;
  /// Takes over the mapping of `other`, which then has none.
  mapped_region(mapped_region&& other) noexcept = default;
  /// Removes the own mapping and takes over the one of `other`, which then has none.
  mapped_region& operator=(mapped_region&& other) noexcept {
    mapped_ = static_cast<native::vfio::mapped_region<System>&&>(other.mapped_);
    device_ = static_cast<device_ref&&>(other.device_);  // after its mapping is gone
    return *this;
  }

  /// Returns the first byte, or null if this object has no mapping.
  [[nodiscard]] void* data() const noexcept { return mapped_.data(); }
  /// Returns the size in bytes.
  [[nodiscard]] std::size_t size() const noexcept { return mapped_.size(); }
  /// Returns true if this object has a mapping.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(mapped_); }

 private:
  using device_ref = detail::shared<detail::device_state<System>>;
  template <system>
  friend class device;
  mapped_region(device_ref of, native::vfio::mapped_region<System> mapped) noexcept
      : device_(static_cast<device_ref&&>(of)),
        mapped_(static_cast<native::vfio::mapped_region<System>&&>(mapped)) {}

  device_ref device_;
  native::vfio::mapped_region<System> mapped_;
};

/// An open device: its DMA works, and KVM knows it if the VM uses KVM. The destructor undoes all
/// steps: it disarms the interrupts that were armed through this object, leaves the address space,
/// calls FILE_DEL, closes the device, and gives the group back if this was its last user.
/// Move-only.
///
/// One thread may use a device at a time, except for reading and writing its regions.
template <system System = native::host>
class device : public step<detail::device_state<System>> {
 public:
  device() = default;

  /// Takes over a device that a group handed out already, for example to this program before
  /// execve(2). One call asks the device whether it is open (VFIO_DEVICE_GET_INFO). Nobody can ask
  /// which interrupts are armed: `close` and the destructor disarm all that the device has.
  /// \param file the device. After an error `file` still owns the descriptor.
  /// \param of   the group that handed the device out
  /// \par Errors
  /// - `errc::badf`: `of` is empty, or `file` has no open descriptor
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_DEVICE_GET_INFO
  [[nodiscard]] static result<device> adopt(native::vfio::basic_device<System>&& file,
                                            const attached_group<System>& of) noexcept {
    if (!of) return errc::badf;
    return made_of(detail::adopt_device<System>(file, {}, false, {}, of.state_));
  }
  /// Takes over a device with a file of its own that is attached to a VM and to an address space
  /// already. One call asks the device whether it is open (VFIO_DEVICE_GET_INFO). Nobody can ask
  /// which interrupts are armed: `close` and the destructor disarm all that the device has.
  /// \param file the device file. After an error `file` still owns the descriptor.
  /// \param in   the address space that the device is attached to
  /// \param vm   the files of the VM that tracks the device file
  /// \par Errors
  /// - `errc::badf`: `in` or `vm` is empty, or `file` has no open descriptor
  /// - `errc::inval`: the device is not bound
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_DEVICE_GET_INFO
  [[nodiscard]] static result<device> adopt(native::vfio::basic_device<System>&& file,
                                            const address_space<System>& in,
                                            const vm_files<System>& vm) noexcept {
    if (!in || !vm) return errc::badf;
    return made_of(detail::adopt_device<System>(file, in.state_, true, vm.state_));
  }
  /// Takes over a device with a file of its own that is attached to an address space already, and
  /// that no VM tracks.
  /// \par Errors
  /// - each error of the `adopt` with a VM
  [[nodiscard]] static result<device> adopt(native::vfio::basic_device<System>&& file,
                                            const address_space<System>& in) noexcept {
    if (!in) return errc::badf;
    return made_of(detail::adopt_device<System>(file, in.state_, true));
  }

  /// Arms interrupts: the device then signals an eventfd for each of them (VFIO_DEVICE_SET_IRQS).
  /// They are disarmed by `disarm`, by `close`, or in the destructor.
  /// \param index    the kind of interrupt (VFIO_PCI_*_IRQ_INDEX)
  /// \param start    the first vector
  /// \param eventfds a descriptor for each vector; -1 for a vector that stays disarmed
  /// \param count    the number of vectors
  /// \par Errors
  /// - `errc::badf`: this object is empty, or one of the descriptors is not open
  /// - each other error of `native::vfio::basic_device_irqs_ref::set_eventfds`
  [[nodiscard]] errc arm(std::uint32_t index, std::uint32_t start, const int* eventfds,
                         std::size_t count) const noexcept {
    if (!state_) return errc::badf;
    const errc e = state_->file().set_eventfds(index, start, eventfds, count);
    if (e == errc::ok) state_->armed(index, true);
    return e;
  }
  /// Disarms every interrupt of an index.
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - each other error of `native::vfio::basic_device_irqs_ref::disarm`
  [[nodiscard]] errc disarm(std::uint32_t index) const noexcept {
    if (!state_) return errc::badf;
    const errc e = state_->file().disarm(index);
    if (e == errc::ok) state_->armed(index, false);
    return e;
  }
  /// Maps a part of a region into this process. The device stays open until the mapping is gone,
  /// because Linux keeps the group in use until then.
  /// \param of      the region, as `view().region(index)` returns it
  /// \param offset  the first byte in the region, a multiple of the page size
  /// \param size    the number of bytes, which may end with a part of a page only in a region that
  ///                is smaller than a page
  /// \param allowed how the memory may be accessed
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - each other error of `native::vfio::basic_device_regions_ref::map`
  [[nodiscard]] result<mapped_region<System>> map(
      const native::vfio::region_info& of, std::uint64_t offset, std::size_t size,
      native::vfio::protection allowed = native::vfio::protection::read_write) const noexcept {
    if (!state_) return errc::badf;
    auto mapped = state_->file().map(of, offset, size, allowed);
    if (!mapped) return mapped.error();
    return mapped_region<System>(state_,
                                 static_cast<native::vfio::mapped_region<System>&&>(*mapped));
  }
  /// Gives the descriptor to the caller, who undoes the steps. Interrupts stay armed. The group of
  /// the device stays attached: an object from `group_of`, or another device of the group, must
  /// exist, because a group cannot be given back while a device of it is open.
  ///
  /// Returns an empty view if a mapped region still exists, or if this device is the last user of
  /// its group. Nothing was changed then.
  [[nodiscard]] native::vfio::basic_device_ref<System> release() noexcept {
    if (state_ && state_->group() && state_->group().sole()) return {};
    return step<state>::release();
  }

 private:
  using state = detail::device_state<System>;
  using typename step<detail::device_state<System>>::state_ref;
  using step<detail::device_state<System>>::state_;
  using group_ref = detail::shared<detail::group_state<System>>;
  template <system>
  friend class attached_group;
  template <system>
  friend class bound_device;
  template <system S>
  friend attached_group<S> group_of(const device<S>& of) noexcept;

  explicit device(state_ref made) noexcept
      : step<detail::device_state<System>>(static_cast<state_ref&&>(made)) {}
  [[nodiscard]] static result<device> made_of(result<state_ref> adopted) noexcept {
    if (!adopted) return adopted.error();
    return device(static_cast<state_ref&&>(*adopted));
  }
  // Makes a device that a group handed out.
  [[nodiscard]] static result<device> make(native::vfio::basic_device<System>&& file,
                                           const group_ref& group) noexcept {
    device made(
        state_ref(state::make(static_cast<native::vfio::basic_device<System>&&>(file), group)));
    if (!made.state_) return errc::nomem;
    return made;
  }
};

}  // namespace kvm_vfio::client
