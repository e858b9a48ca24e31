// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A scope guard for the armed interrupts of a VFIO device.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/device_irqs.hpp>
#include <kvm_vfio/system.hpp>

#include <cstdint>

namespace kvm_vfio::native::vfio {

/// Disarms all vectors of an interrupt index in the destructor. It can be moved. The device's
/// descriptor must stay open until then.
/// \tparam System the system whose descriptor it is
template <system System>
class armed_irqs {
 public:
  /// Has no index.
  armed_irqs() noexcept = default;
  /// Disarms `index` of the device `of` from now on, whoever armed its vectors.
  armed_irqs(const basic_device_irqs_ref<System>& of, std::uint32_t index) noexcept
      : device_(of), index_(index), armed_(true) {}
  /// Takes over the index of `other`, which then has none.
  armed_irqs(armed_irqs&& other) noexcept
      : device_(other.device_), index_(other.index_), armed_(other.armed_) {
    other.release();
  }
  /// Disarms the own index and takes over the one of `other`, which then has none.
  armed_irqs& operator=(armed_irqs&& other) noexcept {
    if (this != &other) {
      (void)disarm();
      device_ = other.device_;
      index_ = other.index_;
      armed_ = other.armed_;
      other.release();
    }
    return *this;
  }
  ~armed_irqs() { (void)disarm(); }

  /// Disarms all vectors of the index. Does nothing and returns ok if this object has no index.
  /// Afterwards this object has no index, even after an error.
  /// \par Errors
  /// - each error of `basic_device_irqs_ref::disarm`
  errc disarm() noexcept {
    if (!armed_) return errc::ok;
    release();
    return device_.disarm(index_);
  }
  /// Forgets the index, whose vectors stay armed.
  void release() noexcept { armed_ = false; }
  /// Returns true if this object has an index.
  [[nodiscard]] explicit operator bool() const noexcept { return armed_; }
  /// Returns the index.
  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }

 private:
  basic_device_irqs_ref<System> device_{};
  std::uint32_t index_ = 0;
  bool armed_ = false;
};

}  // namespace kvm_vfio::native::vfio
