// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A device with a file of its own (/dev/vfio/devices/vfioN, from Linux 6.6 on), step by step. Each
/// step is a class of its own, and only the right step has the function that leads to the next one:
///
/// `device_file` –attach→ `attached_device_file` –bind→ `bound_device` –attach_to_space→ `device`
///
/// A step that succeeds moves the device into the next object. A step that fails changes nothing:
/// the object on which it was called still has the device. The destructor of each object undoes all
/// steps up to it, the last one first.
/// \see [The orders of doing and of undoing](docs/orders.md)

#include <kvm_vfio/client/address_space.hpp>
#include <kvm_vfio/client/ask_coherency.hpp>
#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/device_state.hpp>
#include <kvm_vfio/client/step.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <new>

namespace kvm_vfio::client {

/// A device that is bound to an iommufd and open, but has no address space: it cannot do DMA.
/// Move-only.
template <system System = native::host>
class bound_device : public step<detail::device_state<System>> {
 public:
  bound_device() = default;

  /// Takes over a device file that is attached to a VM and bound to an iommufd already. One call
  /// asks the device whether it is open (VFIO_DEVICE_GET_INFO).
  /// \param file the device file. After an error `file` still owns the descriptor.
  /// \param id   the number of the device in the iommufd, which `bind` had given it
  /// \param to   the address space whose iommufd the device is bound to
  /// \param vm   the files of the VM that tracks the device file
  /// \par Errors
  /// - `errc::badf`: `to` or `vm` is empty, or `file` has no open descriptor
  /// - `errc::inval`: the device is not bound
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_DEVICE_GET_INFO
  [[nodiscard]] static result<bound_device> adopt(native::vfio::basic_device<System>&& file,
                                                  std::uint32_t id, const address_space<System>& to,
                                                  const vm_files<System>& vm) noexcept {
    if (!to || !vm) return errc::badf;
    auto made = detail::adopt_device<System>(file, to.state_, false, vm.state_);
    if (!made) return made.error();
    return bound_device(static_cast<state_ref&&>(*made), id);
  }
  /// Takes over a device file that is bound to an iommufd already, and that no VM tracks.
  /// \par Errors
  /// - each error of the other `adopt`
  [[nodiscard]] static result<bound_device> adopt(native::vfio::basic_device<System>&& file,
                                                  std::uint32_t id,
                                                  const address_space<System>& to) noexcept {
    if (!to) return errc::badf;
    auto made = detail::adopt_device<System>(file, to.state_, false);
    if (!made) return made.error();
    return bound_device(static_cast<state_ref&&>(*made), id);
  }
  /// Attaches the device to the address space whose iommufd it is bound to
  /// (VFIO_DEVICE_ATTACH_IOMMUFD_PT).
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - each error of `native::vfio::basic_device_ref::attach_iommufd_pt`
  [[nodiscard]] result<device<System>> attach_to_space() && noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->attach_to_space(); e != errc::ok) return e;
    return device<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(bound).attach_to_space()`.
  [[nodiscard]] this_step_needs_std_move attach_to_space() const& = delete;
  /// Tells whether FILE_ADD of this device file makes the VM's DMA noncoherent: KVM then honours
  /// the guest's cache attributes. Asks the iommufd about the device's IOMMU (IOMMU_GET_HW_INFO),
  /// which needs a bound device. So after `device_file::attach` this function tells what KVM has
  /// learnt already. `device_file::forecast` predicts it before, from sysfs. A program without
  /// sysfs can bind the device `without_kvm` before there is a VM, ask, and destroy this object.
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - each error of `native::vfio::basic_iommufd_ref::hardware` except `errc::noent`
  [[nodiscard]] result<coherency_forecast> forecast() const noexcept {
    if (!state_) return errc::badf;
    return state_->forecast(id_);
  }
  /// Returns the number of the device in the iommufd, which stays after the step.
  [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

 private:
  using typename step<detail::device_state<System>>::state_ref;
  using step<detail::device_state<System>>::state_;
  template <system>
  friend class attached_device_file;
  bound_device(state_ref state, std::uint32_t id) noexcept
      : step<detail::device_state<System>>(static_cast<state_ref&&>(state)), id_(id) {}

  std::uint32_t id_ = 0;
};

/// A device file that is attached to the VM, or that does not need a VM. Move-only.
template <system System = native::host>
class attached_device_file : public step<detail::device_state<System>> {
 public:
  attached_device_file() = default;

  /// Takes over a device file that is attached to a VM already, and not bound. One call asks the
  /// device whether it is open (VFIO_DEVICE_GET_INFO).
  /// \param file the device file. After an error `file` still owns the descriptor.
  /// \param vm   the files of the VM that tracks the device file
  /// \par Errors
  /// - `errc::badf`: `vm` is empty, or `file` has no open descriptor
  /// - `errc::badfd`: `file` is a container
  /// - `errc::busy`: the device is bound, or comes from a group
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_DEVICE_GET_INFO
  [[nodiscard]] static result<attached_device_file> adopt(native::vfio::basic_device<System>&& file,
                                                          const vm_files<System>& vm) noexcept {
    if (!vm) return errc::badf;
    const errc open = file.info().error();
    if (open == errc::ok) return errc::busy;
    if (open != errc::inval) return open;  // EINVAL: a device file that is not bound
    // A container without a driver answers EINVAL, too, but it has a version.
    if (file.system_calls().ioctl(file.fd(), VFIO_GET_API_VERSION, 0)) return errc::badfd;
    attached_device_file made(state_ref(new (std::nothrow) detail::device_state<System>(
        static_cast<native::vfio::basic_device<System>&&>(file))));
    if (!made.state_) return errc::nomem;
    made.state_->adopt({}, false, vm.state_, 0);
    return made;
  }
  /// Binds the device to the iommufd of an address space (VFIO_DEVICE_BIND_IOMMUFD), which opens
  /// the device. The iommufd stays open for as long as the device is bound.
  /// \par Errors
  /// - `errc::badf`: this object or `space` is empty
  /// - each error of `native::vfio::basic_device_ref::bind_iommufd`
  [[nodiscard]] result<bound_device<System>> bind(const address_space<System>& space) && noexcept {
    return bound(space);
  }
  /// Binds a virtual function or a physical function with the token that they share. Otherwise as
  /// the function without a token.
  /// \par Errors
  /// - `errc::badf`: this object or `space` is empty
  /// - each error of `native::vfio::basic_device_ref::bind_iommufd` with a token
  [[nodiscard]] result<bound_device<System>> bind(const address_space<System>& space,
                                                  const native::vfio::vf_token& token) && noexcept {
    return bound(space, token);
  }
  ///@{
  /// Deleted: write `std::move(attached).bind(space)`.
  [[nodiscard]] this_step_needs_std_move bind(const address_space<System>& space) const& = delete;
  [[nodiscard]] this_step_needs_std_move bind(const address_space<System>& space,
                                              const native::vfio::vf_token& token) const& = delete;
  ///@}

 private:
  using typename step<detail::device_state<System>>::state_ref;
  using step<detail::device_state<System>>::state_;
  template <system>
  friend class device_file;
  explicit attached_device_file(state_ref state) noexcept
      : step<detail::device_state<System>>(static_cast<state_ref&&>(state)) {}
  template <class... Token>
  [[nodiscard]] result<bound_device<System>> bound(const address_space<System>& space,
                                                   const Token&... token) noexcept {
    if (!state_ || !space.state_) return errc::badf;
    const auto id = state_->bind(space.state_, token...);
    if (!id) return id.error();
    return bound_device<System>(static_cast<state_ref&&>(state_), *id);
  }
};

/// An open device file, the first step. Move-only.
template <system System = native::host>
class device_file : public step<detail::device_state<System>> {
 public:
  device_file() = default;

  /// Opens /dev/vfio/devices/vfioN.
  /// \param number the N in the path
  /// \par Errors
  /// - `errc::nomem`: no memory
  /// - each other error of `native::vfio::basic_device_ref::open`
  [[nodiscard]] static result<device_file> open(
      int number, const System& on = native::detail::only<System>()) noexcept {
    auto file = native::vfio::basic_device_ref<System>::open(number, on);
    if (!file) return file.error();
    return adopt(static_cast<native::vfio::basic_device<System>&&>(*file));
  }
  /// Takes over a device file that is not bound, for example one that a management program passed.
  /// Makes no call.
  /// \param file the device file. After an error `file` still owns the descriptor.
  /// \par Errors
  /// - `errc::nomem`: no memory
  [[nodiscard]] static result<device_file> adopt(
      native::vfio::basic_device<System>&& file) noexcept {
    device_file made;
    made.state_ = state_ref(new (std::nothrow) detail::device_state<System>(
        static_cast<native::vfio::basic_device<System>&&>(file)));
    if (!made.state_) return errc::nomem;
    return made;
  }
  /// Predicts whether FILE_ADD of a device file makes the VM's DMA noncoherent: KVM then honours
  /// the guest's cache attributes. Reads sysfs, and does not open the device file. The answer is
  /// known for a device behind Intel's IOMMU and for a mediated device. It is unknown for another
  /// IOMMU, if sysfs is not mounted, and if there is no such device file.
  /// \param number the N of /dev/vfio/devices/vfioN
  /// \param on     the system that has the device
  /// \par Errors
  /// - `errc::proto`: the register in sysfs is not a hexadecimal number
  /// - each error of open(2) except `errc::noent`, and of read(2)
  [[nodiscard]] static result<coherency_forecast> forecast(
      int number, const System& on = native::detail::only<System>()) noexcept {
    return detail::forecast_unopened(static_cast<unsigned>(number), on);
  }
  /// Attaches the device file to a VM (FILE_ADD).
  /// \param vm the files of the VM, which share its kvm-vfio device
  /// \par Errors
  /// - `errc::badf`: this object or `vm` is empty
  /// - each error of `kvm_vfio::file_add`
  [[nodiscard]] result<attached_device_file<System>> attach(
      const vm_files<System>& vm) && noexcept {
    if (!state_ || !vm.state_) return errc::badf;
    if (const errc e = state_->attach(vm.state_); e != errc::ok) return e;
    return attached_device_file<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(file).attach(vm)`.
  [[nodiscard]] this_step_needs_std_move attach(const vm_files<System>& vm) const& = delete;
  /// Goes on without KVM: for a program that uses a device itself, or a hypervisor without KVM.
  [[nodiscard]] attached_device_file<System> without_kvm() && noexcept {
    return attached_device_file<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(file).without_kvm()`.
  [[nodiscard]] this_step_needs_std_move without_kvm() const& = delete;

 private:
  using typename step<detail::device_state<System>>::state_ref;
  using step<detail::device_state<System>>::state_;
};

}  // namespace kvm_vfio::client
