// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Finds list entries by the hash of their file.

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::detail {

/// Spreads what identities differ in, few bits of addresses or small numbers, over all bits, the
/// low ones included.
[[nodiscard]] constexpr std::uint32_t mix(std::uint64_t identity) noexcept {
  identity = (identity ^ identity >> 30) * 0xbf58476d1ce4e5b9;  // the constants of splitmix64
  identity = (identity ^ identity >> 27) * 0x94d049bb133111eb;
  return static_cast<std::uint32_t>(identity >> 32);
}

/// Chains of entries, linked through the entries, behind a directory of tables that double. It
/// grows by one chain with each entry (linear hashing), so no insertion moves more than two chains,
/// and nothing ever moves in memory. Without memory for the next table the chains get longer
/// instead, until there is memory. Does not shrink but to nothing.
/// \tparam Entry  has `file`, `hash_` and `chained_`, the last two for the index alone
/// \tparam Tables a `table_storage`'s tables of `Entry*`
template <class Entry, class Tables>
class hash_index {
 public:
  template <class Storage>
  constexpr explicit hash_index(const Storage& storage) noexcept : memory_(storage) {}
  hash_index(const hash_index&) = delete;
  hash_index& operator=(const hash_index&) = delete;
  constexpr ~hash_index() { stop(); }

  /// Whether it was started.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return chains_ != 0; }
  /// Makes an empty index; false: no memory.
  [[nodiscard]] constexpr bool start() noexcept {
    tables_[0] = memory_.make(first_table);
    if (!tables_[0]) return false;
    table_count_ = 1;
    for (std::uint32_t i = 0; i < first_table; ++i) tables_[0][i] = nullptr;
    mask_ = first_table - 1;
    chains_ = first_table;
    return true;
  }
  /// Gives all memory back; what was in it is in no index any more.
  constexpr void stop() noexcept {
    while (table_count_ != 0) {
      --table_count_;
      memory_.destroy(tables_[table_count_], size_of(table_count_));
    }
    chains_ = 0;
  }

  /// The entry of this file, or null. \pre started, in this and the following
  template <class File>
  [[nodiscard]] constexpr Entry* find(const File& file, std::uint32_t hash) noexcept {
    for (Entry* e = chain_of(hash); e; e = e->chained_)
      if (e->hash_ == hash && e->file == file) return e;
    return nullptr;
  }
  /// \param size how many entries there are with this one. \pre `e.hash_` is mixed
  constexpr void insert(Entry& e, std::size_t size) noexcept {
    if (size > chains_) {
      grow();
      if (size > chains_) grow();  // catches up after a refusal
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
  // The table of chain `n`: how many bits are behind those of the first table's numbers.
  static constexpr int table_of(std::uint32_t n) noexcept {
    return 31 - __builtin_clz(((n / first_table) << 1) | 1);
  }

  // How many chains the tables before this one have: 0, 32, 64, 128 …
  static constexpr std::uint32_t chains_before(int table) noexcept {
    return ((std::uint32_t{1} << table) >> 1) * first_table;
  }
  // Chains are numbered through; table 0 has the first 32, each further one as many as all before.
  constexpr Entry*& chain(std::uint32_t n) noexcept {
    const int table = table_of(n);
    return tables_[table][n - chains_before(table)];
  }
  constexpr Entry*& chain_of(std::uint32_t hash) noexcept {
    // A chain that this round has not split yet is still part of one of the round before.
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

  static_assert(Tables::limit <= std::size_t{1} << 30, "chains have 32-bit numbers");
  static constexpr int directory_size = table_count(Tables::limit);
  Entry** tables_[std::size_t{directory_size}];  // the first `table_count_` of them
  int table_count_ = 0;
  std::uint32_t chains_ = 0;
  std::uint32_t mask_ = 0;  // of this round: mask_ / 2 < chains_ <= mask_ + 1
  [[no_unique_address]] Tables memory_;
};

}  // namespace kvm_vfio::detail
