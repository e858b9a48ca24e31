// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The model of the kvm-vfio device, which calls its policies in the kernel's order.

#include <kvm_vfio/coherency.hpp>
#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/attributes.hpp>
#include <kvm_vfio/detail/looked_up.hpp>
#include <kvm_vfio/detail/policies.hpp>
#include <kvm_vfio/detail/published.hpp>
#include <kvm_vfio/detail/vfio_calls.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/file_list.hpp>
#include <kvm_vfio/heap_storage.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstddef>
#include <type_traits>

namespace kvm_vfio {

/// The model of the kvm-vfio device of one VM (virt/kvm/vfio.c).
///
/// All functions are noexcept. If `Lock` is a real lock, several threads may call the functions at
/// the same time, except for the constructors and the destructor. If two devices share a policy
/// object, the object must synchronise itself, because each device has a lock of its own.
///
/// The device holds its lock when it calls a policy. There are four exceptions, which the device
/// calls without its lock:
/// - `file_is_valid` (Linux 6.1: `file_is_group`), and the look-up of this symbol
/// - the functions of the calling task, for example `fget`
/// - the `get_file` with which a call takes a reference on its argument, and the `fput` with which
///   the call gives this reference back
/// - the policies that the destructor calls; the comment of the destructor names one exception
///
/// \tparam Symbols the symbol provider (VFIO's functions)
/// \tparam Lock    the lock; a reference type if the device does not own it
/// \tparam Iommu   the IOMMU backend; with a `spapr_backend` the device has attribute 3
/// \tparam Profile the Linux release
/// \tparam Storage where the entries of tracked files live; each successful ADD allocates one entry
/// \tparam Files   the references on open files
template <symbol_provider Symbols, lockable Lock, iommu_backend<typename Symbols::vm> Iommu,
          profile Profile = linux_7_3, storage Storage = heap_storage,
          file_references<typename Symbols::file> Files = default_files<Symbols>>
class device {
 public:
  /// The symbol provider's handle of a file.
  using file = typename Symbols::file;
  /// The symbol provider's handle of a VM.
  using vm_handle = typename Symbols::vm;
  /// Whether the device has attribute 3, GROUP_SET_SPAPR_TCE.
  static constexpr bool spapr = detail::policies<Symbols, Iommu, Profile>::spapr;
  /// Whether a coherency update asks each file at most once in an epoch. If this is false, each
  /// update asks the files in order up to the first noncoherent one, as the kernel does.
  static constexpr bool coherency_epoch = epoch_symbol_provider<Symbols>;
  /// Whether the device finds a tracked file in constant time; see `file_list`.
  static constexpr bool indexed = has_index<file, Storage>;

  /// Makes a device of `vm` that tracks no file. Allocates nothing and calls no policy. `symbols`,
  /// `iommu` and a lock given by reference must outlive the device.
  constexpr device(Symbols& symbols, Lock&& lock, Iommu& iommu, const vm_handle& vm, Profile = {},
                   const Storage& storage = {}, const Files& files = {}) noexcept
      : vfio_(symbols),
        iommu_(iommu),
        vm_(vm),
        lock_(static_cast<Lock&&>(lock)),
        files_(files),
        tracked_(storage) {}
  /// Makes a device of `vm` that tracks no file. The device makes its lock itself. So this
  /// constructor also works with a lock type that cannot be moved. `symbols` and `iommu` must
  /// outlive the device.
  constexpr device(Symbols& symbols, Iommu& iommu, const vm_handle& vm, Profile = {},
                   const Storage& storage = {}, const Files& files = {}) noexcept
      : vfio_(symbols), iommu_(iommu), vm_(vm), files_(files), tracked_(storage) {}
  device(const device&) = delete;
  device& operator=(const device&) = delete;

  /// Releases every file in insertion order, then updates coherency once (kvm_vfio_release).
  /// Ignores errors of `file_set_kvm`. The destructor takes no lock, because no other thread can
  /// reach the device. There is one exception: if the profile's `updates_coherency_apart` is true,
  /// the destructor takes the lock for the update of coherency, as the kernel does.
  constexpr ~device() {
    while (entry* e = tracked_.first()) {
      release_iommu_group(*e);
      (void)vfio_.set_kvm(e->file, vm_handle{});
      files_.fput(e->file);
      tracked_.unlink(*e);
      tracked_.destroy(*e);
      end_assignment();
    }
    if constexpr (Profile::updates_coherency_apart) {
      guard held(lock_.get());
      update_coherency();
    } else {
      update_coherency();
    }
  }

  /// FILE_ADD: tracks a file (kvm_vfio_file_add). Allocates one entry. A failed call changes
  /// nothing. With `indexed` and `coherency_epoch` the call takes constant time, except for the
  /// first one in an epoch. Otherwise the time is linear in the number of tracked files.
  /// \par Errors
  /// - `errc::inval`: the file is not a VFIO file, or the symbol of `file_is_valid` (Linux 6.1: of
  ///   `file_is_group`) is missing
  /// - `errc::exists`: the device tracks the file already
  /// - `errc::nomem`: no memory
  /// - each error of `get_file` (files policy) and of `file_set_kvm` (symbol provider)
  [[nodiscard]] constexpr errc add(const file& f) noexcept {
    looked_up held(files_, files_.get_file(f));
    return held ? add_looked_up(held) : held.error();
  }

  /// FILE_DEL: stops tracking a file (kvm_vfio_file_del). Allocates nothing. A call takes as
  /// long as a call of `add`, with one exception. If `f` is the first noncoherent file, the update
  /// of coherency also asks the files after `f`.
  /// \param f a file that the caller keeps open during the call
  /// \par Errors
  /// - `errc::noent`: the device does not track the file
  /// - each error of `file_set_kvm`: the file stays tracked. On sPAPR its group is no longer
  ///   attached to a TCE table.
  [[nodiscard]] constexpr errc del(const file& f) noexcept {
    looked_up seen(files_, f, looked_up::borrowed);
    return del_looked_up(seen);
  }

  /// GROUP_SET_SPAPR_TCE: attaches the group of a tracked file to a TCE table
  /// (kvm_vfio_file_set_spapr_tce). The device holds a reference on the IOMMU group of the file
  /// until FILE_DEL, even if attaching fails.
  /// \param f a file that the caller keeps open during the call
  /// \param tablefd the descriptor of the table in the calling task
  /// \par Errors
  /// - `errc::noent`: the device does not track the file
  /// - `errc::io`: the file has no IOMMU group
  /// - each error of `spapr_tce_attach`
  [[nodiscard]] constexpr errc set_spapr_tce(const file& f, int tablefd) noexcept
    requires spapr
  {
    looked_up seen(files_, f, looked_up::borrowed);
    return attach_looked_up(seen, tablefd);
  }

  /// Handles KVM_SET_DEVICE_ATTR of the task `from` (kvm_vfio_set_attr). Ignores `attr.flags`.
  /// \par Errors
  /// - `errc::nxio`: the device does not have the attribute `attr.attr` of the attribute group
  ///   `attr.group`. The device checks this before it reads any memory.
  /// - `errc::fault`: the memory at `attr.addr` cannot be read
  /// - `errc::badf`: the descriptor in that memory is not open
  /// - each other error of `from.fget`
  /// - each error of `add`, `del` or `set_spapr_tce`
  template <caller<file> Caller>
  [[nodiscard]] constexpr errc set_attr(Caller& from, const kvm_device_attr& attr) noexcept {
    return detail::attributes<device>::set(*this, from, attr);
  }

  /// Handles KVM_HAS_DEVICE_ATTR (kvm_vfio_has_attr). Reads `attr.group` and `attr.attr` only.
  /// \par Errors
  /// - `errc::nxio`: the device does not have the attribute `attr.attr` of the attribute group
  ///   `attr.group`
  [[nodiscard]] static constexpr errc has_attr(const kvm_device_attr& attr) noexcept {
    return detail::attributes<device>::has(attr);
  }

  /// Returns the number of tracked files. Takes no lock. If another thread adds or removes a file
  /// at this moment, the number may or may not count that file.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_.get(); }
  /// Returns true if noncoherent DMA of the VM is registered with KVM now. Takes no lock.
  [[nodiscard]] constexpr bool noncoherent() const noexcept { return coherency_.noncoherent(); }
  /// Calls `visit(file)` for each tracked file in insertion order. The device holds its lock
  /// during the whole call, so calls of other threads wait. `visit` must neither throw nor call the
  /// device.
  template <class Visitor>
  constexpr void for_each(Visitor&& visit) const noexcept {
    guard held(lock_.get());
    for (const entry* e = tracked_.first(); e; e = tracked_.next(*e)) visit(e->file);
  }
  /// Copies handles of tracked files to the array `files`, in insertion order. Takes no references
  /// on the files.
  /// \param files the array
  /// \param room  the size of the array; no more handles are copied
  /// \return the number of tracked files, which may be larger than `room`
  constexpr std::size_t snapshot(file* files, std::size_t room) const noexcept {
    unowned_files<file> none;
    return *snapshot(files, room, none);
  }
  /// Copies handles of tracked files to the array `files`, in insertion order. Takes a reference on
  /// each file whose handle is copied. The caller gives each reference back with `references.fput`.
  /// \param files      the array
  /// \param room       the size of the array; no more handles are copied
  /// \param references takes the references with its `get_file`
  /// \return the number of tracked files, which may be larger than `room`
  /// \par Errors
  /// - each error of `references.get_file`: the references that this call took are given back
  template <file_references<file> References>
  constexpr result<std::size_t> snapshot(file* files, std::size_t room,
                                         References& references) const noexcept {
    std::size_t tracked = 0, n = 0;
    errc failed = errc::ok;
    {
      guard held(lock_.get());
      tracked = tracked_.size();
      for (const entry* e = tracked_.first(); e && n < room; e = tracked_.next(*e)) {
        const result<file> own = references.get_file(e->file);
        if (failed = own.error(); failed != errc::ok) break;
        files[n++] = *own;
      }
    }
    if (failed == errc::ok) return tracked;
    while (n > 0) references.fput(files[--n]);
    return failed;
  }
  /// Returns the handle of the VM to which this device belongs.
  [[nodiscard]] constexpr const vm_handle& vm() const noexcept { return vm_; }

 private:
  friend detail::attributes<device>;
  using list = file_list<file, typename detail::kept_iommu_group<Symbols, spapr>::type, Storage>;
  using entry = typename list::entry;
  using looked_up = detail::looked_up<Files, file>;
  using walk = std::conditional_t<coherency_epoch, epoch_walk<list>, coherency_walk<list>>;

  constexpr errc add_looked_up(looked_up& f) noexcept {
    if (!vfio_.is_valid(f.get())) return errc::inval;
    {
      guard held(lock_.get());
      if (const errc e = append(f); e != errc::ok) return e;
      if constexpr (!Profile::updates_coherency_apart) update_coherency();
    }
    if constexpr (Profile::updates_coherency_apart) {
      guard held(lock_.get());
      update_coherency();
    }
    return errc::ok;
  }

  constexpr errc append(looked_up& f) noexcept {
    const auto key = tracked_.key_of(f.get());
    if (tracked_.find(f.get(), key)) return errc::exists;
    entry* const e = tracked_.make(f.get(), key);
    if (!e) return errc::nomem;
    if constexpr (Profile::add_keeps_looked_up) {
      e->file = f.keep();
    } else {
      result<file> own = files_.get_file(f.get());
      if (!own) {
        tracked_.destroy(*e);
        return own.error();
      }
      e->file = *own;
    }
    tracked_.append(*e);
    start_assignment();
    const errc told = vfio_.set_kvm(e->file, vm_);
    if (told != errc::ok) {
      end_assignment();
      tracked_.unlink(*e);
      files_.fput(e->file);
      tracked_.destroy(*e);
      return told;
    }
    size_.set(tracked_.size());
    return errc::ok;
  }

  constexpr errc del_looked_up(looked_up& f) noexcept {
    errc answer = errc::noent;
    {
      guard held(lock_.get());
      if (entry* const e = tracked_.find(f.get())) answer = remove(*e);
      if constexpr (!Profile::updates_coherency_apart) update_coherency_after_del(answer);
    }
    if constexpr (Profile::updates_coherency_apart) {
      f.put();
      guard held(lock_.get());
      update_coherency_after_del(answer);
    }
    return answer;
  }

  constexpr errc remove(entry& e) noexcept {
    if constexpr (Profile::del_unlinks_first) {
      tracked_.unlink(e);
      end_assignment();
    }
    release_iommu_group(e);
    if (const errc told = vfio_.set_kvm(e.file, vm_handle{}); told != errc::ok) {
      if constexpr (Profile::del_unlinks_first) {
        start_assignment();
        tracked_.relink(e);
      }
      return told;
    }
    files_.fput(e.file);
    if constexpr (!Profile::del_unlinks_first) tracked_.unlink(e);
    walk_.forget(e);
    tracked_.destroy(e);
    size_.set(tracked_.size());
    return errc::ok;
  }

  constexpr errc attach_looked_up(looked_up& f, int tablefd) noexcept
    requires spapr
  {
    guard held(lock_.get());
    entry* const e = tracked_.find(f.get());
    if (!e) return errc::noent;
    if (e->iommu_group == typename Symbols::iommu_group{}) {
      e->iommu_group = vfio_.iommu_group(e->file);
      if (e->iommu_group == typename Symbols::iommu_group{}) {
        iommu_.warn(spapr_warning::attach_without_iommu_group);
        return errc::io;
      }
    }
    return iommu_.spapr_tce_attach(vm_, tablefd, e->iommu_group);
  }

  constexpr void release_iommu_group(entry& e) noexcept {
    if constexpr (spapr) {
      if (e.iommu_group == typename Symbols::iommu_group{}) {
        iommu_.warn(spapr_warning::release_without_iommu_group);
        return;
      }
      iommu_.spapr_tce_release(vm_, e.iommu_group);
      iommu_.iommu_group_put(e.iommu_group);
      e.iommu_group = {};
    }
  }

  // A new file may change the answer for tracked files that share its IOMMU domain. So each update
  // asks the files again, unless the epoch shows that no answer changed.
  constexpr void update_coherency() noexcept {
    switch (coherency_.update(tracked_.first() && walk_.any_noncoherent(tracked_, vfio_))) {
      case coherency_edge::none: return;
      case coherency_edge::to_noncoherent: return iommu_.register_noncoherent_dma(vm_);
      case coherency_edge::to_coherent: return iommu_.unregister_noncoherent_dma(vm_);
    }
  }
  constexpr void update_coherency_after_del(errc answer) noexcept {
    if (answer == errc::ok || (Profile::updates_coherency_on_noent && answer == errc::noent))
      update_coherency();
  }

  constexpr void start_assignment() noexcept {
    if constexpr (Profile::counts_assignments) iommu_.start_assignment(vm_);
  }
  constexpr void end_assignment() noexcept {
    if constexpr (Profile::counts_assignments) iommu_.end_assignment(vm_);
  }

  constexpr walk new_walk() const noexcept {
    if constexpr (coherency_epoch) return walk(tracked_);
    else return walk();
  }

  detail::vfio_calls<Symbols, Profile> vfio_;
  Iommu& iommu_;
  vm_handle vm_;
  [[no_unique_address]] lock_holder<Lock> lock_;
  [[no_unique_address]] Files files_;
  coherency coherency_;
  detail::published<std::size_t> size_{0};
  list tracked_;
  [[no_unique_address]] walk walk_ = new_walk();
};

/// If the lock is an lvalue, the device refers to it. If the lock is an rvalue, the device moves it
/// into itself and owns it.
template <class Symbols, class Lock, class Iommu, class Profile = linux_7_3,
          class Storage = heap_storage, class Files = default_files<Symbols>>
device(Symbols&, Lock&&, Iommu&, typename Symbols::vm, Profile = {}, Storage = {}, Files = {})
    -> device<Symbols, Lock, Iommu, Profile, Storage, Files>;

}  // namespace kvm_vfio
