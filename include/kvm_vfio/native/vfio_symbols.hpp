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
  // The file's container, or an iommufd that stands in for one; the empty one: it is in none.
  // An error: not known.
  { containers(f) } noexcept -> std::same_as<result<vfio::container_ref>>;
};

/// All groups are in one container, as in most VMMs.
struct one_container {
  /// That container; borrowed. Empty: not known.
  vfio::container_ref container;
  /// The same for every group. A device's file is bound to an iommufd, not to a container.
  /// \return noent: not known, and of a device's file
  [[nodiscard]] result<vfio::container_ref> operator()(const file& f) const noexcept {
    if (container.fd() < 0 || vfio_kind_of(f.fd) == vfio_file_kind::device) return errc::noent;
    return container;
  }
};
static_assert(container_lookup<one_container>);

/// A symbol provider for one VM, over its kvm-vfio device and VFIO's containers. Stateless but for
/// what it was made from; allocates nothing.
///
/// Its symbols are never missing: an open VFIO file keeps VFIO loaded, and for any other file the
/// answers are those of a missing symbol.
///
/// \tparam Kernel     the kvm-vfio device: `kvm_vfio_device_ref`, or a model in tests
/// \tparam Containers which container a file is in
/// \tparam Profile    the Linux release, the same as the device's
template <endpoint Kernel = kvm_vfio_device_ref, container_lookup Containers = one_container,
          profile Profile = linux_7_3>
class vfio_symbols : public linked_symbols {
 public:
  using file = native::file;
  using vm = vm_ref;
  /// The kernel gives user space no IOMMU groups; the group's file stands in for it.
  using iommu_group = native::file;
  /// A handle is a descriptor, so a device keeps one of its own for each file.
  using files = held_files;

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
  /// That somebody else took the file out before is no error: it is out.
  /// \return the kernel's answer; exists: tracked already, by somebody else
  [[nodiscard]] errc file_set_kvm(const file& f, const vm& owner) noexcept {
    if (owner != vm()) return file_add(device_, f.fd);
    const errc answer = file_del(device_, f.fd);
    return answer == errc::noent ? errc::ok : answer;
  }
  /// VFIO_DMA_CC_IOMMU of the file's container. False, which is safe, when the container is not
  /// known or does not answer: for a device that is bound to an iommufd the kernel offers no such
  /// query. Of a file in no container the answer depends on the release: false, on Linux 6.1 true.
  [[nodiscard]] bool file_enforced_coherent(const file& f) noexcept {
    const result<vfio::container_ref> container = containers_(f);
    if (!container) return false;
    if (container->fd() < 0) return Profile::group_without_container_is_coherent;
    const result<bool> coherent = container->check_extension(VFIO_DMA_CC_IOMMU);
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

/// From an owner, its view: the device must stay open.
template <class Owner>
  requires requires(const Owner& device) { device.borrow(); }
vfio_symbols(const Owner& device) -> vfio_symbols<decltype(device.borrow())>;
/// The same, with the VMM's look-up of containers.
template <class Owner, container_lookup Containers>
  requires requires(const Owner& device) { device.borrow(); }
vfio_symbols(const Owner& device, const Containers&)
    -> vfio_symbols<decltype(device.borrow()), Containers>;

}  // namespace kvm_vfio::native
