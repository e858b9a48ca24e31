// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The list of tracked files, in insertion order. A file is found by its identity. The list calls
/// no policy but its storage.

#include <kvm_vfio/concepts.hpp>
#include <kvm_vfio/detail/hash_index.hpp>
#include <kvm_vfio/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace kvm_vfio {

namespace detail {
template <class Storage>
inline constexpr std::size_t table_limit = 0;
template <table_storage Storage>
inline constexpr std::size_t table_limit<Storage> = Storage::template tables<storage_probe*>::limit;
}  // namespace detail

/// A list of at most this many files is searched one by one, which is faster. A longer list gets an
/// index and drops it when it has shrunk to half this number.
inline constexpr std::size_t linear_limit = 16;

/// Whether a list gets an index: its files have a hash, and its storage has memory for tables.
template <class File, class Storage>
inline constexpr bool has_index =
    hashable_file<File> && (detail::table_limit<Storage> > linear_limit);

/// The list of tracked files. It owns its entries, but not the files and groups that they name.
///
/// With a `hashable_file` and a `table_storage`, the list makes an index at the 17th file and drops
/// it when 8 files are left. The index costs 12 bytes in each entry. It also costs 8 to 16 bytes in
/// tables for each file, counted at the time when the list was longest. Without memory for tables,
/// look-up is slower, and nothing else changes.
/// \tparam File  a handle of an open file; `==` compares the identity
/// \tparam Group a handle of an IOMMU group, or an empty type
template <class File, class Group, storage Storage>
class file_list {
  template <int>
  struct no_field {};
  struct no_key {};

 public:
  /// Whether `find` takes constant time on average, if the files have good hashes.
  static constexpr bool indexed = has_index<File, Storage>;

  /// The entry of one tracked file.
  class entry {
   public:
    /// Makes an entry that is in no list.
    constexpr explicit entry(const File& tracked) noexcept : file(tracked) {}
    /// The tracked file.
    File file;
    /// On sPAPR the file's IOMMU group, which is empty until attribute 3 is set.
    [[no_unique_address]] Group iommu_group{};

   private:
    friend file_list;
    template <class, class>
    friend class detail::hash_index;
    [[no_unique_address]] std::conditional_t<indexed, std::uint32_t, no_field<0>> hash_{};
    entry** link_ = nullptr;  // the pointer to this entry: in the entry before it, or in the list
    entry* next_ = nullptr;
    [[no_unique_address]] std::conditional_t<indexed, entry*, no_field<1>> chained_{};
  };

  /// Makes an empty list that allocates its entries from `storage`.
  constexpr explicit file_list(const Storage& storage) noexcept : pool_(storage), index_(storage) {}
  file_list(const file_list&) = delete;
  file_list& operator=(const file_list&) = delete;

  /// The key of a file, by which the index finds it. A caller that needs it twice computes it once.
  using key = std::conditional_t<indexed, std::uint32_t, no_key>;
  /// Returns the key of a file. The key is valid until an entry is linked or unlinked.
  [[nodiscard]] constexpr key key_of(const File& file) const noexcept {
    if constexpr (indexed) return index_ ? detail::mix(identity_hash(file)) : 0;
    else return {};
  }

  /// Makes an entry that is not in the list. Returns null if there is no memory.
  [[nodiscard]] constexpr entry* make(const File& file) noexcept {
    return make(file, key_of(file));
  }
  /// Makes an entry that is not in the list. Returns null if there is no memory.
  /// \param of the key of `file`, from `key_of`
  [[nodiscard]] constexpr entry* make(const File& file, [[maybe_unused]] key of) noexcept {
    entry* const e = pool_.make(file);
    if constexpr (indexed)
      if (e) e->hash_ = of;
    return e;
  }
  /// Frees an entry that is not in the list.
  constexpr void destroy(entry& e) noexcept { pool_.destroy(&e); }

  /// Appends an entry at the end. Takes constant time. Makes the index at the 17th file.
  /// \pre no entry was linked or unlinked since `e` was made
  constexpr void append(entry& e) noexcept {
    e.link_ = tail_;
    e.next_ = nullptr;
    link(e);
  }
  /// Removes an entry from the list. It stays allocated and remembers its place. Takes constant
  /// time.
  constexpr void unlink(entry& e) noexcept {
    *e.link_ = e.next_;
    link_behind(e) = e.link_;
    --size_;
    if constexpr (indexed) {
      if (index_) [[unlikely]] {
        index_.remove(e);
        if (size_ <= linear_limit / 2) index_.stop();
      }
    }
  }
  /// Puts back the entry that `unlink` removed last.
  /// \pre no entry was linked or unlinked since then
  constexpr void relink(entry& e) noexcept { link(e); }

  /// Returns the entry of a file, or null. Takes constant time if there is an index, else linear
  /// time.
  [[nodiscard]] constexpr entry* find(const File& file) noexcept {
    return find(file, key_of(file));
  }
  /// Returns the entry of a file, or null. Takes constant time if there is an index, else linear
  /// time.
  /// \param of the key of `file`, from `key_of`
  [[nodiscard]] constexpr entry* find(const File& file, [[maybe_unused]] key of) noexcept {
    if constexpr (indexed)
      if (index_) return index_.find(file, of);
    for (entry* e = head_; e; e = e->next_)
      if (e->file == file) return e;
    return nullptr;
  }
  /// Returns the oldest entry, or null.
  [[nodiscard]] constexpr entry* first() const noexcept { return head_; }
  /// Returns the entry after this one, or null.
  [[nodiscard]] static constexpr entry* next(const entry& e) noexcept { return e.next_; }

  /// A place in the list: before an entry, or after the last one.
  class position {
   public:
    /// Returns the entry after this place, or null.
    [[nodiscard]] constexpr entry* get() const noexcept { return *link_; }
    /// Moves this place behind the next entry.
    /// \pre `get()` is not null
    constexpr void advance() noexcept { link_ = &(*link_)->next_; }
    /// True for two equal places.
    friend constexpr bool operator==(const position&, const position&) noexcept = default;

   private:
    friend file_list;
    constexpr explicit position(entry* const* link) noexcept : link_(link) {}
    entry* const* link_;
  };
  /// Returns the place before the first entry.
  [[nodiscard]] constexpr position begin() const noexcept { return position(&head_); }
  /// Returns the place before this entry. If the entry is unlinked, this is the place where it was,
  /// as long as no other entry was linked or unlinked.
  [[nodiscard]] static constexpr position before(const entry& e) noexcept {
    return position(e.link_);
  }
  /// Returns the place behind this entry. If the entry is unlinked, this is the place where it was,
  /// as long as no other entry was linked or unlinked.
  [[nodiscard]] static constexpr position behind(const entry& e) noexcept {
    return position(&e.next_);
  }
  /// Returns the number of entries.
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }

 private:
  struct no_index {
    constexpr explicit no_index(const Storage&) noexcept {}
  };
  template <class S, bool>
  struct index_of {
    using type = no_index;
  };
  template <class S>
  struct index_of<S, true> {
    using type = detail::hash_index<entry, typename S::template tables<entry*>>;
  };

  // Returns the pointer that points back to the place behind `e`: in the next entry, or in the
  // list.
  constexpr entry**& link_behind(entry& e) noexcept { return e.next_ ? e.next_->link_ : tail_; }

  constexpr void link(entry& e) noexcept {
    *e.link_ = &e;
    link_behind(e) = &e.next_;
    ++size_;
    if constexpr (indexed) {
      if (index_) [[unlikely]]
        index_.insert(e, size_);
      else if (size_ > linear_limit) make_index();
    }
  }
  [[gnu::noinline]] constexpr void make_index() noexcept {
    if (!index_.start()) return;
    std::size_t count = 0;
    for (entry* e = head_; e; e = e->next_) {
      e->hash_ = detail::mix(identity_hash(e->file));
      index_.insert(*e, ++count);
    }
  }

  entry* head_ = nullptr;
  entry** tail_ = &head_;
  std::size_t size_ = 0;
  [[no_unique_address]] own_pool<Storage, entry> pool_;
  [[no_unique_address]] typename index_of<Storage, indexed>::type index_;
};

}  // namespace kvm_vfio
