// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A device that comes from a group, step by step. Each step is a class of its own, and only the
/// right step has the function that leads to the next one:
///
/// `group_file` –join→ `group_in_container` –set_iommu→ `group_with_iommu` –attach→
/// `attached_group` –open_device→ `device`
///
/// A step that succeeds moves the group into the next object. A step that fails changes nothing:
/// the object on which it was called still has the group. The destructor of each object undoes all
/// steps up to it, the last one first.
/// \see [The orders of doing and of undoing](docs/orders.md)

#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/dma_space.hpp>
#include <kvm_vfio/client/group_state.hpp>
#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/client/step.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <new>

namespace kvm_vfio::client {

namespace detail {

// Makes the state of a group whose steps were done already. `vm` may be empty. After an error
// `file` still owns the descriptor.
template <system System>
[[nodiscard]] result<shared<group_state<System>>> adopt_group(
    native::vfio::basic_group<System>& file, const shared<dma_space_state<System>>& in,
    bool with_iommu, int number, const shared<vm_files_state<System>>& vm = {}) noexcept {
  if (!in) return errc::badf;
  const auto joined = file.in_container();
  if (!joined) return joined.error();
  if (!*joined || (with_iommu && !in->still_has_iommu())) return errc::inval;
  shared<group_state<System>> made(new (std::nothrow) group_state<System>(
      static_cast<native::vfio::basic_group<System>&&>(file), number));
  if (!made) return errc::nomem;
  made->adopt(in, vm);
  return made;
}

}  // namespace detail

/// A group that is attached to the VM, or that does not need a VM. Its devices can be opened. Each
/// open device keeps the group attached, so this object may be destroyed before them. The group is
/// given back after the last of them: FILE_DEL, UNSET_CONTAINER, close. Move-only.
template <system System = native::host>
class attached_group : public step<detail::group_state<System>> {
 public:
  attached_group() = default;

  /// Takes over a group that is in a container and attached to a VM already, for example by this
  /// program before execve(2). One call asks whether the group is in a container. Nobody can ask
  /// whether the VM tracks the group. On POWER, call `set_spapr_tce` again after a `rebind`.
  /// \param file the group. After an error `file` still owns the descriptor.
  /// \param in   the container that the group is in, which has an IOMMU driver
  /// \param vm   the files of the VM that tracks the group
  /// \param number the N of /dev/vfio/N, for `number` and `find_group`; -1: not known
  /// \par Errors
  /// - `errc::badf`: `in` or `vm` is empty, or `file` has no open descriptor
  /// - `errc::inval`: the group is in no container, or the container has no IOMMU driver
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_GROUP_GET_STATUS
  [[nodiscard]] static result<attached_group> adopt(native::vfio::basic_group<System>&& file,
                                                    const container<System>& in,
                                                    const vm_files<System>& vm,
                                                    int number = -1) noexcept {
    if (!vm) return errc::badf;
    auto made = detail::adopt_group<System>(file, in.state_, true, number, vm.state_);
    if (!made) return made.error();
    return attached_group(static_cast<state_ref&&>(*made));
  }
  /// Opens a device of the group (VFIO_GROUP_GET_DEVICE_FD).
  /// \param name the device's name in sysfs, for example "0000:06:0d.0", and if the device needs a
  ///             token, " vf_token=UUID" behind it
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - `errc::nomem`: no memory
  /// - each other error of `native::vfio::basic_group_ref::get_device`
  [[nodiscard]] result<device<System>> open_device(const char* name) const noexcept {
    if (!state_) return errc::badf;
    auto file = state_->open_device(name);
    if (!file) return file.error();
    return device<System>::make(static_cast<native::vfio::basic_device<System>&&>(*file), state_);
  }
  /// Attaches the group to a TCE table of the VM, on POWER (GROUP_SET_SPAPR_TCE).
  /// \par Errors
  /// - `errc::noent`: the group is not attached to a VM
  /// - each other error of `kvm_vfio::set_spapr_tce`
  [[nodiscard]] errc set_spapr_tce(int tablefd) const noexcept {
    return state_ ? state_->set_spapr_tce(tablefd) : errc::badf;
  }
  /// Returns the N of /dev/vfio/N, or -1 if this object is empty or the number was not given to
  /// `adopt`.
  [[nodiscard]] int number() const noexcept { return state_ ? state_->number() : -1; }
  /// Returns one more object of this group, for example to open another of its devices later.
  [[nodiscard]] attached_group share() const noexcept { return attached_group(state_); }

 private:
  using typename step<detail::group_state<System>>::state_ref;
  using step<detail::group_state<System>>::state_;
  template <system>
  friend class group_with_iommu;
  template <system>
  friend class device;
  template <system S>
  friend attached_group<S> group_of(const device<S>& of) noexcept;
  explicit attached_group(state_ref state) noexcept
      : step<detail::group_state<System>>(static_cast<state_ref&&>(state)) {}
};

/// Returns the group that handed a device out, so that another device of the group can be opened.
/// Empty: the device has a file of its own.
template <system System>
[[nodiscard]] attached_group<System> group_of(const device<System>& of) noexcept {
  if (!of.state_) return {};
  return attached_group<System>(of.state_->group());
}

/// Finds the group with a number among the groups of open devices. A VMM calls this function before
/// it opens a group, because a group can be open once only: if the group is found, the VMM opens
/// the further device of the group from it. Takes linear time.
/// \param first     the first of the VMM's objects
/// \param last      the end of the objects
/// \param number    the N of /dev/vfio/N
/// \param device_of returns a reference to the open device of an object. Empty devices and those
///                  with files of their own may be among them.
/// \return one more object of the group; empty: no device is of this group
template <class Iterator, class Projection>
[[nodiscard]] auto find_group(Iterator first, Iterator last, int number,
                              Projection device_of) noexcept
    -> decltype(group_of(device_of(*first))) {
  for (; number >= 0 && first != last; ++first)
    if (auto group = group_of(device_of(*first)); group.number() == number) return group;
  return {};
}
/// Finds the group with a number among the groups of an array of devices.
/// \param devices the open devices of the VMM; empty ones and those with files of their own may be
///                among them
/// \param count   the number of devices
/// \param number  the N of /dev/vfio/N
/// \return one more object of the group; empty: no device is of this group
template <system System>
[[nodiscard]] attached_group<System> find_group(const device<System>* devices, std::size_t count,
                                                int number) noexcept {
  for (std::size_t i = 0; number >= 0 && i < count; ++i)
    if (auto group = group_of(devices[i]); group.number() == number) return group;
  return {};
}

/// A group in a container that has an IOMMU driver. Move-only.
template <system System = native::host>
class group_with_iommu : public step<detail::group_state<System>> {
 public:
  group_with_iommu() = default;

  /// Takes over a group that is in a container with an IOMMU driver already, and that no VM tracks.
  /// One call asks whether the group is in a container.
  /// \param file the group. After an error `file` still owns the descriptor.
  /// \param in   the container that the group is in
  /// \param number the N of /dev/vfio/N, for `number` and `find_group`; -1: not known
  /// \par Errors
  /// - `errc::badf`: `in` is empty, or `file` has no open descriptor
  /// - `errc::inval`: the group is in no container, or the container has no IOMMU driver
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_GROUP_GET_STATUS
  [[nodiscard]] static result<group_with_iommu> adopt(native::vfio::basic_group<System>&& file,
                                                      const container<System>& in,
                                                      int number = -1) noexcept {
    auto made = detail::adopt_group<System>(file, in.state_, true, number);
    if (!made) return made.error();
    return group_with_iommu(static_cast<state_ref&&>(*made));
  }
  /// Attaches the group to a VM (FILE_ADD).
  /// \param vm the files of the VM, which share its kvm-vfio device
  /// \par Errors
  /// - `errc::badf`: this object or `vm` is empty
  /// - each error of `kvm_vfio::file_add`
  [[nodiscard]] result<attached_group<System>> attach(const vm_files<System>& vm) && noexcept {
    if (!state_ || !vm.state_) return errc::badf;
    if (const errc e = state_->attach(vm.state_); e != errc::ok) return e;
    return attached_group<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(group).attach(vm)`.
  [[nodiscard]] this_step_needs_std_move attach(const vm_files<System>& vm) const& = delete;
  /// Goes on without KVM: for a program that uses a device itself, or a hypervisor without KVM.
  [[nodiscard]] attached_group<System> without_kvm() && noexcept {
    return attached_group<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(group).without_kvm()`.
  [[nodiscard]] this_step_needs_std_move without_kvm() const& = delete;
  /// Predicts whether FILE_ADD of this group makes the VM's DMA noncoherent: KVM then honours the
  /// guest's cache attributes. Changes nothing, and makes one to three ioctls. The prediction holds
  /// as long as no group joins or leaves the container. A group that joined through a descriptor of
  /// the container, and not through `group_file::join`, is not counted.
  /// \par Errors
  /// - `errc::badf`: this object is empty, or the descriptor of the container was released
  /// - each other error of VFIO_CHECK_EXTENSION and VFIO_IOMMU_GET_INFO
  [[nodiscard]] result<coherency_forecast> forecast() const noexcept {
    if (!state_) return errc::badf;
    return state_->container()->forecast();
  }

 private:
  using typename step<detail::group_state<System>>::state_ref;
  using step<detail::group_state<System>>::state_;
  template <system>
  friend class group_in_container;
  explicit group_with_iommu(state_ref state) noexcept
      : step<detail::group_state<System>>(static_cast<state_ref&&>(state)) {}
};

/// A group in a container. Move-only.
template <system System = native::host>
class group_in_container : public step<detail::group_state<System>> {
 public:
  group_in_container() = default;

  /// Takes over a group that is in a container already. One call asks whether it is.
  /// \param file the group. After an error `file` still owns the descriptor.
  /// \param in   the container that the group is in
  /// \param number the N of /dev/vfio/N, for `number` and `find_group`; -1: not known
  /// \par Errors
  /// - `errc::badf`: `in` is empty, or `file` has no open descriptor
  /// - `errc::inval`: the group is in no container
  /// - `errc::nomem`: no memory
  /// - each other error of VFIO_GROUP_GET_STATUS
  [[nodiscard]] static result<group_in_container> adopt(native::vfio::basic_group<System>&& file,
                                                        const container<System>& in,
                                                        int number = -1) noexcept {
    auto made = detail::adopt_group<System>(file, in.state_, false, number);
    if (!made) return made.error();
    return group_in_container(static_cast<state_ref&&>(*made));
  }
  /// Chooses the container's IOMMU driver (VFIO_SET_IOMMU), if the container has none yet: the
  /// first group needs it, and the first one after the last one left. Then maps the memory that the
  /// container has and the driver does not know yet.
  /// \param type the IOMMU driver
  /// \par Errors
  /// - `errc::badf`: this object is empty
  /// - `errc::busy`: the container has an IOMMU driver of another type, or another driver or VMM
  ///   uses the group's DMA
  /// - each other error of `native::vfio::basic_container_ref::set_iommu` and `map`. After an error
  ///   of `map` the container keeps the driver and the earlier mappings. `container::refused` tells
  ///   which mapping failed.
  [[nodiscard]] result<group_with_iommu<System>> set_iommu(
      unsigned long type = VFIO_TYPE1v2_IOMMU) && noexcept {
    if (!state_) return errc::badf;
    if (const errc e = state_->container()->set_iommu(type); e != errc::ok) return e;
    return group_with_iommu<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(group).set_iommu(type)`.
  [[nodiscard]] this_step_needs_std_move set_iommu(unsigned long type = VFIO_TYPE1v2_IOMMU) const& =
      delete;

 private:
  using typename step<detail::group_state<System>>::state_ref;
  using step<detail::group_state<System>>::state_;
  template <system>
  friend class group_file;
  explicit group_in_container(state_ref state) noexcept
      : step<detail::group_state<System>>(static_cast<state_ref&&>(state)) {}
};

/// An open group file, the first step. Move-only.
template <system System = native::host>
class group_file : public step<detail::group_state<System>> {
 public:
  group_file() = default;

  /// Opens /dev/vfio/N.
  /// \param number the N in the path
  /// \par Errors
  /// - `errc::nomem`: no memory
  /// - each other error of `native::vfio::basic_group_ref::open`
  [[nodiscard]] static result<group_file> open(
      int number, const System& on = native::detail::only<System>()) noexcept {
    auto file = native::vfio::basic_group_ref<System>::open(number, on);
    if (!file) return file.error();
    return adopt(static_cast<native::vfio::basic_group<System>&&>(*file), number);
  }
  /// Takes over the open file of a group that is in no container, for example one that a management
  /// program passed. Makes no call.
  /// \param file the group. After an error `file` still owns the descriptor.
  /// \param number the N of /dev/vfio/N, for `number` and `find_group`; -1: not known
  /// \par Errors
  /// - `errc::nomem`: no memory
  [[nodiscard]] static result<group_file> adopt(native::vfio::basic_group<System>&& file,
                                                int number = -1) noexcept {
    group_file made;
    made.state_ = state_ref(new (std::nothrow) detail::group_state<System>(
        static_cast<native::vfio::basic_group<System>&&>(file), number));
    if (!made.state_) return errc::nomem;
    return made;
  }
  /// Puts the group into a container (VFIO_GROUP_SET_CONTAINER).
  /// \param to the container, which other groups may share. It stays open for as long as the group
  ///           is in it.
  /// \par Errors
  /// - `errc::badf`: this object or `to` is empty
  /// - `errc::perm`: the group is not viable, or the host cannot isolate interrupts
  /// - each other error of `native::vfio::basic_group_ref::set_container`
  [[nodiscard]] result<group_in_container<System>> join(const container<System>& to) && noexcept {
    if (!state_ || !to.state_) return errc::badf;
    if (const errc e = state_->join(to.state_); e != errc::ok) return e;
    return group_in_container<System>(static_cast<state_ref&&>(state_));
  }
  /// Deleted: write `std::move(file).join(to)`.
  [[nodiscard]] this_step_needs_std_move join(const container<System>& to) const& = delete;

 private:
  using typename step<detail::group_state<System>>::state_ref;
  using step<detail::group_state<System>>::state_;
};

}  // namespace kvm_vfio::client
