// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// IOMMU backends for a model that runs beside the real kvm-vfio device. The kernel itself does
/// what the architecture needs. The backends only inform the VMM.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/kvm.hpp>

#include <type_traits>

namespace kvm_vfio::native {

/// Calls a function of the VMM when the VM's DMA becomes noncoherent or coherent again. The
/// function is called as `callback(vm_ref, bool noncoherent)` and is noexcept. The device holds its
/// lock during the call, except in its destructor. Therefore the function must not call the device.
/// This object refers to the callable and does not own it.
class coherency_callback {
 public:
  /// Makes a backend that calls no function.
  constexpr coherency_callback() noexcept = default;
  /// Makes a backend that calls `call(vm, noncoherent)` at each change. A callable, const or not,
  /// must outlive this object and its copies.
  template <class Callback>
    requires requires(Callback& callback, vm_ref of) {
      { callback(of, true) } noexcept;
    }
  explicit coherency_callback(Callback& call) noexcept
      : target_(to(call)), call_([](target t, vm_ref of, bool noncoherent) noexcept {
          if constexpr (std::is_function_v<Callback>)
            reinterpret_cast<Callback*>(t.function)(of, noncoherent);
          else (*static_cast<Callback*>(const_cast<void*>(t.object)))(of, noncoherent);
        }) {}
  /// Deleted: a temporary callable would be destroyed before the first call.
  template <class Callback>
    requires requires(const Callback& callback, vm_ref of) { callback(of, true); }
  explicit coherency_callback(const Callback&& call) = delete;

  /// Calls the callable with true.
  void register_noncoherent_dma(const vm_ref& of) const noexcept { call(of, true); }
  /// Calls the callable with false.
  void unregister_noncoherent_dma(const vm_ref& of) const noexcept { call(of, false); }
  /// Does nothing: the kernel counts assignments itself.
  void start_assignment(const vm_ref&) const noexcept {}
  /// Does nothing: the kernel counts assignments itself.
  void end_assignment(const vm_ref&) const noexcept {}

 private:
  union target {
    const void* object;
    void (*function)();  // a pointer to an object cannot hold a function's address
  };
  template <class Callback>
  static target to(Callback& call) noexcept {
    if constexpr (std::is_function_v<Callback>)
      return {.function = reinterpret_cast<void (*)()>(&call)};
    else return {.object = __builtin_addressof(call)};
  }
  void call(vm_ref of, bool noncoherent) const noexcept {
    if (call_) call_(target_, of, noncoherent);
  }

  target target_{.object = nullptr};
  void (*call_)(target, vm_ref, bool) noexcept = nullptr;
};
static_assert(iommu_backend<coherency_callback, vm_ref>);
static_assert(assignment_backend<coherency_callback, vm_ref>);

/// The IOMMU backend for POWER. It also attaches TCE tables, through attribute 3 of the VM's
/// kvm-vfio device. The kernel detaches them when the device no longer tracks the group's file.
/// \tparam Kernel the kvm-vfio device: `kvm_vfio_device_ref`, or a model in tests
template <endpoint Kernel = kvm_vfio_device_ref>
class kvm_spapr_tce : public coherency_callback {
 public:
  /// The group's file takes the place of the IOMMU group, which user space cannot name.
  using iommu_group = file;

  /// Makes a backend that attaches TCE tables through `device`. The device must stay open as long
  /// as the backend is used.
  explicit kvm_spapr_tce(const Kernel& device, coherency_callback callback = {}) noexcept
      : coherency_callback(callback), device_(device) {}

  /// Calls GROUP_SET_SPAPR_TCE for the group's file.
  /// \par Errors
  /// - `errc::nxio`: the kernel is not a POWER kernel
  /// - each other error of `set_spapr_tce`
  [[nodiscard]] errc spapr_tce_attach(const vm_ref&, int tablefd,
                                      const iommu_group& group) noexcept {
    return set_spapr_tce(device_, group.fd, tablefd);
  }
  /// Does nothing: the kernel itself detaches the group at FILE_DEL.
  void spapr_tce_release(const vm_ref&, const iommu_group&) const noexcept {}
  /// Does nothing: the kernel itself gives its reference on the group back at FILE_DEL.
  void iommu_group_put(const iommu_group&) const noexcept {}
  /// Does nothing: the kernel itself warns.
  void warn(spapr_warning) const noexcept {}

 private:
  Kernel device_;
};
/// Deduces the type of the kvm-vfio device from the argument.
template <class Kernel>
kvm_spapr_tce(const Kernel&, coherency_callback = {}) -> kvm_spapr_tce<Kernel>;
static_assert(spapr_backend<kvm_spapr_tce<>, vm_ref>);

}  // namespace kvm_vfio::native
