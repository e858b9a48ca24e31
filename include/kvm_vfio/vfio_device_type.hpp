// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The device type of kvm-vfio. KVM_CREATE_DEVICE with KVM_DEV_TYPE_VFIO makes devices of this
/// type.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/device.hpp>
#include <kvm_vfio/device_type.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <type_traits>

namespace kvm_vfio {

/// Makes kvm-vfio devices for VMs, at most one for each VM (kvm_vfio_create).
/// \tparam Vm the class of the VMs; the other parameters are those of `device`
template <class Vm, symbol_provider Symbols, lockable Lock,
          iommu_backend<typename Symbols::vm> Iommu, profile Profile = linux_7_3,
          storage Storage = heap_storage,
          file_references<typename Symbols::file> Files = default_files<Symbols>>
class vfio_device_type final : public device_type<Vm> {
  using caller_type = typename Vm::caller_type;
  using device_model = device<Symbols, Lock, Iommu, Profile, Storage, Files>;

 public:
  /// The attributes of a kvm-vfio device, as the VM calls them.
  using operations = typename device_type<Vm>::operations;

  /// Makes a type whose devices have a lock each. `symbols` and `iommu` must outlive every device.
  constexpr vfio_device_type(Symbols& symbols, Iommu& iommu, Profile = {},
                             const Storage& storage = {}, const Files& files = {}) noexcept
      : symbols_(symbols), iommu_(iommu), storage_(storage), files_(files), pool_(storage) {}
  /// Makes a type whose devices all share `lock`. `symbols`, `lock` and `iommu` must outlive every
  /// device.
  constexpr vfio_device_type(Symbols& symbols, Lock&& lock, Iommu& iommu, Profile = {},
                             const Storage& storage = {}, const Files& files = {}) noexcept
    requires std::is_reference_v<Lock>
      : symbols_(symbols),
        iommu_(iommu),
        lock_(lock),
        storage_(storage),
        files_(files),
        pool_(storage) {}

  [[nodiscard]] constexpr const char* name() const noexcept override { return "kvm-vfio"; }

  /// Makes the kvm-vfio device of a VM.
  /// \par Errors
  /// - `errc::busy`: the VM has a kvm-vfio device already
  /// - `errc::nomem`: no memory
  [[nodiscard]] constexpr result<operations*> create(Vm& vm) noexcept override {
    static_assert(std::same_as<typename Vm::handle_type, typename Symbols::vm>,
                  "the VM and the symbol provider must use the same type of VM handle");
    if (vm.has(*this)) return errc::busy;
    state* const made = pool_.make(*this, vm.self());
    if (!made) return errc::nomem;
    return static_cast<operations*>(made);
  }
  /// Destroys a device that `create` made. The destructor of the device releases its files.
  constexpr void release(operations& device) noexcept override {
    pool_.destroy(static_cast<state*>(&device));
  }
  /// Returns the model of a device that `create` made, so that tests and observers can read its
  /// state.
  [[nodiscard]] static constexpr const device_model& model(const operations& device) noexcept {
    return static_cast<const state&>(device).device_;
  }

 private:
  class state final : public operations {
   public:
    constexpr state(const vfio_device_type& type, const typename Symbols::vm& vm) noexcept
      requires std::is_reference_v<Lock>
        : device_(type.symbols_, type.lock_.get(), type.iommu_, vm, Profile{}, type.storage_,
                  type.files_) {}
    constexpr state(const vfio_device_type& type, const typename Symbols::vm& vm) noexcept
        : device_(type.symbols_, type.iommu_, vm, Profile{}, type.storage_, type.files_) {}
    [[nodiscard]] constexpr errc set_attr(caller_type& from,
                                          const kvm_device_attr& attr) noexcept override {
      return device_.set_attr(from, attr);
    }
    [[nodiscard]] constexpr errc has_attr(const kvm_device_attr& attr) noexcept override {
      return device_.has_attr(attr);
    }

   private:
    friend vfio_device_type;
    device_model device_;
  };

  Symbols& symbols_;
  Iommu& iommu_;
  // If each device has a lock of its own, nothing is kept here; a shared lock is.
  struct no_lock {};
  [[no_unique_address]] std::conditional_t<std::is_reference_v<Lock>, lock_holder<Lock>, no_lock>
      lock_;
  [[no_unique_address]] Storage storage_;
  [[no_unique_address]] Files files_;
  [[no_unique_address]] typename Storage::template pool<state> pool_;
};

}  // namespace kvm_vfio
