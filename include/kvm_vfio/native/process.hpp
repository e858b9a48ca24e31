// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The calling process as a holder of files that the model made. Each such file (a VM, or a device
/// of a VM) has a real descriptor. So the code of a VMM can run against the model, call by call.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/native/file.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/open_file.hpp>
#include <kvm_vfio/result.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

namespace kvm_vfio::native {

/// The calling process, which also holds files that the model made. Each such file has a real
/// descriptor of an empty memory file with the same name. Therefore descriptor numbers, limits and
/// flags are real. The object has no lock. It allocates one small object for each such descriptor.
class process : public current_task {
 public:
  process() = default;
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  /// Closes every descriptor of a file that the model made, newest first.
  ~process() {
    while (files_) (void)close(files_->fd);
  }

  /// Makes a new descriptor of a file that the model made, with O_CLOEXEC. `made` must stay alive
  /// until the last `close` of its descriptors, or until the destructor of this object.
  /// \par Errors
  /// - `errc::mfile`: the process has no free descriptor
  /// - `errc::nfile`: the system has no free file
  /// - `errc::nomem`: no memory
  [[nodiscard]] result<int> install(open_file<process>& made) noexcept {
    unique_fd fd(::memfd_create(made.name(), MFD_CLOEXEC));
    if (!fd) return sys::last_error();
    node* const added = new (std::nothrow) node{fd.get(), &made, files_};
    if (!added) return errc::nomem;
    files_ = added;
    return fd.release();
  }
  /// Makes one more descriptor of the file behind any descriptor. Unlike with dup(2), the new
  /// descriptor has O_CLOEXEC, and its number is the lowest free one that is at least 3.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open
  /// - `errc::mfile`: the process has no free descriptor
  /// - `errc::nomem`: no memory
  [[nodiscard]] result<int> dup(int fd) noexcept {
    result<int> copy = host().dup(fd);
    const node* const original = find(fd);
    if (!copy || !original) return copy;
    node* const added = new (std::nothrow) node{*copy, original->made, files_};
    if (!added) {
      const unique_fd closed(*copy);
      return errc::nomem;
    }
    files_ = added;
    return copy;
  }
  /// Closes any descriptor. If it is the last one of a file that the model made, releases the file.
  /// The descriptor is closed even if close(2) reports an error.
  /// \par Errors
  /// - each error of close(2)
  errc close(int fd) noexcept {
    open_file<process>* const gone = forget(fd);
    const errc answer = ::close(fd) == 0 ? errc::ok : sys::last_error();
    if (gone && !holds(*gone)) gone->release();
    return answer;
  }
  /// Makes an ioctl on a file that the model made.
  /// \par Errors
  /// - `errc::badf`: `fd` is not open, or was opened with O_PATH
  /// - `errc::notty`: the model did not make the file
  /// - each error of the file's own ioctl
  [[nodiscard]] errc ioctl(int fd, std::uint64_t request, std::uint64_t argument) noexcept {
    if (const node* const n = find(fd)) return n->made->ioctl(*this, request, argument);
    return fdget(fd) ? errc::notty : errc::badf;
  }
  /// Returns the file that the model made, or null if `fd` refers to another file.
  [[nodiscard]] open_file<process>* made(int fd) const noexcept {
    const node* const n = find(fd);
    return n ? n->made : nullptr;
  }

 private:
  struct node {
    int fd;
    open_file<process>* made;
    node* next;
  };
  [[nodiscard]] const node* find(int fd) const noexcept {
    for (const node* n = files_; n; n = n->next)
      if (n->fd == fd) return n;
    return nullptr;
  }
  [[nodiscard]] bool holds(const open_file<process>& made) const noexcept {
    for (const node* n = files_; n; n = n->next)
      if (n->made == &made) return true;
    return false;
  }
  // Removes the node of a descriptor. Returns its file, or null if the model did not make the file.
  open_file<process>* forget(int fd) noexcept {
    node** link = &files_;
    while (*link && (*link)->fd != fd) link = &(*link)->next;
    if (!*link) return nullptr;
    node* const found = *link;
    open_file<process>* const made = found->made;
    *link = found->next;
    delete found;
    return made;
  }

  node* files_ = nullptr;
};
static_assert(caller<process, file>);
static_assert(vm_caller<process>);

}  // namespace kvm_vfio::native
