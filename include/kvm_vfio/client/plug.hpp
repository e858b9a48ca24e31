// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// All steps of plugging a device in one call, for a VMM that does nothing between the steps.

#include <kvm_vfio/client/address_space.hpp>
#include <kvm_vfio/client/coherency_forecast.hpp>
#include <kvm_vfio/client/container.hpp>
#include <kvm_vfio/client/device.hpp>
#include <kvm_vfio/client/device_file.hpp>
#include <kvm_vfio/client/group.hpp>
#include <kvm_vfio/client/vm_files.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/operation.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>

namespace kvm_vfio::client {

/// What a VMM may want to log of a plug. `native::explain(step, error)` explains a failure.
struct plug_report {
  /// The step that failed. After a success: the last step.
  native::operation step{};
  /// Whether the device makes the VM's DMA noncoherent, and why. An error of the question, which
  /// does not stop the plug; `errc::again`: the plug failed before it could ask.
  result<coherency_forecast> forecast = errc::again;
};

/// Gives the first device of a group to a VM: opens the group, puts it into a container, chooses
/// the type 1 driver if the container has none, attaches the group to the VM and opens the device.
/// If a step fails, the earlier steps are undone. Open another device of the group with
/// `group_of(device).open_device(name)`: a group can be open only once.
/// \param number the N in /dev/vfio/N
/// \param name   the device's name in sysfs, for example "0000:06:0d.0"
/// \param in     the container, which other groups may share
/// \param vm     the files of the VM
/// \param report where the step and the forecast are written. Null: nobody needs them, and nothing
///               is asked. The forecast costs one to three ioctls.
/// \par Errors
/// - `errc::badf`: `in` or `vm` is empty
/// - each error of `group_file::open`, `group_file::join`, `group_in_container::set_iommu`,
///   `group_with_iommu::attach` and `attached_group::open_device`
template <system System>
[[nodiscard]] result<device<System>> plug_from_group(int number, const char* name,
                                                     const container<System>& in,
                                                     const vm_files<System>& vm,
                                                     plug_report* report = nullptr) noexcept {
  const auto begin = [report](native::operation step) noexcept {
    if (report) report->step = step;
  };
  if (report) *report = {native::operation::open_group};
  if (!in || !vm) return errc::badf;
  return group_file<System>::open(number, in.view().system_calls())
      .and_then([&](group_file<System> g) noexcept {
        begin(native::operation::set_container);
        return static_cast<group_file<System>&&>(g).join(in);
      })
      .and_then([&](group_in_container<System> g) noexcept {
        begin(native::operation::set_iommu);
        return static_cast<group_in_container<System>&&>(g).set_iommu();
      })
      .and_then([&](group_with_iommu<System> g) noexcept {
        if (report) report->forecast = g.forecast();
        begin(native::operation::file_add);
        return static_cast<group_with_iommu<System>&&>(g).attach(vm);
      })
      .and_then([&](attached_group<System> g) noexcept {
        begin(native::operation::get_device);
        return g.open_device(name);
      });
}

/// Gives a device with a file of its own to a VM: opens the file, attaches it to the VM, binds it
/// to the iommufd of an address space and attaches it to the address space. If a step fails, the
/// earlier steps are undone.
/// \param number the N in /dev/vfio/devices/vfioN
/// \param in     the address space, which other devices may share
/// \param vm     the files of the VM
/// \param report where the step and the forecast are written. Null: nobody needs them, and nothing
///               is asked. The forecast reads sysfs.
/// \par Errors
/// - `errc::badf`: `in` or `vm` is empty
/// - each error of `device_file::open`, `device_file::attach`, `attached_device_file::bind` and
///   `bound_device::attach_to_space`
template <system System>
[[nodiscard]] result<device<System>> plug_device_file(int number, const address_space<System>& in,
                                                      const vm_files<System>& vm,
                                                      plug_report* report = nullptr) noexcept {
  const auto begin = [report](native::operation step) noexcept {
    if (report) report->step = step;
  };
  if (report) *report = {native::operation::open_device};
  if (!in || !vm) return errc::badf;
  const System on = in.view().system_calls();
  if (report) report->forecast = device_file<System>::forecast(number, on);
  return device_file<System>::open(number, on)
      .and_then([&](device_file<System> d) noexcept {
        begin(native::operation::file_add);
        return static_cast<device_file<System>&&>(d).attach(vm);
      })
      .and_then([&](attached_device_file<System> d) noexcept {
        begin(native::operation::bind_iommufd);
        return static_cast<attached_device_file<System>&&>(d).bind(in);
      })
      .and_then([&](bound_device<System> d) noexcept {
        begin(native::operation::attach_iommufd_pt);
        return static_cast<bound_device<System>&&>(d).attach_to_space();
      });
}

}  // namespace kvm_vfio::client
