// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The device is compared with this plain list. It makes the calls of the device in the same order
/// over a doubly linked list as in C, with malloc for each entry and a walk for each look-up and
/// each update.

#include <cstddef>
#include <cstdlib>

#include "policies.hpp"

namespace bench {

/// ADD and DEL as Linux 7.3 does them.
template <class Symbols, class Lock>
class plain_list {
 public:
  plain_list(Symbols& symbols, iommu& iommu, int vm) noexcept
      : symbols_(symbols), iommu_(iommu), vm_(vm) {
    head_.next = head_.previous = &head_;
  }
  plain_list(const plain_list&) = delete;
  plain_list& operator=(const plain_list&) = delete;
  ~plain_list() {
    while (head_.next != &head_) free_node(head_.next);
    update();
  }

  [[nodiscard]] errc add(vfio_file* f) noexcept {
    if (!is_valid(f)) return errc::inval;
    lock_.lock();
    const errc answer = add_locked(f);
    lock_.unlock();
    return answer;
  }
  [[nodiscard]] errc del(vfio_file* f) noexcept {
    errc answer = errc::noent;
    lock_.lock();
    for (node* n = head_.next; n != &head_; n = n->next) {
      if (n->file != f) continue;
      free_node(n);
      update();
      answer = errc::ok;
      break;
    }
    lock_.unlock();
    return answer;
  }
  /// Adds without looking whether the file is there, for the beginning of a measurement.
  [[nodiscard]] bool append(vfio_file* f) noexcept {
    auto* const n = static_cast<node*>(std::malloc(sizeof(node)));
    if (!n) return false;
    n->file = f;
    n->previous = head_.previous;
    n->next = &head_;
    head_.previous->next = n;
    head_.previous = n;
    return true;
  }

 private:
  struct node {
    node* next;
    node* previous;
    vfio_file* file;
  };

  errc add_locked(vfio_file* f) noexcept {
    for (const node* n = head_.next; n != &head_; n = n->next)
      if (n->file == f) return errc::exists;
    if (!append(f)) return errc::nomem;
    set_kvm(f, vm_);
    update();
    return errc::ok;
  }
  void free_node(node* n) noexcept {
    set_kvm(n->file, 0);
    n->previous->next = n->next;
    n->next->previous = n->previous;
    std::free(n);
  }
  void update() noexcept {
    bool noncoherent = false;
    for (const node* n = head_.next; n != &head_; n = n->next)
      if (!enforced_coherent(n->file)) {
        noncoherent = true;
        break;
      }
    if (noncoherent == noncoherent_) return;
    noncoherent_ = noncoherent;
    if (noncoherent) iommu_.register_noncoherent_dma(vm_);
    else iommu_.unregister_noncoherent_dma(vm_);
  }

  bool is_valid(vfio_file* f) noexcept {
    if (!symbols_.symbol_get(symbol::file_is_valid)) return false;
    const bool answer = symbols_.file_is_valid(f);
    symbols_.symbol_put(symbol::file_is_valid);
    return answer;
  }
  void set_kvm(vfio_file* f, int vm) noexcept {
    if (!symbols_.symbol_get(symbol::file_set_kvm)) return;
    symbols_.file_set_kvm(f, vm);
    symbols_.symbol_put(symbol::file_set_kvm);
  }
  bool enforced_coherent(vfio_file* f) noexcept {
    if (!symbols_.symbol_get(symbol::file_enforced_coherent)) return false;
    const bool answer = symbols_.file_enforced_coherent(f);
    symbols_.symbol_put(symbol::file_enforced_coherent);
    return answer;
  }

  Symbols& symbols_;
  iommu& iommu_;
  int vm_;
  Lock lock_;
  bool noncoherent_ = false;
  node head_{};
};

}  // namespace bench
