// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Connects eventfds with the interrupts of a VM (KVM_IRQFD). `vm_ref` has these functions.
///
/// An interrupt of a device reaches the VM without the VMM if VFIO and KVM have the same eventfd. A
/// level interrupt (INTx) needs a second eventfd, because VFIO masks the interrupt when it comes.
/// KVM signals the second eventfd when the VM has handled the interrupt, and VFIO then unmasks it:
/// \code
/// auto trigger = kvm_vfio::native::event::make();
/// auto handled = kvm_vfio::native::event::make();
/// const int fd = trigger->fd();
/// auto line = vm.resampling_irqfd(fd, gsi, handled->fd());
/// auto armed = device.arm(VFIO_PCI_INTX_IRQ_INDEX, 0, &fd, 1);
/// auto error = device.unmask_on(handled->fd(), VFIO_PCI_INTX_IRQ_INDEX);
/// \endcode

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstdint>

namespace kvm_vfio::native {

template <system System>
class vm_irqfd;

/// The part of `basic_vm_ref` that connects eventfds. It allocates nothing. A GSI is the number of
/// an interrupt line of the VM.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_vm_irqfd_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Connects an eventfd with a GSI, and returns an object that ends this in its destructor. The
  /// descriptors of the VM and of the eventfd must stay open for as long as that object exists.
  /// \par Errors
  /// - each error of `assign_irqfd`
  [[nodiscard]] result<vm_irqfd<System>> irqfd(int eventfd, std::uint32_t gsi) const noexcept {
    if (const errc e = assign_irqfd(eventfd, gsi); e != errc::ok) return e;
    return vm_irqfd<System>(*this, eventfd, gsi);
  }
  /// Connects two eventfds with a GSI, and returns an object that ends this in its destructor. The
  /// descriptors of the VM and of `eventfd` must stay open for as long as that object exists.
  /// \par Errors
  /// - each error of `assign_resampling_irqfd`
  [[nodiscard]] result<vm_irqfd<System>> resampling_irqfd(int eventfd, std::uint32_t gsi,
                                                          int handled) const noexcept {
    if (const errc e = assign_resampling_irqfd(eventfd, gsi, handled); e != errc::ok) return e;
    return vm_irqfd<System>(*this, eventfd, gsi);
  }
  /// Lets KVM give the VM the interrupt `gsi` each time that an eventfd is signalled.
  /// \param eventfd the descriptor of the eventfd
  /// \par Errors
  /// - `errc::busy`: the eventfd is connected already
  /// - `errc::again`: the VM has no interrupt controller yet
  /// - `errc::inval`: the descriptor is not an eventfd, or the VM cannot have irqfds
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::nomem`: no memory
  [[nodiscard]] errc assign_irqfd(int eventfd, std::uint32_t gsi) const noexcept {
    return set_irqfd(eventfd, gsi, 0, 0);
  }
  /// Lets KVM raise the level interrupt `gsi` each time that an eventfd is signalled. When the VM
  /// has handled the interrupt, KVM lowers it and signals the eventfd `handled`.
  /// \param eventfd the descriptor of the eventfd that raises the interrupt
  /// \param handled the descriptor of the other eventfd
  /// \par Errors
  /// - `errc::opnotsupp`: KVM has no resampling irqfds (KVM_CAP_IRQFD_RESAMPLE)
  /// - `errc::inval`: a descriptor is not an eventfd, or the VM cannot have irqfds
  /// - `errc::badf`: a descriptor is not open
  /// - each other error of `assign_irqfd`
  [[nodiscard]] errc assign_resampling_irqfd(int eventfd, std::uint32_t gsi,
                                             int handled) const noexcept {
    const result<int> known = this->request(uapi::check_extension, KVM_CAP_IRQFD_RESAMPLE);
    if (!known) return known.error();
    if (*known == 0) return errc::opnotsupp;
    return set_irqfd(eventfd, gsi, KVM_IRQFD_FLAG_RESAMPLE, static_cast<std::uint32_t>(handled));
  }
  /// Ends the connection of an eventfd with a GSI. Returns ok also if there is no such connection.
  /// \par Errors
  /// - `errc::badf`: the descriptor is not open
  /// - `errc::inval`: the descriptor is not an eventfd
  [[nodiscard]] errc deassign_irqfd(int eventfd, std::uint32_t gsi) const noexcept {
    return set_irqfd(eventfd, gsi, KVM_IRQFD_FLAG_DEASSIGN, 0);
  }

 private:
  [[nodiscard]] errc set_irqfd(int eventfd, std::uint32_t gsi, std::uint32_t flags,
                               std::uint32_t handled) const noexcept {
    ::kvm_irqfd set{};
    set.fd = static_cast<std::uint32_t>(eventfd);
    set.gsi = gsi;
    set.flags = flags;
    set.resamplefd = handled;
    return this->request(uapi::irqfd, &set).error();
  }
};

/// Ends the connection of an eventfd with a GSI in the destructor. It can be moved. The descriptors
/// of the VM and of the eventfd must stay open until then.
/// \tparam System the system whose descriptors they are
template <system System>
class vm_irqfd {
 public:
  /// Has no connection.
  vm_irqfd() noexcept = default;
  /// Ends the connection of `eventfd` with `gsi` from now on, whoever made it.
  vm_irqfd(const basic_vm_irqfd_ref<System>& vm, int eventfd, std::uint32_t gsi) noexcept
      : vm_(vm), eventfd_(eventfd), gsi_(gsi) {}
  /// Takes over the connection of `other`, which then has none.
  vm_irqfd(vm_irqfd&& other) noexcept : vm_(other.vm_), eventfd_(other.eventfd_), gsi_(other.gsi_) {
    other.release();
  }
  /// Ends the own connection and takes over the one of `other`, which then has none.
  vm_irqfd& operator=(vm_irqfd&& other) noexcept {
    if (this != &other) {
      (void)deassign();
      vm_ = other.vm_;
      eventfd_ = other.eventfd_;
      gsi_ = other.gsi_;
      other.release();
    }
    return *this;
  }
  ~vm_irqfd() { (void)deassign(); }

  /// Ends the connection. Does nothing and returns ok if there is none. Afterwards this object has
  /// no connection, even after an error.
  /// \par Errors
  /// - each error of `basic_vm_irqfd_ref::deassign_irqfd`
  errc deassign() noexcept {
    if (eventfd_ < 0) return errc::ok;
    const int eventfd = eventfd_;
    release();
    return vm_.deassign_irqfd(eventfd, gsi_);
  }
  /// Forgets the connection, which stays.
  void release() noexcept { eventfd_ = -1; }
  /// Returns true if this object has a connection.
  [[nodiscard]] explicit operator bool() const noexcept { return eventfd_ >= 0; }
  /// Returns the GSI.
  [[nodiscard]] std::uint32_t gsi() const noexcept { return gsi_; }

 private:
  basic_vm_irqfd_ref<System> vm_{};
  int eventfd_ = -1;
  std::uint32_t gsi_ = 0;
};

}  // namespace kvm_vfio::native
