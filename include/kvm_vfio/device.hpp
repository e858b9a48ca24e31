// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The kvm-vfio device: sequences its policies in the kernel's order. Makes no OS call.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/coherency.hpp>
#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/published.hpp>
#include <kvm_vfio/file_list.hpp>
#include <kvm_vfio/looked_up.hpp>
#include <kvm_vfio/storage.hpp>
#include <kvm_vfio/vfio_calls.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio {

/// Tells a VM which VFIO files it uses (virt/kvm/vfio.c).
///
/// Every operation is noexcept. With a real lock any number of threads may call `add`, `del`,
/// `set_spapr_tce`, `set_attr` and the observers; construction and destruction are one thread's.
/// The policies are called with the lock held, except: the validity of a file with its look-up, the
/// calling task, the caller's own file reference (get_file, fput), and everything at destruction.
/// Policies that several devices share are called under several locks.
///
/// \tparam Symbols the VFIO symbol provider
/// \tparam Lock    the lock; a reference type to share one of the caller's
/// \tparam Iommu   the IOMMU backend; one that models `spapr_backend` brings attribute 3
/// \tparam Profile the Linux release
/// \tparam Storage where entries live; one is allocated by each successful ADD
/// \tparam Files   references on open files
template <symbol_provider Symbols, lockable Lock, iommu_backend<typename Symbols::vm> Iommu,
          profile Profile = linux_7_3, storage Storage = heap_storage,
          file_references<typename Symbols::file> Files = default_files<Symbols>>
class device {
 public:
  /// The handles of the symbol provider's.
  using file = typename Symbols::file;
  using vm_handle = typename Symbols::vm;

  /// Whether attribute 3, GROUP_SET_SPAPR_TCE, exists.
  static constexpr bool spapr = spapr_backend<Iommu, vm_handle>;
  /// Whether a coherency update asks only the files that it has not asked in this epoch. Otherwise
  /// it asks every one up to the first that is noncoherent, as the kernel does.
  static constexpr bool coherency_epoch = epoch_symbol_provider<Symbols>;
  /// Whether a tracked file is found in constant time; see `file_list`.
  static constexpr bool indexed = has_index<file, Storage>;

  static_assert(
      !requires { typename Iommu::iommu_group; } || spapr,
      "an IOMMU backend that names an iommu_group must model spapr_backend");
  static_assert(!spapr || spapr_symbol_provider<Symbols>,
                "with a spapr_backend the symbol provider must model spapr_symbol_provider");
  static_assert(
      !spapr || requires {
        requires std::same_as<typename Symbols::iommu_group, typename Iommu::iommu_group>;
      }, "provider and backend must name the same iommu_group");
  static_assert(!Profile::counts_assignments || assignment_backend<Iommu, vm_handle>,
                "this profile counts assignments: the backend must model assignment_backend");
  static_assert(
      coherency_epoch || !requires(Symbols& vfio) { vfio.coherency_epoch(); },
      "a coherency_epoch must be as epoch_symbol_provider asks");
  static_assert(
      hashable_file<file> || !requires(const file& f) { identity_hash(f); },
      "an identity_hash must be as hashable_file asks");
  static_assert(Profile::validity != symbol::file_is_group || group_symbol_provider<Symbols>,
                "this profile knows groups only: the provider must model group_symbol_provider");

  /// A device of `vm` that tracks nothing. Neither allocates nor calls anybody.
  /// `symbols` and `iommu` (and a lock given by reference) must outlive the device.
  constexpr device(Symbols& symbols, Lock&& lock, Iommu& iommu, const vm_handle& vm, Profile = {},
                   const Storage& storage = {}, const Files& files = {}) noexcept
      : vfio_(symbols),
        iommu_(iommu),
        vm_(vm),
        lock_(static_cast<Lock&&>(lock)),
        files_(files),
        tracked_(storage) {}

  /// The same with a lock of its own, for locks that cannot be moved.
  constexpr device(Symbols& symbols, Iommu& iommu, const vm_handle& vm, Profile = {},
                   const Storage& storage = {}, const Files& files = {}) noexcept
      : vfio_(symbols), iommu_(iommu), vm_(vm), files_(files), tracked_(storage) {}

  device(const device&) = delete;
  device& operator=(const device&) = delete;

  /// Frees every entry in insertion order, then updates coherency once. Does not take the lock:
  /// nobody else can reach the device; but where an update is a critical section of its own, it is
  /// one here too (kvm_vfio_release). A provider's failures are ignored.
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

  /// FILE_ADD: tracks a file, as if through a descriptor that refers to it (kvm_vfio_file_add).
  /// Constant time if `indexed` and, but for an epoch's first call, `coherency_epoch`; else linear
  /// in the tracked files. Allocates one entry.
  /// \return inval: not a VFIO file, or the validity symbol is missing · exists: tracked already ·
  ///         nomem · whatever get_file or set_kvm failed with; nothing has changed then
  [[nodiscard]] constexpr errc add(const file& f) noexcept {
    looked_up held(files_, files_.get_file(f));
    return held ? add_looked_up(held) : held.error();
  }

  /// FILE_DEL: stops tracking a file (kvm_vfio_file_del). Costs as `add`, or asks all files for
  /// coherency when the one goes that was not coherent; does not allocate.
  /// \param f stays open for the length of the call: no reference on it is taken
  /// \return noent: not tracked · whatever set_kvm failed with; the file stays tracked then, on
  ///         sPAPR without its TCE tables
  [[nodiscard]] constexpr errc del(const file& f) noexcept {
    looked_up seen(files_, f, looked_up::borrowed);
    return del_looked_up(seen);
  }

  /// GROUP_SET_SPAPR_TCE: attaches the group behind a tracked file to a TCE table
  /// (kvm_vfio_file_set_spapr_tce). The entry keeps its IOMMU group even when the attach fails.
  /// \param f       as `del`'s
  /// \param tablefd the table's descriptor, in the calling task
  /// \return noent: not tracked · io: the file has no IOMMU group · the backend's answer
  [[nodiscard]] constexpr errc set_spapr_tce(const file& f, int tablefd) noexcept
    requires spapr
  {
    looked_up seen(files_, f, looked_up::borrowed);
    return attach_looked_up(seen, tablefd);
  }

  /// KVM_SET_DEVICE_ATTR (kvm_vfio_set_attr). `attr.flags` is ignored.
  /// \param from the calling task: its descriptors and its memory
  /// \return nxio: no such group or attribute, before any memory is read · fault: `attr.addr` ·
  ///         badf: the descriptor there · then as `add`, `del` and `set_spapr_tce`
  template <caller<file> Caller>
  [[nodiscard]] constexpr errc set_attr(Caller& from, const kvm_device_attr& attr) noexcept {
    if (has_attr(attr) != errc::ok) return errc::nxio;
    if constexpr (spapr) {
      if (attr.attr == uapi::dev_vfio_group_set_spapr_tce) {
        kvm_vfio_spapr_tce argument{};
        if (!from.copy_from_user(attr.addr, argument)) return errc::fault;
        looked_up seen = look_at(from, argument.groupfd);
        return seen ? attach_looked_up(seen, argument.tablefd) : seen.error();
      }
    }
    std::int32_t fd = -1;
    if (!from.copy_from_user(attr.addr, fd)) return errc::fault;
    if (attr.attr == uapi::dev_vfio_file_add) {
      looked_up held(files_, from.fget(fd));
      return held ? add_looked_up(held) : held.error();
    }
    looked_up seen = look_at(from, fd);
    return seen ? del_looked_up(seen) : seen.error();
  }

  /// KVM_HAS_DEVICE_ATTR (kvm_vfio_has_attr): ok or nxio. Looks at `group` and `attr` only.
  [[nodiscard]] static constexpr errc has_attr(const kvm_device_attr& attr) noexcept {
    if (attr.group != uapi::dev_vfio_file) return errc::nxio;
    const bool known = attr.attr == uapi::dev_vfio_file_add ||
                       attr.attr == uapi::dev_vfio_file_del ||
                       (spapr && attr.attr == uapi::dev_vfio_group_set_spapr_tce);
    return known ? errc::ok : errc::nxio;
  }

  /// How many files are tracked: by the calls that are done, not the one that is under way. Does
  /// not take the lock.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_.get(); }
  /// Whether KVM was told that the VM has noncoherent DMA. Does not take the lock.
  [[nodiscard]] constexpr bool noncoherent() const noexcept { return coherency_.noncoherent(); }
  /// Calls `visit(file)` for each tracked file in insertion order, with the lock held: other
  /// threads' calls wait for the last visit. `visit` must neither throw nor call the device.
  template <class Visitor>
  constexpr void for_each(Visitor&& visit) const noexcept {
    guard held(lock_.get());
    for (const entry* e = tracked_.first(); e; e = tracked_.next(*e)) visit(e->file);
  }
  /// Copies the tracked files, oldest first, as many as there is room for; no references on them
  /// are taken. Holds the lock for the copying only.
  /// \return how many are tracked; more than `room`: the newest are missing
  constexpr std::size_t snapshot(file* files, std::size_t room) const noexcept {
    unowned_files<file> none;
    return *snapshot(files, room, none);
  }
  /// The same with a reference on each, so that they outlive a DEL: the caller gives it back by
  /// `references.fput`. They need not be of the device's own kind.
  /// \return how many are tracked · whatever get_file failed with; no reference is left then
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
  /// The VM that this device belongs to.
  [[nodiscard]] constexpr const vm_handle& vm() const noexcept { return vm_; }

 private:
  struct no_group {};
  template <bool>
  struct group_of {
    using type = no_group;
  };
  template <bool B>
    requires B
  struct group_of<B> {
    using type = typename Symbols::iommu_group;
  };
  using list = file_list<file, typename group_of<spapr>::type, Storage>;
  using entry = typename list::entry;

  using looked_up = detail::looked_up<Files, file>;

  // Without a reference, if the task can do that.
  template <class Caller>
  constexpr looked_up look_at(Caller& from, int fd) noexcept {
    if constexpr (borrowing_file_table<Caller, file>)
      return looked_up(files_, from.fdget(fd), looked_up::borrowed);
    else return looked_up(files_, from.fget(fd));
  }

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

  // Adding one file may change the answer of others that share its IOMMU domain, so all are asked
  // each time, unless an epoch says that nothing has changed.
  constexpr void update_coherency() noexcept {
    switch (coherency_.update(tracked_.first() && any_noncoherent())) {
      case coherency_edge::none: return;
      case coherency_edge::to_noncoherent: return iommu_.register_noncoherent_dma(vm_);
      case coherency_edge::to_coherent: return iommu_.unregister_noncoherent_dma(vm_);
    }
  }
  constexpr bool any_noncoherent() noexcept {
    const auto ask = [this](const file& f) { return vfio_.enforced_coherent(f); };
    if constexpr (coherency_epoch)
      return walk_.any_noncoherent(tracked_, vfio_.coherency_epoch(), ask);
    else return walk_.any_noncoherent(tracked_, ask);
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

  detail::vfio_calls<Symbols, Profile> vfio_;
  Iommu& iommu_;
  vm_handle vm_;
  [[no_unique_address]] lock_holder<Lock> lock_;
  [[no_unique_address]] Files files_;
  coherency coherency_;
  detail::published<std::size_t> size_{0};
  list tracked_;
  [[no_unique_address]] coherency_walk<list, coherency_epoch> walk_{tracked_};
};

/// A lock given as an lvalue is shared, one given as an rvalue becomes the device's.
template <class Symbols, class Lock, class Iommu, class Profile = linux_7_3,
          class Storage = heap_storage, class Files = default_files<Symbols>>
device(Symbols&, Lock&&, Iommu&, typename Symbols::vm, Profile = {}, Storage = {}, Files = {})
    -> device<Symbols, Lock, Iommu, Profile, Storage, Files>;

}  // namespace kvm_vfio
