// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The model of a VM. The VM makes and owns its kvm-vfio device. A VM has at most one such device.
/// The VM handles the ioctls on its own descriptor and on the device's descriptor. So a program can
/// call the model with ioctl numbers and structs, as a VMM calls the kernel. The VM also counts its
/// users, for example its open descriptors.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/ref_count.hpp>
#include <kvm_vfio/device_type.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
// The part of a VM that its devices call. This part is a base class for one reason: a VM may store
// its devices inside itself. Then the class of the devices must be complete before the class `vm`.
template <class Caller>
class device_owner : public open_file<Caller> {
 public:
  [[nodiscard]] virtual constexpr bool answers(Caller& from) const noexcept = 0;
  // Called at the last close of a device's descriptor.
  virtual constexpr void closed(open_file<Caller>& device) noexcept = 0;

 protected:
  constexpr ~device_owner() = default;
};
}  // namespace detail

/// The model of a VM (struct kvm, as far as devices need it).
///
/// The program that makes a `vm` keeps it alive until every descriptor of the VM and of its devices
/// is closed. When `users()` reaches 0, the kernel would destroy the VM; the model destroys
/// nothing. Several threads may call the functions at the same time if `Lock` is a real lock.
///
/// \tparam Caller  the tasks that hold descriptors of the VM
/// \tparam Handle  the handle by which VFIO knows this VM (`Symbols::vm`)
/// \tparam Lock    the VM's lock
/// \tparam Storage where the VM's devices live. KVM_CREATE_DEVICE allocates a device before it can
///   return busy. So a storage of fixed capacity needs one slot more than the VM has devices.
template <vm_caller Caller, handle Handle, lockable Lock = null_lock,
          storage Storage = heap_storage>
class vm final : public detail::device_owner<Caller> {
 public:
  /// The class of the tasks that hold descriptors of the VM.
  using caller_type = Caller;
  /// The handle by which VFIO knows the VM.
  using handle_type = Handle;
  /// The table of the device types that the VM knows.
  using types = device_type_table<vm>;

  /// The error of a VM for an unknown ioctl. In the kernel the code of the architecture handles
  /// such a request, so the error depends on the architecture.
#if defined(__aarch64__)
  static constexpr errc unknown_ioctl = errc::inval;
#else
  static constexpr errc unknown_ioctl = errc::notty;
#endif

  /// Makes a VM in the address space of `creator`. The new VM has one user: its descriptor.
  /// \param known the device types; must outlive the VM
  /// \param self  the handle by which VFIO knows this VM
  constexpr vm(const types& known, const Handle& self, Caller& creator,
               const Storage& storage = {}) noexcept
      : types_(known), self_(self), owner_(creator.address_space()), pool_(storage) {}
  /// Makes a VM in the address space of `creator`, with a lock that is given by value or by
  /// reference.
  /// \param known the device types; must outlive the VM
  /// \param self  the handle by which VFIO knows this VM
  constexpr vm(const types& known, const Handle& self, Caller& creator, Lock&& lock,
               const Storage& storage = {}) noexcept
      : types_(known),
        self_(self),
        owner_(creator.address_space()),
        lock_(static_cast<Lock&&>(lock)),
        pool_(storage) {}

  [[nodiscard]] constexpr const char* name() const noexcept override { return "kvm-vm"; }

  /// Handles ioctl(2) on the VM's descriptor (kvm_vm_ioctl). The VM knows KVM_CREATE_DEVICE only.
  /// \par Errors
  /// - `errc::io`: the task does not have the address space of the VM's creator, or the VM is dead
  /// - `unknown_ioctl`: the request is not KVM_CREATE_DEVICE
  /// - `errc::fault`: the argument cannot be read, or cannot be written back. If it cannot be
  ///   written back, the device and its descriptor still exist.
  /// - `errc::nodev`: there is no device type with this number
  /// - `errc::busy`: the VM has a kvm-vfio device already
  /// - `errc::nomem`: no memory
  /// - `errc::mfile`, `errc::nfile`: the task or the system has no free descriptor or file
  [[nodiscard]] constexpr errc ioctl(Caller& from, std::uint64_t request,
                                     std::uint64_t argument) noexcept override {
    if (!answers(from)) return errc::io;
    if (static_cast<std::uint32_t>(request) != uapi::create_device) return unknown_ioctl;
    kvm_create_device create{};
    if (!from.copy_from_user(argument, create)) return errc::fault;
    if (const errc e = create_device(from, create); e != errc::ok) return e;
    return from.copy_to_user(argument, create) ? errc::ok : errc::fault;
  }

  /// Handles lseek(2). The kernel accepts the call on a VM and ignores it.
  [[nodiscard]] constexpr errc lseek() noexcept override { return errc::ok; }
  /// Handles the last close of the VM's descriptor (kvm_vm_release). The VM lives on as long as it
  /// has other users, for example its devices.
  constexpr void release() noexcept override { put(); }

  /// Adds a user of the VM: a device's descriptor, or an open VFIO device (kvm_get_kvm).
  constexpr void get() noexcept { users_.get(); }
  /// Removes a user of the VM (kvm_put_kvm).
  constexpr void put() noexcept { (void)users_.put(); }
  /// Returns the number of users. If it is 0, the kernel has destroyed the VM.
  [[nodiscard]] constexpr int users() const noexcept { return users_.value(); }

  /// Marks the VM as dead: every later ioctl of the VM and of its devices fails with `errc::io`
  /// (kvm_vm_dead).
  constexpr void kill() noexcept {
    if (std::is_constant_evaluated()) dead_ = true;
    else __atomic_store_n(&dead_, true, __ATOMIC_RELAXED);
  }
  /// Returns whether a call of this task passes the first check of every ioctl. The check is that
  /// the VM is not dead and that the task has the VM's address space.
  [[nodiscard]] constexpr bool answers(Caller& from) const noexcept override {
    return !dead() && from.address_space() == owner_;
  }

  /// Returns true if the VM has a device of this type.
  /// \pre the VM's lock is held, as it is during `device_type::create`
  [[nodiscard]] constexpr bool has(const device_type<vm>& type) const noexcept {
    for (const device_descriptor* d = devices_; d; d = d->next_)
      if (&d->type_ == &type) return true;
    return false;
  }
  /// Returns the handle by which VFIO knows this VM.
  [[nodiscard]] constexpr const Handle& self() const noexcept { return self_; }

 private:
  /// The open file behind the descriptor of a VM's device (struct kvm_device).
  class device_descriptor final : public open_file<Caller> {
   public:
    constexpr device_descriptor(detail::device_owner<Caller>& owner, device_type<vm>& type) noexcept
        : vm_(owner), type_(type) {}
    [[nodiscard]] constexpr const char* name() const noexcept override { return type_.name(); }
    // Models kvm_device_ioctl.
    [[nodiscard]] constexpr errc ioctl(Caller& from, std::uint64_t request,
                                       std::uint64_t argument) noexcept override {
      if (!vm_.answers(from)) return errc::io;
      const auto number = static_cast<std::uint32_t>(request);
      if (number == uapi::get_device_attr) return errc::perm;
      if (number != uapi::set_device_attr && number != uapi::has_device_attr) return errc::notty;
      kvm_device_attr attr{};
      if (!from.copy_from_user(argument, attr)) return errc::fault;
      return number == uapi::set_device_attr ? operations_->set_attr(from, attr)
                                             : operations_->has_attr(attr);
    }
    [[nodiscard]] constexpr errc lseek() noexcept override { return errc::spipe; }
    // Models kvm_device_release. It destroys this object.
    constexpr void release() noexcept override { vm_.closed(*this); }

   private:
    friend vm;
    detail::device_owner<Caller>& vm_;
    device_type<vm>& type_;
    device_operations<vm>* operations_ = nullptr;
    device_descriptor* next_ = nullptr;
  };

  [[nodiscard]] constexpr bool dead() const noexcept {
    if (std::is_constant_evaluated()) return dead_;
    return __atomic_load_n(&dead_, __ATOMIC_RELAXED);
  }

  // Models kvm_ioctl_create_device.
  constexpr errc create_device(Caller& from, kvm_create_device& create) noexcept {
    device_type<vm>* const type = types_.find(create.type);
    if (!type) return errc::nodev;
    if (create.flags & uapi::create_device_test) return errc::ok;
    device_descriptor* const made = pool_.make(*this, *type);
    if (!made) return errc::nomem;
    if (const errc e = add(*made); e != errc::ok) {
      pool_.destroy(made);
      return e;
    }
    get();
    const result<int> fd = from.install(*made);
    if (!fd) {
      put();
      remove(*made);
      return fd.error();
    }
    create.fd = static_cast<std::uint32_t>(*fd);
    return errc::ok;
  }

  constexpr errc add(device_descriptor& d) noexcept {
    guard held(lock_.get());
    const result<device_operations<vm>*> state = d.type_.create(*this);
    if (!state) return state.error();
    d.operations_ = *state;
    d.next_ = devices_;
    devices_ = &d;
    return errc::ok;
  }

  // The kernel, too, gives the device's reference on the VM back last.
  constexpr void closed(open_file<Caller>& d) noexcept override {
    remove(d);
    put();
  }

  constexpr void remove(open_file<Caller>& d) noexcept {
    guard held(lock_.get());
    device_descriptor** link = &devices_;
    while (*link != &d) link = &(*link)->next_;
    device_descriptor* const found = *link;
    *link = found->next_;
    found->type_.release(*found->operations_);
    pool_.destroy(found);
  }

  const types& types_;
  Handle self_;
  typename Caller::address_space_id owner_;
  [[no_unique_address]] lock_holder<Lock> lock_;
  [[no_unique_address]] typename Storage::template pool<device_descriptor> pool_;
  device_descriptor* devices_ = nullptr;
  detail::ref_count users_;
  bool dead_ = false;
};

}  // namespace kvm_vfio
