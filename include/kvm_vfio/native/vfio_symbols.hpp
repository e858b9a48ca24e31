// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// VFIO as the model sees it, over real ioctls: the device model tracks the files of a VM whose
/// kernel device it drives.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_file.hpp>
#include <kvm_vfio/profile.hpp>

#include <concepts>

namespace kvm_vfio::native {

/// Which container a tracked file's group is in: the VMM knows, the kernel does not say.
template <class C>
concept container_lookup = requires(C& containers, const file& f) {
  // The file's container, or an iommufd that stands in for one; empty: not known.
  { containers(f) } noexcept -> std::same_as<vfio::container_ref>;
};

/// All groups are in one container, as in most VMMs.
struct one_container {
  /// That container; borrowed.
  vfio::container_ref container;
  /// The same for every file.
  [[nodiscard]] vfio::container_ref operator()(const file&) const noexcept { return container; }
};
static_assert(container_lookup<one_container>);

/// A symbol provider for one VM, over its kvm-vfio device and VFIO's containers. Stateless but for
/// what it was made from; allocates nothing.
///
/// Its symbols are never missing: an open VFIO file keeps VFIO loaded, and for any other file the
/// answers are those of a missing symbol.
///
/// \tparam Kernel     the kvm-vfio device: `vfio_device_ref`, or a model in tests
/// \tparam Containers which container a file is in
/// \tparam Profile    the kernel generation, the same as the device's
template <endpoint Kernel = vfio_device_ref, container_lookup Containers = one_container,
          profile Profile = linux_7_3>
class vfio_symbols : public linked_symbols {
 public:
  using file = native::file;
  using vm = vm_ref;
  /// The kernel gives user space no IOMMU groups; the group's file stands in for it.
  using iommu_group = native::file;

  /// `device` must stay open as long as this is used.
  explicit vfio_symbols(const Kernel& device, const Containers& containers = {}) noexcept
      : device_(device), containers_(containers) {}

  /// Whether it can be a VFIO file: `vfio_file_kind::unknown` counts, because FILE_ADD is refused
  /// by the kernel if it is none. Reads two links at the most.
  [[nodiscard]] bool file_is_valid(const file& f) const noexcept {
    return vfio_kind_of(f.fd) != vfio_file_kind::none;
  }
  /// The same for Linux 6.1, whose kvm-vfio takes groups only.
  [[nodiscard]] bool file_is_group(const file& f) const noexcept {
    const vfio_file_kind kind = vfio_kind_of(f.fd);
    return kind == vfio_file_kind::group || kind == vfio_file_kind::unknown;
  }
  /// FILE_ADD to the VM's kvm-vfio device, or FILE_DEL for no VM. One ioctl.
  /// \return the kernel's answer; exists: tracked already, by somebody else
  [[nodiscard]] errc file_set_kvm(const file& f, const vm& owner) noexcept {
    return owner == vm() ? file_del(device_, f.fd) : file_add(device_, f.fd);
  }
  /// VFIO_DMA_CC_IOMMU of the file's container. False, which is safe, when it does not answer: for
  /// a device that is bound to an iommufd the kernel offers no such query. Without a container the
  /// answer is the generation's own: false, or on Linux 6.1 true.
  [[nodiscard]] bool file_enforced_coherent(const file& f) noexcept {
    const vfio::container_ref container = containers_(f);
    if (container.fd() < 0) return Profile::group_without_container_is_coherent;
    const result<bool> coherent = container.check_extension(VFIO_DMA_CC_IOMMU);
    return coherent && *coherent;
  }
  /// sPAPR: the file, kept open by the entry that asks. That a device's file has no IOMMU group the
  /// kernel says itself, when a table is attached.
  [[nodiscard]] iommu_group file_iommu_group(const file& f) const noexcept { return f; }

 private:
  Kernel device_;
  Containers containers_;
};
static_assert(group_symbol_provider<vfio_symbols<>> && spapr_symbol_provider<vfio_symbols<>>);

}  // namespace kvm_vfio::native
