// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The descriptor of an eventfd. VFIO signals an eventfd for each interrupt of a device, and KVM
/// gives the VM an interrupt when an eventfd is signalled.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/descriptor.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::native {

/// A view of the descriptor of an eventfd. An eventfd counts its signals.
/// \tparam System the system whose descriptor it is
template <system System>
class basic_event_ref : public descriptor<System> {
 public:
  using descriptor<System>::descriptor;

  /// Makes an eventfd of count 0, which does not block.
  /// \par Errors
  /// - `errc::mfile`, `errc::nfile`: the process or the system has no free descriptor or file
  [[nodiscard]] static result<owned<basic_event_ref>> make(
      const System& on = detail::only<System>()) noexcept {
    const result<int> fd = on.eventfd();
    if (!fd) return fd.error();
    return owned<basic_event_ref>(basic_unique_fd<System>(*fd, on));
  }
  /// Adds 1 to the count.
  /// \par Errors
  /// - `errc::again`: the count is as large as possible
  /// - `errc::io`: the file took less than eight bytes, so it is not an eventfd
  /// - each other error of write(2)
  [[nodiscard]] errc signal() const noexcept {
    const std::uint64_t one = 1;
    return whole(this->system_calls().write(this->fd(), &one, sizeof one));
  }
  /// Returns the count and sets the count to 0.
  /// \par Errors
  /// - `errc::again`: the count is 0
  /// - `errc::io`: the file gave less than eight bytes, so it is not an eventfd
  /// - each other error of read(2)
  [[nodiscard]] result<std::uint64_t> take() const noexcept {
    std::uint64_t count = 0;
    if (const errc e = whole(this->system_calls().read(this->fd(), &count, sizeof count));
        e != errc::ok)
      return e;
    return count;
  }

 private:
  [[nodiscard]] static errc whole(const result<std::size_t>& moved) noexcept {
    if (!moved) return moved.error();
    return *moved == sizeof(std::uint64_t) ? errc::ok : errc::io;
  }
};
/// A view of an eventfd of the running kernel.
using event_ref = basic_event_ref<host>;
/// Owns the descriptor of an eventfd. VFIO and KVM keep the eventfd alive for as long as they use
/// it, also after this descriptor is closed.
template <system System>
using basic_event = owned<basic_event_ref<System>>;
/// Owns an eventfd of the running kernel.
using event = basic_event<host>;

}  // namespace kvm_vfio::native
