// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Finds list entries by the hash of their file.

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::detail {

/// Chains of entries, linked through the entries, behind a directory of tables that double. It
/// grows by one chain with each entry (linear hashing), so no insertion moves more than one chain,
/// and nothing ever moves in memory. Without memory for the next table the chains get longer
/// instead. Does not shrink.
/// \tparam Entry  has `file`, `hash_` and `chained_`, the last two for the index alone
/// \tparam Tables a `table_storage`'s tables of `Entry*`
template <class Entry, class Tables>
class hash_index {
 public:
  template <class Storage>
  constexpr explicit hash_index(const Storage& storage) noexcept : memory_(storage) {}
  hash_index(const hash_index&) = delete;
  hash_index& operator=(const hash_index&) = delete;
  constexpr ~hash_index() {
    for (int i = 0; i < directory_size && tables_[i]; ++i) memory_.destroy(tables_[i], size_of(i));
  }

  /// Whether it was started.
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return chains_ != 0; }
  /// Makes an empty index; false: no memory.
  [[nodiscard]] constexpr bool start() noexcept {
    tables_[0] = memory_.make(first_table);
    if (!tables_[0]) return false;
    for (std::uint32_t i = 0; i < first_table; ++i) tables_[0][i] = nullptr;
    round_ = first_table / 2;
    chains_ = first_table;
    return true;
  }

  /// The entry of this file, or null. \pre started, in this and the following
  template <class File>
  [[nodiscard]] constexpr Entry* find(const File& file, std::uint64_t identity) noexcept {
    const std::uint32_t hash = mix(identity);
    for (Entry* e = chain_of(hash); e; e = e->chained_)
      if (e->hash_ == hash && e->file == file) return e;
    return nullptr;
  }
  /// \param size how many entries there are with this one
  constexpr void insert(Entry& e, std::uint64_t identity, std::size_t size) noexcept {
    e.hash_ = mix(identity);
    if (size > chains_) grow();
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
  // The table of chain `n`, which is not of the first.
  static constexpr int table_of(std::uint32_t n) noexcept {
    return __builtin_clz(first_table) - __builtin_clz(n) + 1;
  }

  // Addresses and small numbers differ in few bits: spreads them over all, the low ones included.
  static constexpr std::uint32_t mix(std::uint64_t identity) noexcept {
    const std::uint64_t spread = (identity ^ identity >> 32) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint32_t>(spread >> 32);
  }

  // Chains are numbered through; table 0 has the first 32, each further one as many as all before.
  constexpr Entry*& chain(std::uint32_t n) noexcept {
    if (n < first_table) return tables_[0][n];
    const int table = table_of(n);
    return tables_[table][n - size_of(table)];
  }
  constexpr Entry*& chain_of(std::uint32_t hash) noexcept {
    const std::uint32_t n = hash & (round_ * 2 - 1);
    return chain(n < chains_ ? n : n - round_);
  }

  // Splits the next chain of this round in two.
  [[gnu::noinline]] constexpr void grow() noexcept {
    if (chains_ == round_ * 2) {
      const int next = table_of(chains_);
      if (next == directory_size) return;
      tables_[next] = memory_.make(chains_);
      if (!tables_[next]) return;
      round_ = chains_;
    }
    Entry*& old = chain(chains_ - round_);
    Entry* rest = old;
    Entry* stay = nullptr;
    Entry* move = nullptr;
    while (Entry* const e = rest) {
      rest = e->chained_;
      Entry*& to = e->hash_ & round_ ? move : stay;
      e->chained_ = to;
      to = e;
    }
    old = stay;
    chain(chains_++) = move;
  }

  static_assert(Tables::limit <= std::size_t{1} << 30, "chains have 32-bit numbers");
  static constexpr int directory_size = table_count(Tables::limit);
  Entry** tables_[directory_size] = {};
  std::uint32_t chains_ = 0;  // round_ < chains_ <= 2 * round_
  std::uint32_t round_ = 0;
  [[no_unique_address]] Tables memory_;
};

}  // namespace kvm_vfio::detail
