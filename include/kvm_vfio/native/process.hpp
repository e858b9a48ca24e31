// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The model behind real descriptors: a process that can hold the model's VMs and devices beside
/// its other files, so that a VMM's code can be run against the model call by call.

#include <kvm_vfio/native/caller.hpp>
#include <kvm_vfio/open_file.hpp>

#include <sys/mman.h>
#include <cstdint>
#include <new>

namespace kvm_vfio::native {

/// This process, with files of the model's. Each of them has a real descriptor, of an empty memory
/// file of the same name, so that descriptor numbers, limits and flags are the real ones. Not
/// synchronised. Allocates one small object per such descriptor.
class process : public current_task {
 public:
  process() = default;
  process(const process&) = delete;
  process& operator=(const process&) = delete;
  /// Closes every file of the model's, newest first.
  ~process() {
    while (files_) (void)close(files_->fd);
  }

  /// A descriptor of a file of the model's, O_CLOEXEC: mfile, nfile, nomem. `made` must outlive
  /// every descriptor of it: the last `close`, or this object's destructor.
  [[nodiscard]] result<int> install(open_file<process>& made) noexcept {
    unique_fd fd(::memfd_create(made.name(), MFD_CLOEXEC));
    if (!fd) return sys::last_error();
    node* const added = new (std::nothrow) node{fd.get(), &made, files_};
    if (!added) return errc::nomem;
    files_ = added;
    return fd.release();
  }
  /// One more descriptor, for every descriptor: unlike dup(2)'s it is O_CLOEXEC, and the lowest
  /// free number from 3 on. badf, mfile, nomem.
  [[nodiscard]] result<int> dup(int fd) noexcept {
    result<int> copy = sys::dup(fd);
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
  /// close(2), for every descriptor; the last one of a file of the model's releases it. Whatever
  /// error close(2) reports, the descriptor is gone.
  errc close(int fd) noexcept {
    open_file<process>* const gone = forget(fd);
    const errc answer = ::close(fd) == 0 ? errc::ok : sys::last_error();
    if (gone && !holds(*gone)) gone->release();
    return answer;
  }
  /// ioctl(2) of a file of the model's: its answer; notty for another open file, badf for none and
  /// for an O_PATH descriptor.
  [[nodiscard]] errc ioctl(int fd, std::uint64_t request, std::uint64_t argument) noexcept {
    if (const node* const n = find(fd)) return n->made->ioctl(*this, request, argument);
    return fdget(fd) ? errc::notty : errc::badf;
  }
  /// The file of the model's behind a descriptor; null for any other descriptor.
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
  // The file behind the descriptor, whose node goes; null: not the model's.
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
