// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Finds out when KVM must be told of a change in the coherency of a VM's DMA.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/detail/published.hpp>

#include <cstdint>

namespace kvm_vfio {

/// The change that an update of the coherency makes.
enum class coherency_edge : unsigned char { none, to_noncoherent, to_coherent };

/// Remembers what KVM was told last. It calls no function of KVM. Because it reports changes only,
/// registering and unregistering always alternate. Any thread may read it at any time.
class coherency {
 public:
  /// Records whether any file is noncoherent now, and returns what this changes for KVM.
  [[nodiscard]] constexpr coherency_edge update(bool noncoherent) noexcept {
    if (noncoherent == noncoherent_.get()) return coherency_edge::none;
    noncoherent_.set(noncoherent);
    return noncoherent ? coherency_edge::to_noncoherent : coherency_edge::to_coherent;
  }
  /// Returns true if KVM was last told that there is noncoherent DMA.
  [[nodiscard]] constexpr bool noncoherent() const noexcept { return noncoherent_.get(); }

 private:
  detail::published<bool> noncoherent_{false};
};

/// Looks for a noncoherent file as the kernel does: it asks all files in insertion order, up to the
/// first noncoherent one. Takes linear time.
/// \tparam List a `file_list`
template <class List>
class coherency_walk {
  using entry = typename List::entry;

 public:
  /// Returns true if one of the files is noncoherent.
  /// \param files the list
  /// \param vfio  `vfio.enforced_coherent(file)` returns whether the DMA of a file is coherent
  template <class Vfio>
  [[nodiscard]] constexpr bool any_noncoherent(const List& files, Vfio vfio) noexcept {
    for (const entry* e = files.first(); e; e = List::next(*e))
      if (!vfio.enforced_coherent(e->file)) return true;
    return false;
  }
  /// Does nothing, because each walk begins at the first file.
  constexpr void forget(const entry&) noexcept {}
};

/// Looks for a noncoherent file with the help of epochs. Within one epoch each walk continues where
/// the last one stopped. So it asks each file at most once in an epoch, and never a file that the
/// kernel's walk would not reach.
/// \tparam List a `file_list`
template <class List>
class epoch_walk {
 public:
  /// Makes a walk over `files` and no other list.
  constexpr explicit epoch_walk(const List& files) noexcept : next_(files.begin()) {}
  /// Returns true if one of the files is noncoherent.
  /// \param files the list from the constructor
  /// \param vfio  `vfio.coherency_epoch()` returns the epoch, which is read before any file is
  ///              asked; `vfio.enforced_coherent(file)` returns whether the DMA of a file is
  ///              coherent
  template <class Vfio>
  [[nodiscard]] constexpr bool any_noncoherent(const List& files, Vfio vfio) noexcept {
    if (const std::uint64_t epoch = vfio.coherency_epoch(); epoch != epoch_) {
      epoch_ = epoch;
      next_ = files.begin();
      stopped_ = false;
    }
    if (stopped_) return true;
    for (; next_.get(); next_.advance())
      if (!vfio.enforced_coherent(next_.get()->file)) return stopped_ = true;
    return false;
  }
  /// Tells the walk that `e` leaves the list. Call it before `e` is unlinked, or right after,
  /// before any other entry is linked or unlinked.
  constexpr void forget(const typename List::entry& e) noexcept {
    if (next_ == List::behind(e)) next_ = List::before(e);
    else if (next_ == List::before(e)) stopped_ = false;
  }

 private:
  std::uint64_t epoch_ = 0;
  typename List::position next_;  // all files before this place are coherent
  bool stopped_ = false;          // whether the file at this place is noncoherent
};

}  // namespace kvm_vfio
