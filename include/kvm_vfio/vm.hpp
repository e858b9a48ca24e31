// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The VM around the device: one kvm-vfio per VM, lifetimes, and the two ioctl dispatchers, so
/// that the model can be talked to in ioctl numbers and structs, as a VMM talks to the kernel.

#include <kvm_vfio/detail/ref_count.hpp>
#include <kvm_vfio/device_type.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
// What a device needs of its VM. A base of it, because a VM with room for devices inside needs
// their type complete before its own is.
template <class Caller>
class device_owner : public open_file<Caller> {
 public:
  [[nodiscard]] virtual constexpr bool answers(Caller& from) const noexcept = 0;
  // The last close of a device's descriptor.
  virtual constexpr void closed(open_file<Caller>& device) noexcept = 0;

 protected:
  constexpr ~device_owner() = default;
};
}  // namespace detail

/// A VM behind its descriptor (struct kvm, as far as devices need it).
///
/// The object's memory is its owner's and must outlive every descriptor; `users()` counts down to
/// 0 where the kernel would destroy the VM. Safe to call from any number of threads if `Lock` is.
///
/// \tparam Caller  the tasks that hold descriptors of the VM
/// \tparam Handle  what names this VM to VFIO (`Symbols::vm`)
/// \tparam Lock    the VM's lock
/// \tparam Storage where its devices live; a create that will say busy needs room all the same
template <vm_caller Caller, handle Handle, lockable Lock = null_lock,
          storage Storage = heap_storage>
class vm final : public detail::device_owner<Caller> {
 public:
  /// The tasks that hold its descriptors, what names it to VFIO, and the device types it knows.
  using caller_type = Caller;
  using handle_type = Handle;
  using types = device_type_table<vm>;

  /// What an ioctl that nobody knows answers on a VM: the architecture's code has the last word.
#if defined(__aarch64__)
  static constexpr errc unknown_ioctl = errc::inval;
#else
  static constexpr errc unknown_ioctl = errc::notty;
#endif

  /// A VM of `creator`'s address space, with one user: its descriptor.
  /// \param known the device types; must outlive the VM
  constexpr vm(const types& known, const Handle& self, Caller& creator,
               const Storage& storage = {}) noexcept
      : types_(known), self_(self), owner_(creator.address_space()), pool_(storage) {}
  /// The same with a lock that is given, by value or by reference.
  constexpr vm(const types& known, const Handle& self, Caller& creator, Lock&& lock,
               const Storage& storage = {}) noexcept
      : types_(known),
        self_(self),
        owner_(creator.address_space()),
        lock_(static_cast<Lock&&>(lock)),
        pool_(storage) {}

  [[nodiscard]] constexpr const char* name() const noexcept override { return "kvm-vm"; }

  /// KVM_CREATE_DEVICE; another request is `unknown_ioctl` (kvm_vm_ioctl).
  /// \return io: another address space, or a dead VM · fault: the argument cannot be read, or not
  ///         written back, and then the device and its descriptor stay · nodev: unknown type ·
  ///         busy: the VM has a kvm-vfio already · nomem · mfile, nfile: no descriptor
  [[nodiscard]] constexpr errc ioctl(Caller& from, std::uint64_t request,
                                     std::uint64_t argument) noexcept override {
    if (!answers(from)) return errc::io;
    if (static_cast<std::uint32_t>(request) != uapi::create_device) return unknown_ioctl;
    kvm_create_device create{};
    if (!from.copy_from_user(argument, create)) return errc::fault;
    if (const errc e = create_device(from, create); e != errc::ok) return e;
    return from.copy_to_user(argument, create) ? errc::ok : errc::fault;
  }

  /// A VM's position is where it always was.
  [[nodiscard]] constexpr errc lseek() noexcept override { return errc::ok; }
  /// The last close of the VM's descriptor. Its devices keep it alive.
  constexpr void release() noexcept override { put(); }

  /// One more user: a device's descriptor, or an opened VFIO device (kvm_get_kvm).
  constexpr void get() noexcept { users_.get(); }
  /// One less (kvm_put_kvm).
  constexpr void put() noexcept { (void)users_.put(); }
  /// How many users there are; 0: the kernel has destroyed the VM.
  [[nodiscard]] constexpr int users() const noexcept { return users_.value(); }

  /// From now on every ioctl of the VM and of its devices says io (kvm_vm_dead).
  constexpr void kill() noexcept {
    if (std::is_constant_evaluated()) dead_ = true;
    else __atomic_store_n(&dead_, true, __ATOMIC_RELAXED);
  }
  /// Whether a call from this task gets past the first check of every ioctl.
  [[nodiscard]] constexpr bool answers(Caller& from) const noexcept override {
    return !dead() && from.address_space() == owner_;
  }

  /// Whether the VM has a device of this type. \pre the VM's lock is held, as in `create`
  [[nodiscard]] constexpr bool has(const device_type<vm>& type) const noexcept {
    for (const device_descriptor* d = devices_; d; d = d->next_)
      if (&d->type_ == &type) return true;
    return false;
  }
  /// What names this VM to VFIO.
  [[nodiscard]] constexpr const Handle& self() const noexcept { return self_; }

 private:
  /// A device behind its descriptor (struct kvm_device).
  class device_descriptor final : public open_file<Caller> {
   public:
    constexpr device_descriptor(detail::device_owner<Caller>& owner, device_type<vm>& type) noexcept
        : vm_(owner), type_(type) {}
    [[nodiscard]] constexpr const char* name() const noexcept override { return type_.name(); }
    // kvm_device_ioctl
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
    // kvm_device_release. This object is gone afterwards.
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

  // kvm_ioctl_create_device
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

  // The VM reference goes last.
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
