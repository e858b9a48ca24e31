// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// When KVM must be told that a VM's DMA became noncoherent, or coherent again.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/detail/published.hpp>

#include <cstdint>

namespace kvm_vfio {

/// What an update changed.
enum class coherency_edge : unsigned char { none, to_noncoherent, to_coherent };

/// Remembers what KVM was told last. Pure: it calls nobody, so the edges alternate by
/// construction. Any thread may read it at any time.
class coherency {
 public:
  /// Records whether any file is noncoherent now and says whether that is news.
  [[nodiscard]] constexpr coherency_edge update(bool noncoherent) noexcept {
    if (noncoherent == noncoherent_.get()) return coherency_edge::none;
    noncoherent_.set(noncoherent);
    return noncoherent ? coherency_edge::to_noncoherent : coherency_edge::to_coherent;
  }
  /// Whether KVM was told last that there is noncoherent DMA.
  [[nodiscard]] constexpr bool noncoherent() const noexcept { return noncoherent_.get(); }

 private:
  detail::published<bool> noncoherent_{false};
};

/// Looks for a noncoherent file as the kernel does: asks all in insertion order, up to the first
/// that says no. Linear.
/// \tparam List  a `file_list`
/// \tparam Epoch whether the provider has a coherency epoch
template <class List, bool Epoch>
class coherency_walk {
  using entry = typename List::entry;

 public:
  /// A walk over no other list than this.
  constexpr explicit coherency_walk(const List&) noexcept {}
  /// \param files the list
  /// \param ask   whether a file's DMA is coherent
  template <class Ask>
  [[nodiscard]] constexpr bool any_noncoherent(const List& files, Ask&& ask) noexcept {
    for (const entry* e = files.first(); e; e = List::next(*e))
      if (!ask(e->file)) return true;
    return false;
  }
  /// This entry goes; told before it does, or after it was unlinked and before anything else is.
  constexpr void forget(const entry&) noexcept {}
};

/// The same walk, but for as long as an epoch lasts it goes on where it stopped. So it asks each
/// file once in an epoch at the most, and never one that the whole walk would not ask.
template <class List>
class coherency_walk<List, true> {
 public:
  /// A walk over no other list than this.
  constexpr explicit coherency_walk(const List& files) noexcept : next_(files.begin()) {}
  /// \param files the list
  /// \param epoch the provider's, read before anything is asked
  /// \param ask   whether a file's DMA is coherent
  template <class Ask>
  [[nodiscard]] constexpr bool any_noncoherent(const List& files, std::uint64_t epoch,
                                               Ask&& ask) noexcept {
    if (epoch != epoch_) {
      epoch_ = epoch;
      next_ = files.begin();
      stopped_ = false;
    }
    if (stopped_) return true;
    for (; next_.get(); next_.advance())
      if (!ask(next_.get()->file)) return stopped_ = true;
    return false;
  }
  /// This entry goes; told before it does, or after it was unlinked and before anything else is.
  constexpr void forget(const typename List::entry& e) noexcept {
    if (next_ == List::behind(e)) next_ = List::before(e);
    else if (next_ == List::before(e)) stopped_ = false;
  }

 private:
  std::uint64_t epoch_ = 0;
  typename List::position next_;  // all before it said yes
  bool stopped_ = false;          // the one there said no
};

}  // namespace kvm_vfio
