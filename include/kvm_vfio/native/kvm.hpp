// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptors of the real KVM. There are three kinds: descriptors of /dev/kvm, of VMs and of
/// kvm-vfio devices. Each kind has two classes, a view and an owner. A view, for example `vm_ref`,
/// never closes the descriptor. An owner, for example `vm`, closes it in its destructor.
///
/// \code
/// auto vm = kvm_vfio::native::kvm::open().value().create_vm();
/// auto device = vm->create_kvm_vfio_device();
/// auto attached = device->attach(group_fd);
/// \endcode
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/attachment.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/irqfd.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::native {

/// A view of the descriptor of a real kvm-vfio device. Models `endpoint`. Each function makes one
/// ioctl and allocates nothing. Any thread may call it. The errors come from the kernel.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_kvm_vfio_device_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Calls KVM_SET_DEVICE_ATTR.
  /// \par Errors
  /// - `errc::nxio`: the device does not have the attribute `attr.attr` of the attribute group
  ///   `attr.group`
  /// - `errc::fault`: the memory at `attr.addr` cannot be read
  /// - `errc::io`: another process made the VM, or the VM is dead
  /// - each error of the attribute, as `file_add`, `file_del` and `set_spapr_tce` list them
  [[nodiscard]] errc set_attr(const kvm_device_attr& attr) const noexcept {
    return this->request(uapi::set_device_attr, &attr).error();
  }
  /// Calls KVM_HAS_DEVICE_ATTR.
  /// \par Errors
  /// - `errc::nxio`: the device does not have the attribute `attr.attr` of the attribute group
  ///   `attr.group`
  /// - `errc::io`: another process made the VM, or the VM is dead
  [[nodiscard]] errc has_attr(const kvm_device_attr& attr) const noexcept {
    return this->request(uapi::has_device_attr, &attr).error();
  }
  /// Makes any ioctl and passes `argument` on unchanged.
  /// \par Errors
  /// - `errc::notty`: a kvm-vfio device has no such ioctl
  /// - each error of the ioctl
  [[nodiscard]] errc ioctl(unsigned long request, void* argument) const noexcept {
    return this->request(request, argument).error();
  }

  /// Calls FILE_ADD and returns an object that calls FILE_DEL in its destructor. The kvm-vfio
  /// device's descriptor must stay open for as long as that object exists. This view may be
  /// destroyed before that object.
  /// \par Errors
  /// - `errc::badf`: `vfio_fd` is not open
  /// - `errc::inval`: the file is not a VFIO file, or VFIO is not loaded
  /// - `errc::exists`: the device tracks the file already
  /// - `errc::nomem`: no memory
  /// - `errc::io`: another process made the VM, or the VM is dead
  template <class View = basic_kvm_vfio_device_ref>  // `View` is complete at the call
  [[nodiscard]] result<attachment<View>> attach(int vfio_fd) const noexcept {
    return kvm_vfio::attach(*this, vfio_fd);
  }

  /// Returns a copy of this view. An `attachment` keeps such a copy.
  [[nodiscard]] constexpr basic_kvm_vfio_device_ref borrow() const noexcept { return *this; }
};
/// A view of a kvm-vfio device of the running kernel.
using kvm_vfio_device_ref = basic_kvm_vfio_device_ref<host>;
static_assert(endpoint<kvm_vfio_device_ref>);

/// Owns the descriptor of a real kvm-vfio device. When the descriptor is closed, the device stops
/// tracking every file.
template <system System>
class basic_kvm_vfio_device : public owned<basic_kvm_vfio_device_ref<System>> {
  using view = basic_kvm_vfio_device_ref<System>;

 public:
  /// Makes an owner of nothing, or of a descriptor that the caller gives away.
  using owned<view>::owned;

  /// Calls FILE_ADD and returns an object that calls FILE_DEL in its destructor.
  /// \par Errors
  /// - each error of `kvm_vfio_device_ref::attach`
  template <class View = view>
  [[nodiscard]] result<attachment<View>> attach(int vfio_fd) const& noexcept {
    return view::attach(vfio_fd);
  }
  /// Deleted for temporaries: the device would be closed before the attachment calls FILE_DEL.
  template <class View = view>
  result<attachment<View>> attach(int vfio_fd) const&& = delete;
};
/// Owns the descriptor of a kvm-vfio device of the running kernel.
using kvm_vfio_device = basic_kvm_vfio_device<host>;
static_assert(endpoint<kvm_vfio_device>);

/// A view of the descriptor of a VM. Each function makes one ioctl and allocates nothing. The base
/// class connects eventfds with interrupts of the VM.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_vm_ref : public basic_vm_irqfd_ref<System> {
 public:
  using basic_vm_irqfd_ref<System>::basic_vm_irqfd_ref;

  /// Calls KVM_CREATE_DEVICE and passes `create` on unchanged. On success `create.fd` is a new
  /// descriptor, which the caller must close. With the flag KVM_CREATE_DEVICE_TEST there is no new
  /// descriptor.
  /// \par Errors
  /// - `errc::nodev`: the kernel has no such device type
  /// - `errc::busy`: the VM has a kvm-vfio device already
  /// - `errc::nomem`: no memory
  /// - `errc::mfile`, `errc::nfile`: the process or the system has no free descriptor or file
  /// - `errc::io`: another process made the VM, or the VM is dead
  [[nodiscard]] errc create_device(kvm_create_device& create) const noexcept {
    return this->request(uapi::create_device, &create).error();
  }
  /// Asks whether the kernel has a device type (KVM_CREATE_DEVICE_TEST). Returns ok if the kernel
  /// has the type, even if the VM has a device of this type already.
  /// \par Errors
  /// - `errc::nodev`: the kernel has no such device type
  /// - `errc::io`: another process made the VM, or the VM is dead
  [[nodiscard]] errc has_device_type(std::uint32_t type) const noexcept {
    // The kernel leaves `fd` as it is: a number that nobody can close by mistake.
    kvm_create_device create{.type = type, .fd = ~0U, .flags = uapi::create_device_test};
    return create_device(create);
  }
  /// Makes the kvm-vfio device of the VM. A VM has at most one such device. The device keeps the VM
  /// alive.
  /// \par Errors
  /// - `errc::nodev`: the kernel was built without kvm-vfio
  /// - `errc::busy`: the VM has a kvm-vfio device already
  /// - each other error of `create_device`
  [[nodiscard]] result<basic_kvm_vfio_device<System>> create_kvm_vfio_device() const noexcept {
    kvm_create_device create{.type = uapi::dev_type_vfio, .fd = 0, .flags = 0};
    if (const errc e = create_device(create); e != errc::ok) return e;
    return basic_kvm_vfio_device<System>(
        basic_unique_fd<System>(static_cast<int>(create.fd), this->system_calls()));
  }

  /// Returns true if both views have the same descriptor.
  friend constexpr bool operator==(const basic_vm_ref& a, const basic_vm_ref& b) noexcept {
    return a.fd() == b.fd();
  }
};

/// A view of a descriptor of the running kernel.
using vm_ref = basic_vm_ref<host>;
/// Owns the descriptor of a VM. The VM's devices keep the VM alive after this descriptor is closed.
template <system System>
using basic_vm = owned<basic_vm_ref<System>>;
/// Owns a descriptor of the running kernel.
using vm = basic_vm<host>;

/// A view of a descriptor of /dev/kvm.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_kvm_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Opens KVM and checks that its interface has the version KVM_API_VERSION.
  /// \par Errors
  /// - `errc::noent`: the host has no KVM
  /// - `errc::access`: the user has no permission
  /// - `errc::notty`: the file at `path` is not KVM
  /// - `errc::proto`: KVM has another version of the interface
  /// - each other error of open(2)
  [[nodiscard]] static result<owned<basic_kvm_ref>> open(
      const char* path = "/dev/kvm", const System& on = detail::only<System>()) noexcept {
    result<owned<basic_kvm_ref>> opened =
        descriptor<System>::template open_as<basic_kvm_ref>(path, on);
    if (!opened) return opened;
    const result<int> version = opened->api_version();
    if (!version) return version.error();
    if (*version != KVM_API_VERSION) return errc::proto;
    return opened;
  }
  /// Returns the version of KVM's interface (KVM_GET_API_VERSION).
  /// \par Errors
  /// - each error of ioctl(2)
  [[nodiscard]] result<int> api_version() const noexcept {
    return this->request(KVM_GET_API_VERSION);
  }
  /// Makes a VM (KVM_CREATE_VM). Repeats the call if a signal interrupts it.
  /// \param type the machine type; 0 is the default of the architecture
  /// \par Errors
  /// - `errc::inval`: KVM does not know this machine type
  /// - `errc::busy`: another hypervisor uses the processor's virtualization
  /// - `errc::nomem`: no memory
  /// - `errc::mfile`, `errc::nfile`: the process or the system has no free descriptor or file
  [[nodiscard]] result<basic_vm<System>> create_vm(unsigned long type = 0) const noexcept {
    result<int> fd = this->request(KVM_CREATE_VM, type);
    while (fd.error() == errc::intr) fd = this->request(KVM_CREATE_VM, type);
    if (!fd) return fd.error();
    return basic_vm<System>(basic_unique_fd<System>(*fd, this->system_calls()));
  }
};

/// A view of a descriptor of the running kernel.
using kvm_ref = basic_kvm_ref<host>;
/// Owns the descriptor of an open /dev/kvm. VMs stay usable after this descriptor is closed.
template <system System>
using basic_kvm = owned<basic_kvm_ref<System>>;
/// Owns a descriptor of the running kernel.
using kvm = basic_kvm<host>;

/// Returns true if an error means that the host has no KVM or no kvm-vfio, or that the user has no
/// permission to use KVM. A test may then be skipped. After any other error a test should
/// fail.
/// \param why the error of opening KVM, of making a VM, or of making its kvm-vfio device
[[nodiscard]] constexpr bool kvm_is_lacking(errc why) noexcept {
  return why == errc::noent || why == errc::access || why == errc::perm || why == errc::nodev ||
         why == errc::nxio;
}

}  // namespace kvm_vfio::native
