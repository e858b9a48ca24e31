// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A symbol provider that makes real ioctls. With it, the model keeps track of the files of a VM
/// and drives the VM's real kvm-vfio device.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/vfio.hpp>
#include <kvm_vfio/native/vfio_file.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <concepts>

namespace kvm_vfio::native {

/// Finds the container of a tracked group. The VMM knows it; the kernel cannot be asked.
template <class C>
concept container_lookup = requires(C& containers, const file& f) {
  // Returns the container of the file, or an iommufd that acts as a container. The empty view means
  // that the file is in no container. An error means that the container is not known.
  { containers(f) } noexcept -> std::same_as<result<vfio::container_ref>>;
};

/// A look-up for a VMM that puts all groups into one container, as most do.
struct one_container {
  /// The container, not owned. If it is empty, the container is not known.
  vfio::container_ref container;
  /// Returns the one container for every group. A device file has no container: it is bound to an
  /// iommufd.
  /// \par Errors
  /// - `errc::noent`: the container is not known, or `f` is a device file
  [[nodiscard]] result<vfio::container_ref> operator()(const file& f) const noexcept {
    if (container.fd() < 0 || vfio_kind_of(f.fd) == vfio_file_kind::device) return errc::noent;
    return container;
  }
};
static_assert(container_lookup<one_container>);

/// A symbol provider for one VM. It uses the VM's kvm-vfio device and VFIO's containers. It has no
/// state except for these, and allocates nothing.
///
/// The symbols are never missing. An open VFIO file keeps VFIO loaded. For any other file, the
/// functions return the kernel's answers for a missing symbol.
///
/// \tparam Kernel     the kvm-vfio device: `kvm_vfio_device_ref`, or a model in tests
/// \tparam Containers finds the container of a file
/// \tparam Profile    the Linux release; must be the profile of the `device`
template <endpoint Kernel = kvm_vfio_device_ref, container_lookup Containers = one_container,
          profile Profile = linux_7_3>
class vfio_symbols : public linked_symbols {
 public:
  /// The handle of a VFIO file: a descriptor.
  using file = native::file;
  /// The handle of a VM: a descriptor of the VM.
  using vm = vm_ref;
  /// The group's file takes the place of the IOMMU group, which user space cannot name.
  using iommu_group = native::file;
  /// The handles are descriptors. So the device needs a descriptor of its own for each file.
  using files = held_files;

  /// Makes a provider for the VM of `device`, which must stay open as long as the provider is used.
  explicit vfio_symbols(const Kernel& device, const Containers& containers = {}) noexcept
      : device_(device), containers_(containers) {}

  /// Returns false if the file is certainly not a VFIO file. Returns true for
  /// `vfio_file_kind::unknown`, because the kernel refuses FILE_ADD later if it is not. Reads at
  /// most two links.
  [[nodiscard]] bool file_is_valid(const file& f) const noexcept {
    return vfio_kind_of(f.fd) != vfio_file_kind::none;
  }
  /// Returns false if the file is certainly not a group. On Linux 6.1 kvm-vfio accepts groups only.
  [[nodiscard]] bool file_is_group(const file& f) const noexcept {
    const vfio_file_kind kind = vfio_kind_of(f.fd);
    return kind == vfio_file_kind::group || kind == vfio_file_kind::unknown;
  }
  /// Calls FILE_ADD on the VM's kvm-vfio device, or FILE_DEL if `owner` is no VM. Makes one ioctl.
  /// FILE_DEL succeeds, too, if another caller has deleted the file before.
  /// \par Errors
  /// - `errc::exists`: another caller added the file
  /// - each other error of `file_add` or `file_del`
  [[nodiscard]] errc file_set_kvm(const file& f, const vm& owner) noexcept {
    if (owner != vm()) return file_add(device_, f.fd);
    const errc answer = file_del(device_, f.fd);
    return answer == errc::noent ? errc::ok : answer;
  }
  /// Returns whether the file's container has the extension VFIO_DMA_CC_IOMMU. Returns false, which
  /// is safe, if the container is not known or does not answer. The kernel has no such query for a
  /// device that is bound to an iommufd. For a file in no container, returns true on Linux 6.1 and
  /// false on later releases.
  [[nodiscard]] bool file_enforced_coherent(const file& f) noexcept {
    const result<vfio::container_ref> container = containers_(f);
    if (!container) return false;
    if (container->fd() < 0) return Profile::group_without_container_is_coherent;
    const result<bool> coherent = container->check_extension(VFIO_DMA_CC_IOMMU);
    return coherent && *coherent;
  }
  /// Returns the file itself, which the caller's entry keeps open. If the file is a device file, it
  /// has no IOMMU group. The kernel reports that itself when a table is attached.
  [[nodiscard]] iommu_group file_iommu_group(const file& f) const noexcept { return f; }

 private:
  Kernel device_;
  Containers containers_;
};
static_assert(group_symbol_provider<vfio_symbols<>> && spapr_symbol_provider<vfio_symbols<>>);

/// Makes a provider from an owner of a kvm-vfio device, which must stay open. The provider keeps a
/// view.
template <class Owner>
  requires requires(const Owner& device) { device.borrow(); }
vfio_symbols(const Owner& device) -> vfio_symbols<decltype(device.borrow())>;
/// Makes a provider from an owner of a kvm-vfio device and the VMM's look-up of containers. The
/// device must stay open. The provider keeps a view.
template <class Owner, container_lookup Containers>
  requires requires(const Owner& device) { device.borrow(); }
vfio_symbols(const Owner& device, const Containers&)
    -> vfio_symbols<decltype(device.borrow()), Containers>;

}  // namespace kvm_vfio::native
