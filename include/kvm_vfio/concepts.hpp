// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The contracts between `device` and its policies. Each requirement says what it means; every
/// operation is noexcept and is called in the order that the kernel calls its own.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/symbols.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

/// A value that names something of somebody else's: an open file, a VM, an IOMMU group. Cheap to
/// copy. A regular type, said without std::regular, which costs each user of a handle 2 ms.
template <class T>
concept handle = requires(T& to, const T& from) {
  // Made from nothing, it names nothing.
  { T() } noexcept;
  // A copy names the same.
  { T(from) } noexcept;
  { to = from } noexcept;
  // Whether both name the same.
  { from == from } noexcept -> std::same_as<bool>;
};

/// The number by which a pointer or an integer is found. A handle of another type may offer one
/// too: a function of this name beside the type (a hidden friend), as `hashable_file` says.
template <class T>
[[nodiscard]] constexpr std::uint64_t identity_hash(T* const& p) noexcept {
  if (std::is_constant_evaluated()) return 0;  // no addresses there
  return reinterpret_cast<std::uintptr_t>(p);
}
/// An integer's is its value.
template <std::integral T>
[[nodiscard]] constexpr std::uint64_t identity_hash(const T& n) noexcept {
  return static_cast<std::uint64_t>(n);
}

/// A file handle that can be found without comparing it with every other. Files without one are
/// looked for one by one, as the kernel does.
template <class F>
concept hashable_file = handle<F> && requires(const F& file) {
  // The same number for equal handles, and for one handle each time while the file is tracked. The
  // fewer different files share a number, the faster; how its bits are distributed is no matter.
  { identity_hash(file) } noexcept -> std::same_as<std::uint64_t>;
};

/// VFIO, as KVM sees it.
template <class S>
concept symbol_provider =
    symbol_lookup<S> &&
    // Names an open file description: equal handles are the same open file, however many
    // descriptors refer to it.
    handle<typename S::file> &&
    // Names a VM; the empty one is "no VM".
    handle<typename S::vm> &&
    requires(S& vfio, const typename S::file& file, const typename S::vm& vm) {
      // Is it a VFIO file (vfio_file_is_valid)? Asked without the device's lock.
      { vfio.file_is_valid(file) } noexcept -> std::same_as<bool>;
      // The file belongs to this VM from now on, or to none (vfio_file_set_kvm).
      { vfio.file_set_kvm(file, vm) } noexcept;
      // The kernel's cannot fail; one over real ioctls may, and then answers with an errc.
      requires std::same_as<decltype(vfio.file_set_kvm(file, vm)), void> ||
                   std::same_as<decltype(vfio.file_set_kvm(file, vm)), errc>;
      // Does the IOMMU ignore no-snoop for all DMA of this file (vfio_file_enforced_coherent)?
      { vfio.file_enforced_coherent(file) } noexcept -> std::same_as<bool>;
    };

/// VFIO that can say when its answers about coherency may have changed. The device then asks only
/// the files whose answer it does not know, in the kernel's order still.
template <class S>
concept epoch_symbol_provider = symbol_provider<S> && requires(S& vfio) {
  // A number that was never given before whenever file_enforced_coherent could answer otherwise
  // than before about any file, the symbol's absence counting as a no. It changes after the
  // answers do, and before anybody can learn that they did: both are one atomic, or change under a
  // lock that those who ask take. Asked with the device's lock held.
  { vfio.coherency_epoch() } noexcept -> std::same_as<std::uint64_t>;
};

/// VFIO of Linux 6.1, which knows group files only.
template <class S>
concept group_symbol_provider =
    symbol_provider<S> && requires(S& vfio, const typename S::file& file) {
      // Is it a VFIO group file (vfio_file_is_group)? Takes file_is_valid's place.
      { vfio.file_is_group(file) } noexcept -> std::same_as<bool>;
    };

/// VFIO on sPAPR.
template <class S>
concept spapr_symbol_provider =  //
    symbol_provider<S> && handle<typename S::iommu_group> &&
    requires(S& vfio, const typename S::file& file) {
      // The file's IOMMU group with a reference on it, or the empty handle
      // (vfio_file_iommu_group). The reference goes back through the backend's iommu_group_put.
      { vfio.file_iommu_group(file) } noexcept -> std::same_as<typename S::iommu_group>;
    };

/// What the architecture's KVM does about devices that bypass its caches.
template <class I, class Vm>
concept iommu_backend = requires(I& iommu, const Vm& vm) {
  // The VM has noncoherent DMA from now on (kvm_arch_register_noncoherent_dma). Alternates
  // strictly with the next one, for each device.
  { iommu.register_noncoherent_dma(vm) } noexcept;
  // It has none through this device any more (kvm_arch_unregister_noncoherent_dma).
  { iommu.unregister_noncoherent_dma(vm) } noexcept;
};

/// The backend of kernels that count assigned devices (up to Linux 6.12).
template <class I, class Vm>
concept assignment_backend = iommu_backend<I, Vm> && requires(I& iommu, const Vm& vm) {
  // A file is assigned to the VM (kvm_arch_start_assignment).
  { iommu.start_assignment(vm) } noexcept;
  // It is not any more (kvm_arch_end_assignment).
  { iommu.end_assignment(vm) } noexcept;
};

/// Where the kernel warns, once in its life for each of these.
enum class spapr_warning : unsigned char {
  attach_without_iommu_group,   ///< attribute 3 on a file that has no IOMMU group
  release_without_iommu_group,  ///< an entry goes whose attribute 3 was never set
};

/// The backend of POWER: guest-visible TCE tables. Its presence makes attribute 3 exist.
template <class I, class Vm>
concept spapr_backend =  //
    iommu_backend<I, Vm> && handle<typename I::iommu_group> &&
    requires(I& iommu, const Vm& vm, int tablefd, const typename I::iommu_group& group,
             spapr_warning warning) {
      // Attaches the group to the VM's TCE table behind the descriptor
      // (kvm_spapr_tce_attach_iommu_group): badf, inval, fault, notty, nomem or ok.
      { iommu.spapr_tce_attach(vm, tablefd, group) } noexcept -> std::same_as<errc>;
      // Detaches the group from every table of the VM (kvm_spapr_tce_release_iommu_group).
      { iommu.spapr_tce_release(vm, group) } noexcept;
      // Gives the reference of file_iommu_group back (iommu_group_put).
      { iommu.iommu_group_put(group) } noexcept;
      // The kernel would warn here. Called each time; printing it once is the backend's business.
      { iommu.warn(warning) } noexcept;
    };

/// References on open files.
template <class R, class File>
concept file_references = requires(R& files, const R& from, const File& file) {
  // A copy counts the same references.
  { R(from) } noexcept;
  // One more reference, and the handle to keep (get_file). The kernel's cannot fail; one over
  // descriptors may (mfile).
  { files.get_file(file) } noexcept -> std::same_as<result<File>>;
  // One reference less (fput).
  { files.fput(file) } noexcept;
};

/// The files policy of users whose file handles own nothing: references are not counted.
template <class File>
struct unowned_files {
  constexpr result<File> get_file(const File& file) noexcept { return file; }
  constexpr void fput(const File&) noexcept {}
};
static_assert(file_references<unowned_files<int>, int>);

namespace detail {
template <class S>
struct default_files {
  using type = unowned_files<typename S::file>;
};
template <class S>
  requires requires { typename S::files; }
struct default_files<S> {
  using type = typename S::files;
};
}  // namespace detail

/// The files policy that goes with a symbol provider: its `files` if it names one, because its
/// handles own something, else `unowned_files`.
template <class S>
using default_files = typename detail::default_files<S>::type;

/// The descriptors of a task.
template <class T, class File>
concept file_table = requires(T& task, int fd) {
  // The open file behind a descriptor, with a reference (fget); badf when it is not open,
  // negative or O_PATH.
  { task.fget(fd) } noexcept -> std::same_as<result<File>>;
};

/// Descriptors that can be looked up without a reference, where that costs less. The device then
/// does so for what keeps no reference either: FILE_DEL and attribute 3.
template <class T, class File>
concept borrowing_file_table = file_table<T, File> && requires(T& task, int fd) {
  // The open file behind a descriptor, which stays open for the length of the call (fdget). Fails
  // as fget, but for want of no descriptor.
  { task.fdget(fd) } noexcept -> std::same_as<result<File>>;
};

/// The memory of a task.
template <class M>
concept user_memory =
    requires(M& task, std::uint64_t address, std::int32_t& fd, kvm_vfio_spapr_tce& tce) {
      // Copies an object from the task's memory; false when any byte of it cannot be read, and the
      // object's value is unspecified then (copy_from_user).
      { task.copy_from_user(address, fd) } noexcept -> std::same_as<bool>;
      { task.copy_from_user(address, tce) } noexcept -> std::same_as<bool>;
    };

/// The task in whose context a call runs: the kernel's `current`. Descriptors and addresses mean
/// something only there, so it comes with each call, not with the device.
template <class C, class File>
concept caller = file_table<C, File> && user_memory<C>;

}  // namespace kvm_vfio
