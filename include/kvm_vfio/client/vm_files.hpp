// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The VFIO files of one VM: those that its kvm-vfio device tracks.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/client/shared.hpp>
#include <kvm_vfio/endpoint.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/kvm.hpp>
#include <kvm_vfio/native/mutex.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/system.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <concepts>
#include <new>

namespace kvm_vfio::client {

namespace detail {

/// A TCE table that a group is attached to, on POWER.
struct tce_table {
  int fd = -1;
  int next_fd = -1;  // during a rebind: the table of the new VM
  tce_table* next = nullptr;
};

/// A file that a kvm-vfio device tracks, as an element of the list of all of them.
struct tracked_file {
  int fd = -1;
  bool known = false;           // the kvm-vfio device tracks the file
  tce_table* tables = nullptr;  // a group has one for each DMA window
  tracked_file* next = nullptr;
  tracked_file** link = nullptr;  // what points to this element; null: not tracked
};

// What `rebind` asks for the table of the new VM.
template <class TableOf>
concept table_lookup = requires(TableOf& table_of, int fd) {
  { table_of(fd) } noexcept -> std::same_as<int>;
};

/// The state that a `vm_files` and the files of the VM share.
template <system System>
class vm_files_state : public counted {
 public:
  explicit vm_files_state(native::basic_kvm_vfio_device<System> device) noexcept
      : device_(static_cast<native::basic_kvm_vfio_device<System>&&>(device)) {}

  [[nodiscard]] errc add(tracked_file& file) noexcept {
    const guard held(mutex_);
    if (const errc e = file_add(device_, file.fd); e != errc::ok) return e;
    put_in(file);
    return errc::ok;
  }
  // The device tracks the file already.
  void adopt(tracked_file& file) noexcept {
    const guard held(mutex_);
    put_in(file);
  }
  // The file is forgotten even if FILE_DEL fails: then only the kernel still knows it.
  errc del(tracked_file& file) noexcept {
    const guard held(mutex_);
    const bool known = file.known;
    take_out(file);
    return device_ && known ? file_del(device_, file.fd) : errc::ok;  // no device: released
  }
  void forget(tracked_file& file) noexcept {
    const guard held(mutex_);
    take_out(file);
  }
  [[nodiscard]] errc set_table(tracked_file& file, int tablefd) noexcept {
    const guard held(mutex_);
    tce_table** last = &file.tables;
    while (*last && (*last)->fd != tablefd) last = &(*last)->next;
    tce_table* const made = *last ? nullptr : new (std::nothrow) tce_table{tablefd, -1, nullptr};
    if (!*last && !made) return errc::nomem;
    const errc e = set_spapr_tce(device_, file.fd, tablefd);
    if (e != errc::ok) delete made;
    else if (made) *last = made;
    return e;
  }
  // Opens a device of a file while no thread moves the file: in between no VM tracks it, and the
  // driver of the device would not learn the VM.
  template <class Open>
  [[nodiscard]] auto while_tracked(const Open& open) noexcept {
    const guard held(mutex_);
    return open();
  }
  template <class TableOf>
  [[nodiscard]] errc rebind(native::basic_kvm_vfio_device<System>& to, TableOf& table_of) noexcept {
    const guard held(mutex_);
    for (tracked_file* f = first_; f; f = f->next) {
      errc e = f->known ? file_del(device_, f->fd) : errc::ok;
      if (e == errc::io) return take_from_dead(to, f, table_of);
      if (e != errc::ok && e != errc::noent) {
        give_back(to, f);  // the old device still tracks this file
        return e;
      }
      e = move_to(to, *f, table_of);
      if (e == errc::ok) continue;
      give_back(to, f->next);
      return e;
    }
    change_device(to);
    return errc::ok;
  }
  [[nodiscard]] int size() noexcept {
    const guard held(mutex_);
    int n = 0;
    for (const tracked_file* f = first_; f; f = f->next) n += f->known;
    return n;
  }
  [[nodiscard]] native::basic_kvm_vfio_device_ref<System> device() noexcept {
    const guard held(mutex_);
    return device_.borrow();
  }
  [[nodiscard]] native::basic_kvm_vfio_device_ref<System> release() noexcept {
    const guard held(mutex_);
    return device_.release();
  }

 private:
  void put_in(tracked_file& file) noexcept {
    file.known = true;
    file.next = first_;
    file.link = &first_;
    if (first_) first_->link = &file.next;
    first_ = &file;
  }
  static void take_out(tracked_file& file) noexcept {
    *file.link = file.next;
    if (file.next) file.next->link = file.link;
    file.link = nullptr;
    file.known = false;
    while (tce_table* const t = file.tables) {
      file.tables = t->next;
      delete t;
    }
  }
  template <class TableOf>
  static errc move_to(native::basic_kvm_vfio_device<System>& to, tracked_file& f,
                      TableOf& table_of) noexcept {
    if (const errc e = file_add(to, f.fd); e != errc::ok) return e;
    for (tce_table* t = f.tables; t; t = t->next) {
      t->next_fd = table_of(t->fd);
      if (const errc e = set_spapr_tce(to, f.fd, t->next_fd); e != errc::ok) {
        (void)file_del(to, f.fd);
        return e;
      }
    }
    f.known = true;
    return errc::ok;
  }
  // Closes the old device.
  void change_device(native::basic_kvm_vfio_device<System>& to) noexcept {
    device_ = static_cast<native::basic_kvm_vfio_device<System>&&>(to);
    for (tracked_file* f = first_; f; f = f->next)
      for (tce_table* t = f->tables; t && f->known; t = t->next) t->fd = t->next_fd;
  }
  // A dead VM refuses FILE_DEL. Closing its device makes it let go of every file, and then nothing
  // can be given back. So each file from `rest` on is tried. Those before it have moved already.
  template <class TableOf>
  errc take_from_dead(native::basic_kvm_vfio_device<System>& to, tracked_file* rest,
                      TableOf& table_of) noexcept {
    device_ = {};
    errc first = errc::ok;
    for (tracked_file* f = rest; f; f = f->next) {
      const errc e = move_to(to, *f, table_of);
      f->known = e == errc::ok;
      if (first == errc::ok) first = e;
    }
    change_device(to);
    return first;
  }
  // Gives the files before `end` back to the old device. The new device is closed first, because
  // its close clears the VM of each file that it still tracks.
  void give_back(native::basic_kvm_vfio_device<System>& to, const tracked_file* end) noexcept {
    to = {};
    for (tracked_file* f = first_; f != end; f = f->next) {
      f->known = file_add(device_, f->fd) == errc::ok;
      for (const tce_table* t = f->tables; t; t = t->next)
        (void)set_spapr_tce(device_, f->fd, t->fd);
    }
  }

  native::mutex mutex_;  // guards everything, and the order of the calls on the device
  native::basic_kvm_vfio_device<System> device_;
  tracked_file* first_ = nullptr;
};

/// What an open file knows of the VM that it is attached to, if it is.
template <system System>
class tracking {
 public:
  [[nodiscard]] errc attach(const shared<vm_files_state<System>>& vm, int fd) noexcept {
    file_.fd = fd;
    const errc e = vm->add(file_);
    if (e == errc::ok) vm_ = vm;
    return e;
  }
  // The file is attached already. `vm` may be empty: no VM tracks the file.
  void adopt(shared<vm_files_state<System>> vm, int fd) noexcept {
    file_.fd = fd;
    if (vm) vm->adopt(file_);
    vm_ = static_cast<shared<vm_files_state<System>>&&>(vm);
  }
  // Calls FILE_DEL, if the file is attached.
  errc detach() noexcept {
    const errc e = vm_ ? vm_->del(file_) : errc::ok;
    vm_ = {};
    return e;
  }
  // The caller calls FILE_DEL itself.
  void forget() noexcept {
    if (vm_) vm_->forget(file_);
    vm_ = {};
  }
  [[nodiscard]] errc set_table(int tablefd) noexcept {
    return vm_ ? vm_->set_table(file_, tablefd) : errc::noent;
  }
  // Opens a device of the file, as `vm_files_state::while_tracked`.
  template <class Open>
  [[nodiscard]] auto open_device(const Open& open) const noexcept {
    return vm_ ? vm_->while_tracked(open) : open();
  }

 private:
  shared<vm_files_state<System>> vm_;
  tracked_file file_;
};

}  // namespace detail

/// The VFIO files of one VM. This object owns the VM's kvm-vfio device together with each file that
/// the device tracks: the descriptor stays open until the last of them is gone. So a file can never
/// outlive the device that tracks it. Move-only.
///
/// Any thread may attach and detach files of one VM, open devices of them, and call `rebind` at the
/// same time. The object has a lock, and holds it during the ioctls.
/// \tparam System the system that has the VM; `native::host` is the running kernel
template <system System = native::host>
class vm_files {
 public:
  vm_files() = default;
  ///@{
  /// Takes over what `other` has. `other` is empty afterwards. Files that are attached through this
  /// object stay attached.
  vm_files(vm_files&& other) noexcept = default;
  vm_files& operator=(vm_files&& other) noexcept = default;
  ///@}

  /// Makes the VM's kvm-vfio device (KVM_CREATE_DEVICE).
  /// \param vm the VM. Its descriptor may be closed before this object is destroyed.
  /// \par Errors
  /// - `errc::busy`: the VM has a kvm-vfio device already
  /// - `errc::nodev`: the kernel was built without kvm-vfio
  /// - `errc::nomem`: no memory
  /// - each other error of `native::basic_vm_ref::create_device`
  [[nodiscard]] static result<vm_files> create(const native::basic_vm_ref<System>& vm) noexcept {
    auto device = vm.create_kvm_vfio_device();
    if (!device) return device.error();
    return make(*device);
  }
  /// Takes over a kvm-vfio device that the caller owns. The device may track files already: their
  /// objects are made by `attached_group::adopt`, `attached_device_file::adopt`,
  /// `bound_device::adopt` and `device::adopt`. Other files that the device tracks stay tracked
  /// until the device is closed.
  ///
  /// If another process made the VM, for example before execve(2), the device still keeps its
  /// files, but refuses FILE_ADD and FILE_DEL. Adopt the files, and then call `rebind`.
  /// \param device the kvm-vfio device. After an error `device` still owns the descriptor.
  /// \par Errors
  /// - `errc::nomem`: no memory
  /// - `errc::badf`: `device` has no open descriptor
  /// - `errc::nxio`, `errc::notty`, `errc::inval`: the descriptor is not one of a kvm-vfio device
  [[nodiscard]] static result<vm_files> adopt(
      native::basic_kvm_vfio_device<System>&& device) noexcept {
    const errc e = device.has_attr(
        {.flags = 0, .group = uapi::dev_vfio_file, .attr = uapi::dev_vfio_file_add, .addr = 0});
    if (e != errc::ok && e != errc::io) return e;  // io: a device, but the VM is of another process
    return make(device);
  }

  /// Returns the number of files that have an object of a later step, and are tracked now. Takes
  /// linear time.
  [[nodiscard]] int size() const noexcept { return state_ ? state_->size() : 0; }
  /// Returns a view of the kvm-vfio device, which is valid until this object and all files are
  /// gone.
  [[nodiscard]] native::basic_kvm_vfio_device_ref<System> device() const noexcept {
    return state_ ? state_->device() : native::basic_kvm_vfio_device_ref<System>();
  }
  /// Moves every file to the kvm-vfio device of another VM, because the VM got another descriptor:
  /// after the reset of a confidential guest, or after a live update. Calls FILE_DEL on the old
  /// device and FILE_ADD on the new one, for one file after the other. After an error every file is
  /// back on the old device, and `vm` has no kvm-vfio device.
  ///
  /// If the old VM is dead (`errc::io`), its kvm-vfio device is closed first. Then nothing can be
  /// given back: each file is tried, and the first error is returned. A file that failed is tracked
  /// by no device afterwards. The next rebind tries the file again. `errc::io` also means that
  /// another process made the old VM, for example before a fork. Then the old VM keeps its files
  /// until that process closes it, and so rebind must not be called there: close the VM in the old
  /// process first. A device that is open keeps the old VM until it is closed.
  /// \param vm       the new VM
  /// \param table_of on POWER: returns the descriptor of the new VM's TCE table that takes the
  ///                 place of a TCE table of the old VM, given by its descriptor. Called for each
  ///                 table that a group is attached to.
  /// \par Errors
  /// - `errc::badf`: this object has no device
  /// - each error of `create`, `file_add` and `set_spapr_tce`
  template <class TableOf>
  [[nodiscard]] errc rebind(const native::basic_vm_ref<System>& vm, TableOf table_of) noexcept {
    static_assert(detail::table_lookup<TableOf>,
                  "table_of must be callable with an int, return an int, and be noexcept");
    if (!state_) return errc::badf;
    auto made = vm.create_kvm_vfio_device();
    if (!made) return made.error();
    return state_->rebind(*made, table_of);
  }
  /// Moves every file to another VM's kvm-vfio device. For hosts without TCE tables.
  /// \par Errors
  /// - `errc::badf`: this object has no device, or a group is attached to a TCE table
  /// - each other error of `create` and `file_add`
  [[nodiscard]] errc rebind(const native::basic_vm_ref<System>& vm) noexcept {
    return rebind(vm, [](int) noexcept { return -1; });
  }
  /// Gives the descriptor of the kvm-vfio device to the caller, who must close it. Files that are
  /// attached stay tracked, and their objects no longer call FILE_DEL. The function makes no call.
  /// This object is empty afterwards.
  [[nodiscard]] native::basic_kvm_vfio_device_ref<System> release() noexcept {
    if (!state_) return {};
    const auto device = state_->release();
    state_ = {};
    return device;
  }
  /// Returns true if this object has a kvm-vfio device.
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(state_); }

 private:
  using state = detail::vm_files_state<System>;
  using state_ref = detail::shared<state>;
  template <system>
  friend class group_with_iommu;
  template <system>
  friend class attached_group;
  template <system>
  friend class device_file;
  template <system>
  friend class attached_device_file;
  template <system>
  friend class bound_device;
  template <system>
  friend class device;

  [[nodiscard]] static result<vm_files> make(
      native::basic_kvm_vfio_device<System>& device) noexcept {
    vm_files made;
    made.state_ = state_ref(
        new (std::nothrow) state(static_cast<native::basic_kvm_vfio_device<System>&&>(device)));
    if (!made.state_) return errc::nomem;
    return made;
  }

  state_ref state_;
};

}  // namespace kvm_vfio::client
