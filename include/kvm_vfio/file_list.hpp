// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The tracked files, in insertion order, found by identity. Calls nobody.

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

/// Up to so many files are looked for one by one, whatever they are: that is faster. (A list that
/// had more goes back to that at half as many.)
inline constexpr std::size_t linear_limit = 16;

/// Whether a list of such files in such a storage has an index.
template <class File, class Storage>
inline constexpr bool has_index =
    hashable_file<File> && (detail::table_limit<Storage> > linear_limit);

/// A list of tracked files that owns its entries and nothing that they name.
///
/// With a `hashable_file` and a `table_storage` the list has an index from the 17th file on until
/// there are 8 again. For each file it costs 12 bytes in the entry and 8 to 16 in tables, by the
/// most files that there were. Without memory for them look-up is slower, and that is all.
/// \tparam File  handle of an open file; `==` is identity
/// \tparam Group handle of an IOMMU group, or an empty type
template <class File, class Group, storage Storage>
class file_list {
  template <int>
  struct no_field {};
  struct no_key {};

 public:
  /// Whether look-up takes constant time, on average over what the hash makes of the files.
  static constexpr bool indexed = has_index<File, Storage>;

  /// One tracked file.
  class entry {
   public:
    /// An entry that is in no list.
    constexpr explicit entry(const File& tracked) noexcept : file(tracked) {}
    /// The file, and for sPAPR its IOMMU group, empty until one is attached.
    File file;
    [[no_unique_address]] Group iommu_group{};

   private:
    friend file_list;
    template <class, class>
    friend class detail::hash_index;
    [[no_unique_address]] std::conditional_t<indexed, std::uint32_t, no_field<0>> hash_{};
    entry** link_ = nullptr;  // what points here: the entry before, or the list
    entry* next_ = nullptr;
    [[no_unique_address]] std::conditional_t<indexed, entry*, no_field<1>> chained_{};
  };

  /// An empty list.
  constexpr explicit file_list(const Storage& storage) noexcept : pool_(storage), index_(storage) {}
  file_list(const file_list&) = delete;
  file_list& operator=(const file_list&) = delete;

  /// By what a file is looked up and entered, found out once for both.
  using key = std::conditional_t<indexed, std::uint32_t, no_key>;
  /// \return the file's; good until a file is linked or unlinked
  [[nodiscard]] constexpr key key_of(const File& file) const noexcept {
    if constexpr (indexed) return index_ ? detail::mix(identity_hash(file)) : 0;
    else return {};
  }

  /// An entry that is not in the list yet; null: no memory.
  [[nodiscard]] constexpr entry* make(const File& file) noexcept {
    return make(file, key_of(file));
  }
  /// The same, with the file's `key_of`.
  [[nodiscard]] constexpr entry* make(const File& file, [[maybe_unused]] key of) noexcept {
    entry* const e = pool_.make(file);
    if constexpr (indexed)
      if (e) e->hash_ = of;
    return e;
  }
  /// Frees an entry that is not in the list.
  constexpr void destroy(entry& e) noexcept { pool_.destroy(&e); }

  /// Appends at the tail. Constant time; makes the index at the 17th file. \pre nothing was linked
  /// or unlinked since `e` was made
  constexpr void append(entry& e) noexcept {
    e.link_ = tail_;
    e.next_ = nullptr;
    link(e);
  }
  /// Takes an entry out; it stays allocated and remembers its place. Constant time.
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
  /// Undoes the last `unlink`. \pre nothing was linked or unlinked since
  constexpr void relink(entry& e) noexcept { link(e); }

  /// The entry of this file, or null. Constant time if there is an index, else linear.
  [[nodiscard]] constexpr entry* find(const File& file) noexcept {
    return find(file, key_of(file));
  }
  /// The same by the file's `key_of`.
  [[nodiscard]] constexpr entry* find(const File& file, [[maybe_unused]] key of) noexcept {
    if constexpr (indexed)
      if (index_) return index_.find(file, of);
    for (entry* e = head_; e; e = e->next_)
      if (e->file == file) return e;
    return nullptr;
  }
  /// The oldest entry, or null.
  [[nodiscard]] constexpr entry* first() const noexcept { return head_; }
  /// The entry after this one, or null.
  [[nodiscard]] static constexpr entry* next(const entry& e) noexcept { return e.next_; }

  /// A place between two entries, before the first or behind the last.
  class position {
   public:
    /// The entry behind, or null.
    [[nodiscard]] constexpr entry* get() const noexcept { return *link_; }
    /// Goes behind it. \pre there is one
    constexpr void advance() noexcept { link_ = &(*link_)->next_; }
    /// The same place.
    friend constexpr bool operator==(const position&, const position&) noexcept = default;

   private:
    friend file_list;
    constexpr explicit position(entry* const* link) noexcept : link_(link) {}
    entry* const* link_;
  };
  /// Before the first entry.
  [[nodiscard]] constexpr position begin() const noexcept { return position(&head_); }
  /// Before this entry, or where it was if nothing was linked or unlinked since.
  [[nodiscard]] static constexpr position before(const entry& e) noexcept {
    return position(e.link_);
  }
  /// Behind this entry, on the same condition.
  [[nodiscard]] static constexpr position behind(const entry& e) noexcept {
    return position(&e.next_);
  }
  /// How many entries there are.
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

  // What points back to the entry's place: the next entry, or the list's end.
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
