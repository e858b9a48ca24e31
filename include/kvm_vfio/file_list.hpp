// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The tracked files, in insertion order, found by identity. Calls nobody.

#include <kvm_vfio/storage.hpp>

#include <cstddef>

namespace kvm_vfio {

/// A list of tracked files that owns its entries and nothing that they name.
/// \tparam File  handle of an open file; `==` is identity
/// \tparam Group handle of an IOMMU group, or an empty type
template <class File, class Group, storage Storage>
class file_list {
 public:
  /// One tracked file.
  class entry {
   public:
    /// An entry that is in no list.
    constexpr explicit entry(const File& tracked) noexcept : file(tracked) {}
    File file;
    [[no_unique_address]] Group iommu_group{};

   private:
    friend file_list;
    entry* previous_ = nullptr;
    entry* next_ = nullptr;
  };

  /// An empty list.
  constexpr explicit file_list(const Storage& storage) noexcept : pool_(storage) {}
  file_list(const file_list&) = delete;
  file_list& operator=(const file_list&) = delete;

  /// An entry that is not in the list yet; null: no memory.
  [[nodiscard]] constexpr entry* make(const File& file) noexcept { return pool_.make(file); }
  /// Frees an entry that is not in the list.
  constexpr void destroy(entry& e) noexcept { pool_.destroy(&e); }

  /// Appends at the tail.
  constexpr void append(entry& e) noexcept {
    e.previous_ = tail_;
    e.next_ = nullptr;
    link(e);
  }
  /// Takes an entry out; it stays allocated and remembers its place.
  constexpr void unlink(entry& e) noexcept {
    (e.previous_ ? e.previous_->next_ : head_) = e.next_;
    (e.next_ ? e.next_->previous_ : tail_) = e.previous_;
    --size_;
  }
  /// Undoes the last `unlink`. \pre nothing was linked or unlinked since
  constexpr void relink(entry& e) noexcept { link(e); }

  /// The entry of this file, or null. Linear.
  [[nodiscard]] constexpr entry* find(const File& file) noexcept {
    for (entry* e = head_; e; e = e->next_)
      if (e->file == file) return e;
    return nullptr;
  }
  /// The oldest entry, or null.
  [[nodiscard]] constexpr entry* first() const noexcept { return head_; }
  /// The entry after this one, or null.
  [[nodiscard]] static constexpr entry* next(const entry& e) noexcept { return e.next_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

 private:
  constexpr void link(entry& e) noexcept {
    (e.previous_ ? e.previous_->next_ : head_) = &e;
    (e.next_ ? e.next_->previous_ : tail_) = &e;
    ++size_;
  }

  entry* head_ = nullptr;
  entry* tail_ = nullptr;
  std::size_t size_ = 0;
  [[no_unique_address]] typename Storage::template pool<entry> pool_;
};

}  // namespace kvm_vfio
