// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The concepts that a policy of `device` must model. A comment at each requirement says what the
/// device expects. All operations are noexcept. The device calls them in the order in which the
/// kernel's kvm-vfio calls its own functions.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>     // IWYU pragma: export
#include <kvm_vfio/profile.hpp>  // IWYU pragma: export
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/symbols.hpp>  // IWYU pragma: export
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

/// A value that names an object of the system: an open file, a VM or an IOMMU group. A handle is
/// cheap to copy. The concept asks for less than std::regular does, because std::regular adds 2 ms
/// to the compile time of each file that includes this header.
template <class T>
concept handle = requires(T& to, const T& from) {
  // A value-initialised handle names nothing.
  { T() } noexcept;
  // A copy names the same object as the original.
  { T(from) } noexcept;
  { to = from } noexcept;
  // True if both handles name the same object.
  { from == from } noexcept -> std::same_as<bool>;
};

/// Returns the number by which the list of tracked files finds a pointer in its index. The author
/// of another handle type may write a function of this name for that type: a hidden friend, or a
/// function in the namespace of the type. `hashable_file` says what that function must return.
template <class T>
[[nodiscard]] constexpr std::uint64_t identity_hash(T* const& p) noexcept {
  if (std::is_constant_evaluated()) return 0;  // constant evaluation has no addresses
  return reinterpret_cast<std::uintptr_t>(p);
}
/// Returns the value of an integer handle: the list finds the handle by this value in its index.
template <std::integral T>
[[nodiscard]] constexpr std::uint64_t identity_hash(const T& n) noexcept {
  return static_cast<std::uint64_t>(n);
}

/// A file handle that has an `identity_hash`. With it, a list can find a file by an index. Without
/// it, the list compares a file with each tracked file, as the kernel does.
template <class F>
concept hashable_file = handle<F> && requires(const F& file) {
  // Equal handles give equal numbers, and a handle keeps its number while its file is tracked.
  // Look-up is fastest if few files share a number. It does not matter in which bits the numbers
  // differ.
  { identity_hash(file) } noexcept -> std::same_as<std::uint64_t>;
};

/// The functions of VFIO that kvm-vfio calls.
template <class S>
concept symbol_provider =
    symbol_lookup<S> &&
    // Names an open file description. Two handles are equal if they name the same open file, even
    // if they come from different descriptors.
    handle<typename S::file> &&
    // Names a VM. A value-initialised handle means "no VM".
    handle<typename S::vm> &&
    requires(S& vfio, const typename S::file& file, const typename S::vm& vm) {
      // True if the file is a VFIO file (vfio_file_is_valid). The device does not hold its lock
      // during this call.
      { vfio.file_is_valid(file) } noexcept -> std::same_as<bool>;
      // Tells VFIO the VM of the file (vfio_file_set_kvm). The empty handle tells VFIO that the
      // file has no VM any more.
      { vfio.file_set_kvm(file, vm) } noexcept;
      // The kernel's function cannot fail and returns void. A provider whose function can fail
      // returns errc.
      requires std::same_as<decltype(vfio.file_set_kvm(file, vm)), void> ||
                   std::same_as<decltype(vfio.file_set_kvm(file, vm)), errc>;
      // True if the IOMMU ignores no-snoop for all DMA of this file (vfio_file_enforced_coherent).
      { vfio.file_enforced_coherent(file) } noexcept -> std::same_as<bool>;
    };

/// A symbol provider that reports when its answers about coherency may have changed. The device
/// then asks only the files whose answer it does not know, and still asks in the kernel's order.
template <class S>
concept epoch_symbol_provider = symbol_provider<S> && requires(S& vfio) {
  // Returns a number, the epoch. If the answer of `file_enforced_coherent` may have changed for
  // some file, the epoch gets a value that it never had before. (A missing symbol counts as the
  // answer false.) Epoch and answers change together: a thread that can see the change of one can
  // also see the change of the other. A provider can do this in two ways. It keeps both in one
  // atomic. Or it changes both under a lock that `file_enforced_coherent` and this function also
  // take. The device holds its own lock when it calls this function.
  { vfio.coherency_epoch() } noexcept -> std::same_as<std::uint64_t>;
};

/// The symbol provider for a profile whose kvm-vfio accepts group files only (Linux 6.1).
template <class S>
concept group_symbol_provider =
    symbol_provider<S> && requires(S& vfio, const typename S::file& file) {
      // True if the file is a group file (vfio_file_is_group). The device calls this function in
      // place of file_is_valid.
      { vfio.file_is_group(file) } noexcept -> std::same_as<bool>;
    };

/// The symbol provider for sPAPR, which also finds the IOMMU group of a file.
template <class S>
concept spapr_symbol_provider =  //
    symbol_provider<S> && handle<typename S::iommu_group> &&
    requires(S& vfio, const typename S::file& file) {
      // Returns the file's IOMMU group with a reference on it, or the empty handle if there is none
      // (vfio_file_iommu_group). The device gives the reference back with the backend's
      // iommu_group_put.
      { vfio.file_iommu_group(file) } noexcept -> std::same_as<typename S::iommu_group>;
    };

/// The IOMMU backend: the part of KVM that depends on the architecture. The device tells the
/// backend whether a VM has noncoherent DMA.
template <class I, class Vm>
concept iommu_backend = requires(I& iommu, const Vm& vm) {
  // Tells KVM that a tracked file is noncoherent now, and that none was before
  // (kvm_arch_register_noncoherent_dma). The first call of a device is a call of this function.
  // After that, a device calls unregister_noncoherent_dma and this function alternately.
  { iommu.register_noncoherent_dma(vm) } noexcept;
  // Tells KVM that no tracked file is noncoherent any more (kvm_arch_unregister_noncoherent_dma).
  { iommu.unregister_noncoherent_dma(vm) } noexcept;
};

/// The IOMMU backend for releases that count assignments (Linux 6.1 and 6.12).
template <class I, class Vm>
concept assignment_backend = iommu_backend<I, Vm> && requires(I& iommu, const Vm& vm) {
  // Tells KVM that a file was assigned to the VM (kvm_arch_start_assignment).
  { iommu.start_assignment(vm) } noexcept;
  // Tells KVM that a file is no longer assigned to the VM (kvm_arch_end_assignment).
  { iommu.end_assignment(vm) } noexcept;
};

/// The two warnings of the kernel's kvm-vfio. The kernel prints each warning at most once.
enum class spapr_warning : unsigned char {
  /// Attribute 3 is set on a file that has no IOMMU group.
  attach_without_iommu_group,
  /// A file is removed whose IOMMU group the device does not hold, for example because attribute 3
  /// was never set on the file.
  release_without_iommu_group,
};

/// The IOMMU backend for POWER, which connects groups to TCE tables. A device has attribute 3,
/// GROUP_SET_SPAPR_TCE, only if its backend models this concept.
template <class I, class Vm>
concept spapr_backend =  //
    iommu_backend<I, Vm> && handle<typename I::iommu_group> &&
    requires(I& iommu, const Vm& vm, int tablefd, const typename I::iommu_group& group,
             spapr_warning warning) {
      // Attaches the group to the VM's TCE table that `tablefd` refers to
      // (kvm_spapr_tce_attach_iommu_group). Returns ok, badf, inval, fault, notty or nomem.
      { iommu.spapr_tce_attach(vm, tablefd, group) } noexcept -> std::same_as<errc>;
      // Detaches the group from every TCE table of the VM (kvm_spapr_tce_release_iommu_group).
      { iommu.spapr_tce_release(vm, group) } noexcept;
      // Gives back the reference that file_iommu_group took (iommu_group_put).
      { iommu.iommu_group_put(group) } noexcept;
      // The device calls this function at each place where the kernel warns. The backend decides
      // how often it prints the warning.
      { iommu.warn(warning) } noexcept;
    };

/// The files policy of a device. The policy takes references on open files and gives them back.
template <class R, class File>
concept file_references = requires(R& files, const R& from, const File& file) {
  // Copies the policy. The copy may give back references that the original took, and the original
  // may give back references that the copy took.
  { R(from) } noexcept;
  // Takes one more reference and returns the handle to keep (get_file). The kernel's function
  // cannot fail. A policy that makes a descriptor for each reference can fail with mfile.
  { files.get_file(file) } noexcept -> std::same_as<result<File>>;
  // Gives one reference back (fput).
  { files.fput(file) } noexcept;
};

/// A files policy for handles that own nothing. It counts no references.
template <class File>
struct unowned_files {
  /// Returns the handle `file` itself. Never fails.
  constexpr result<File> get_file(const File& file) noexcept { return file; }
  /// Does nothing, because a handle owns nothing.
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

/// The files policy that belongs to a symbol provider. It is the provider's type `files` if there
/// is one, because then the handles own something. Otherwise it is `unowned_files`.
template <class S>
using default_files = typename detail::default_files<S>::type;

/// A task whose descriptors the device can look up.
template <class T, class File>
concept file_table = requires(T& task, int fd) {
  // Returns the open file behind a descriptor, with a reference (fget). Returns badf if the
  // descriptor is not open, is negative, or was opened with O_PATH. A task that makes a descriptor
  // for each reference can also return mfile.
  { task.fget(fd) } noexcept -> std::same_as<result<File>>;
};

/// A task whose descriptors can also be looked up without taking a reference, which costs less. The
/// device calls `fdget` for FILE_DEL and for attribute 3, because these two need no reference after
/// the call.
template <class T, class File>
concept borrowing_file_table = file_table<T, File> && requires(T& task, int fd) {
  // Returns the open file behind a descriptor (fdget). The file stays open until the call ends.
  // Returns badf if `fget` does. `fdget` needs no free descriptor, so it never returns mfile.
  { task.fdget(fd) } noexcept -> std::same_as<result<File>>;
};

/// A task whose memory the device can read.
template <class M>
concept user_memory =
    requires(M& task, std::uint64_t address, std::int32_t& fd, kvm_vfio_spapr_tce& tce) {
      // Copies an object from the task's memory (copy_from_user). Returns false if any byte cannot
      // be read. The object's value is then unspecified.
      { task.copy_from_user(address, fd) } noexcept -> std::same_as<bool>;
      { task.copy_from_user(address, tce) } noexcept -> std::same_as<bool>;
    };

/// The task in whose context a call runs (the kernel's `current`). A descriptor or an address has a
/// meaning only in one task. Therefore the task is an argument of each call, not a part of the
/// device.
template <class C, class File>
concept caller = file_table<C, File> && user_memory<C>;

}  // namespace kvm_vfio
