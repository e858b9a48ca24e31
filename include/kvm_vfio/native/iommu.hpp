// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// IOMMU backends over the real thing. The kernel does what the architecture needs for itself; the
/// VMM hears of it.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/kvm.hpp>

#include <type_traits>

namespace kvm_vfio::native {

/// Calls the VMM when a VM's DMA becomes noncoherent or coherent again. A reference to a callable
/// or a function of the VMM's: `callback(vm_ref, bool noncoherent)`, noexcept. A callable, const or
/// not, must outlive it. It is called with the device's lock held (at destruction without), so it
/// must not call the device.
class coherency_callback {
 public:
  /// Nobody is called.
  constexpr coherency_callback() noexcept = default;
  /// `call(vm, noncoherent)` is called on each edge; it must outlive this object and its copies.
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
  /// A temporary would be gone before the first edge.
  template <class Callback>
    requires requires(const Callback& callback, vm_ref of) { callback(of, true); }
  explicit coherency_callback(const Callback&& call) = delete;

  void register_noncoherent_dma(const vm_ref& of) const noexcept { call(of, true); }
  void unregister_noncoherent_dma(const vm_ref& of) const noexcept { call(of, false); }
  /// The kernel counts assignments for itself.
  void start_assignment(const vm_ref&) const noexcept {}
  void end_assignment(const vm_ref&) const noexcept {}

 private:
  union target {
    const void* object;
    void (*function)();  // a pointer to an object cannot hold it
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

/// The same on POWER: TCE tables are attached through attribute 3 of the VM's kvm-vfio device.
/// The kernel detaches them when the group's file goes.
/// \tparam Kernel the kvm-vfio device: `kvm_vfio_device_ref`, or a model in tests
template <endpoint Kernel = kvm_vfio_device_ref>
class kvm_spapr_tce : public coherency_callback {
 public:
  using iommu_group = file;

  /// `device` must stay open as long as this is used.
  explicit kvm_spapr_tce(const Kernel& device, coherency_callback callback = {}) noexcept
      : coherency_callback(callback), device_(device) {}

  /// GROUP_SET_SPAPR_TCE. \return the kernel's answer; nxio: not a POWER kernel
  [[nodiscard]] errc spapr_tce_attach(const vm_ref&, int tablefd,
                                      const iommu_group& group) noexcept {
    return set_spapr_tce(device_, group.fd, tablefd);
  }
  /// The kernel releases and puts by itself, when FILE_DEL reaches it.
  void spapr_tce_release(const vm_ref&, const iommu_group&) const noexcept {}
  /// As above.
  void iommu_group_put(const iommu_group&) const noexcept {}
  /// The kernel warns for itself.
  void warn(spapr_warning) const noexcept {}

 private:
  Kernel device_;
};
/// By its arguments.
template <class Kernel>
kvm_spapr_tce(const Kernel&, coherency_callback = {}) -> kvm_spapr_tce<Kernel>;
static_assert(spapr_backend<kvm_spapr_tce<>, vm_ref>);

}  // namespace kvm_vfio::native
