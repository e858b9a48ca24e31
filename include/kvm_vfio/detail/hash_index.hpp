// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An index that finds list entries by the hash of their file.

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::detail {

/// Returns a hash of `identity`. Identities are addresses or small numbers, which differ in a few
/// bits only. The hash differs in all bits, also in the low ones that choose a chain.
[[nodiscard]] constexpr std::uint32_t mix(std::uint64_t identity) noexcept {
  identity = (identity ^ identity >> 30) * 0xbf58476d1ce4e5b9;  // the constants of splitmix64
  identity = (identity ^ identity >> 27) * 0x94d049bb133111eb;
  return static_cast<std::uint32_t>(identity >> 32);
}

/// A hash table whose chains link the entries themselves. A directory points to tables of chains.
/// Each table after the second is twice as large as the one before it. The index grows by one chain
/// with each entry (linear hashing). So an insertion splits at most two chains, and no table is
/// ever copied. If there is no memory for the next table, the chains get longer until there is. The
/// index frees its memory in `stop` only.
/// \tparam Entry  has `file`, and for this index alone `hash_` and `chained_`
/// \tparam Tables the tables of `Entry*` of a `table_storage`
template <class Entry, class Tables>
class hash_index {
 public:
  template <class Storage>
  constexpr explicit hash_index(const Storage& storage) noexcept : memory_(storage) {}
  hash_index(const hash_index&) = delete;
  hash_index& operator=(const hash_index&) = delete;
  constexpr ~hash_index() { stop(); }

  /// Returns true after `start`.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return chains_ != 0; }
  /// Makes an empty index. Returns false if there is no memory.
  [[nodiscard]] constexpr bool start() noexcept {
    tables_[0] = memory_.make(first_table);
    if (!tables_[0]) return false;
    table_count_ = 1;
    for (std::uint32_t i = 0; i < first_table; ++i) tables_[0][i] = nullptr;
    mask_ = first_table - 1;
    chains_ = first_table;
    return true;
  }
  /// Frees all memory of the index. The entries are then in no index.
  constexpr void stop() noexcept {
    while (table_count_ != 0) {
      --table_count_;
      memory_.destroy(tables_[table_count_], size_of(table_count_));
    }
    chains_ = 0;
  }

  /// Returns the entry of a file, or null.
  /// \pre the index was started
  template <class File>
  [[nodiscard]] constexpr Entry* find(const File& file, std::uint32_t hash) noexcept {
    for (Entry* e = chain_of(hash); e; e = e->chained_)
      if (e->hash_ == hash && e->file == file) return e;
    return nullptr;
  }
  /// Enters an entry, whose `hash_` must be a result of `mix`.
  /// \param size the number of entries including this one
  /// \pre the index was started
  constexpr void insert(Entry& e, std::size_t size) noexcept {
    if (size > chains_) {
      grow();
      if (size > chains_) grow();  // a second step, because an earlier one found no memory
    }
    Entry*& newest = chain_of(e.hash_);
    e.chained_ = newest;
    newest = &e;
  }
  constexpr void remove(Entry& e) noexcept {
    Entry** link = &chain_of(e.hash_);
    while (*link != &e) link = &(*link)->chained_;
    *link = e.chained_;
  }

 private:
  static constexpr std::uint32_t first_table = 32;
  static constexpr int table_count(std::size_t limit) noexcept {
    int n = 1;
    for (std::size_t sum = first_table; sum <= limit / 2; sum *= 2) ++n;
    return n;
  }
  static constexpr std::size_t size_of(int table) noexcept {
    return std::size_t{first_table} << (table ? table - 1 : 0);
  }
  // Returns the table that holds chain `n`: the number of bits in `n / first_table`.
  static constexpr int table_of(std::uint32_t n) noexcept {
    return 31 - __builtin_clz(((n / first_table) << 1) | 1);
  }

  // Returns how many chains the tables before this one have: 0, 32, 64, 128 and so on.
  static constexpr std::uint32_t chains_before(int table) noexcept {
    return ((std::uint32_t{1} << table) >> 1) * first_table;
  }
  // Chains have consecutive numbers. Table 0 has the first 32. Each further table has as many
  // chains as all tables before it together.
  constexpr Entry*& chain(std::uint32_t n) noexcept {
    const int table = table_of(n);
    return tables_[table][n - chains_before(table)];
  }
  constexpr Entry*& chain_of(std::uint32_t hash) noexcept {
    // A chain that was not split in this round yet is still a part of its chain of the round
    // before.
    const std::uint32_t n = hash & mask_;
    return chain(n < chains_ ? n : n & (mask_ >> 1));
  }

  // Splits the next chain of this round in two.
  [[gnu::noinline]] constexpr void grow() noexcept {
    if (chains_ > mask_) {
      const int next = table_of(chains_);
      if (next == directory_size) return;
      tables_[next] = memory_.make(chains_);
      if (!tables_[next]) return;
      table_count_ = next + 1;
      mask_ = chains_ * 2 - 1;
    }
    const std::uint32_t bit = mask_ / 2 + 1;
    Entry*& old = chain(chains_ - bit);
    Entry* rest = old;
    Entry* stay = nullptr;
    Entry* move = nullptr;
    while (Entry* const e = rest) {
      rest = e->chained_;
      Entry*& to = e->hash_ & bit ? move : stay;
      e->chained_ = to;
      to = e;
    }
    old = stay;
    chain(chains_++) = move;
  }

  static_assert(Tables::limit <= std::size_t{1} << 30,
                "the limit of a table storage must be at most 2^30: chains have 32-bit numbers");
  static constexpr int directory_size = table_count(Tables::limit);
  Entry** tables_[std::size_t{directory_size}];  // only the first `table_count_` are in use
  int table_count_ = 0;
  std::uint32_t chains_ = 0;
  std::uint32_t mask_ = 0;  // always: mask_ / 2 < chains_ <= mask_ + 1
  [[no_unique_address]] Tables memory_;
};

}  // namespace kvm_vfio::detail
