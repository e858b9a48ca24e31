// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The kernel's own KVM: /dev/kvm, a VM, and its kvm-vfio device as an endpoint. For each there
/// are a view (`vm_ref`), for VMMs that hold the descriptor themselves, and an owner (`vm`).
///
/// \code
/// auto vm = kvm_vfio::native::kvm::open().value().create_vm();
/// auto device = vm->create_kvm_vfio_device();
/// auto attached = device->attach(group_fd);
/// \endcode
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/native/system.hpp>

#include <cstdint>

namespace kvm_vfio::native {

/// A kvm-vfio device of the kernel's, by its descriptor. Models `endpoint`. Every call is one
/// ioctl, allocates nothing, and may be made by any thread; errors are the kernel's.
class kvm_vfio_device_ref {
 public:
  constexpr kvm_vfio_device_ref() noexcept = default;
  /// By a descriptor, which stays its owner's.
  constexpr explicit kvm_vfio_device_ref(int fd) noexcept : fd_(fd) {}

  /// KVM_SET_DEVICE_ATTR.
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) const noexcept {
    return sys::ioctl(fd_, uapi::set_device_attr, &attr).error();
  }
  /// KVM_HAS_DEVICE_ATTR: ok or nxio.
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) const noexcept {
    return sys::ioctl(fd_, uapi::has_device_attr, &attr).error();
  }
  /// Any ioctl, argument as given.
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) const noexcept {
    return sys::ioctl(fd_, request, argument).error();
  }

  /// FILE_ADD, undone by the guard. The guard needs the descriptor of the device, not this object.
  /// \return badf: `vfio_fd` is not open · inval: not a VFIO file, or VFIO is not loaded · exists:
  ///         attached already · nomem · io: the VM is another process's, or dead
  template <class View = kvm_vfio_device_ref>  // complete only when called
  [[nodiscard]] result<attachment<View>> attach(int vfio_fd) const noexcept {
    return kvm_vfio::attach(*this, vfio_fd);
  }

  /// This view: a guard keeps a copy.
  [[nodiscard]] constexpr kvm_vfio_device_ref borrow() const noexcept { return *this; }
  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};
static_assert(endpoint<kvm_vfio_device_ref>);

/// A kvm-vfio device of the kernel's, owned. Closing it stops the tracking of every file.
class kvm_vfio_device : public owned<kvm_vfio_device_ref> {
 public:
  /// Nothing, or a descriptor that the caller gives away.
  using owned::owned;

  /// As the view's.
  [[nodiscard]] result<attachment<kvm_vfio_device_ref>> attach(int vfio_fd) const& noexcept {
    return kvm_vfio_device_ref::attach(vfio_fd);
  }
  /// An owner that goes at once would close the device before the guard's FILE_DEL.
  result<attachment<kvm_vfio_device_ref>> attach(int vfio_fd) const&& = delete;
};
static_assert(endpoint<kvm_vfio_device>);

/// A VM by its descriptor. Every call is one ioctl and allocates nothing.
class vm_ref {
 public:
  constexpr vm_ref() noexcept = default;
  /// By a descriptor, which stays its owner's.
  constexpr explicit vm_ref(int fd) noexcept : fd_(fd) {}

  /// KVM_CREATE_DEVICE, argument as given. On success `create.fd` is a new descriptor, the
  /// caller's to close, unless `create.flags` has KVM_CREATE_DEVICE_TEST.
  /// \return nodev: unknown type · busy: the VM has a kvm-vfio already · nomem · mfile, nfile ·
  ///         io: the VM is another process's, or dead
  [[nodiscard]] errc create_device(kvm_create_device& create) const noexcept {
    return sys::ioctl(fd_, uapi::create_device, &create).error();
  }
  /// Asks whether the kernel has a device type (KVM_CREATE_DEVICE_TEST), even if the VM has one of
  /// it already: ok or nodev · io
  [[nodiscard]] errc has_device_type(std::uint32_t type) const noexcept {
    kvm_create_device create{.type = type, .fd = 0, .flags = uapi::create_device_test};
    return create_device(create);
  }
  /// The VM's kvm-vfio device; a VM has one at the most. It keeps the VM alive.
  /// \return as `create_device`; nodev: KVM was built without kvm-vfio
  [[nodiscard]] result<kvm_vfio_device> create_kvm_vfio_device() const noexcept {
    kvm_create_device create{.type = uapi::dev_type_vfio, .fd = 0, .flags = 0};
    if (const errc e = create_device(create); e != errc::ok) return e;
    return kvm_vfio_device(unique_fd(static_cast<int>(create.fd)));
  }

  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }
  /// The same descriptor.
  friend constexpr bool operator==(const vm_ref&, const vm_ref&) = default;

 private:
  int fd_ = -1;
};

/// A VM, owned. Its devices keep it alive after it is closed.
using vm = owned<vm_ref>;

/// /dev/kvm by its descriptor.
class kvm_ref {
 public:
  constexpr kvm_ref() noexcept = default;
  /// By a descriptor, which stays its owner's.
  constexpr explicit kvm_ref(int fd) noexcept : fd_(fd) {}

  /// Opens KVM and checks that it speaks KVM_API_VERSION.
  /// \return whatever open(2) fails with: noent, access · notty: `path` is not KVM · EPROTO:
  ///         another version
  template <class Owner = owned<kvm_ref>>  // complete only when called
  [[nodiscard]] static result<Owner> open(const char* path = "/dev/kvm") noexcept {
    result<unique_fd> fd = sys::open(path, O_RDWR);
    if (!fd) return fd.error();
    Owner opened(static_cast<unique_fd&&>(*fd));
    const result<int> version = opened.api_version();
    if (!version) return version.error();
    if (*version != KVM_API_VERSION) return errc::proto;
    return opened;
  }
  /// KVM_GET_API_VERSION.
  [[nodiscard]] result<int> api_version() const noexcept {
    return sys::ioctl(fd_, KVM_GET_API_VERSION);
  }
  /// KVM_CREATE_VM, again when a signal interrupts it.
  /// \param type the machine type; 0: the architecture's default
  /// \return nomem · mfile, nfile · inval: unknown type
  [[nodiscard]] result<vm> create_vm(unsigned long type = 0) const noexcept {
    result<int> fd = sys::ioctl(fd_, KVM_CREATE_VM, type);
    while (fd.error() == errc::intr) fd = sys::ioctl(fd_, KVM_CREATE_VM, type);
    if (!fd) return fd.error();
    return vm(unique_fd(*fd));
  }

  /// The descriptor, or -1.
  [[nodiscard]] constexpr int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

/// /dev/kvm, owned. VMs do not need it after they are made.
using kvm = owned<kvm_ref>;

/// Whether opening KVM, making a VM or its kvm-vfio failed because this machine, or this user, has
/// none to give: what a test may skip for. Any other error is the caller's or the kernel's.
[[nodiscard]] constexpr bool kvm_is_lacking(errc why) noexcept {
  return why == errc::noent || why == errc::access || why == errc::perm || why == errc::nodev ||
         why == errc::nxio;
}

}  // namespace kvm_vfio::native
