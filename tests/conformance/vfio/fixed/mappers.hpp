// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the sequences have in common in which a process and its child map memory for DMA.

#include "family.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/vfio.h>

#include <cstdint>
#include <string>

namespace vfio_lockstep::fixed {

/// What the sequences of mappings of two processes have in common. No memory is shared by
/// processes.
template <class Pair>
class mappers {
 protected:
  using System = typename Pair::system;
  using one = one_of_two<System>;

  /// \param memory sixteen pages that no process shares with another one
  mappers(recorder<System>& on, Pair& pair, const machine& m, std::uint64_t memory)
      : m_(m), page_(m.page), there_(memory), f_(on, pair), p_(f_.parent), c_(f_.child) {}

  static constexpr std::uint64_t first = 0x100000;
  [[nodiscard]] static std::string text(std::uint64_t n) { return std::to_string(n); }
  [[nodiscard]] std::uint64_t iova(std::uint64_t page) const { return first + page * page_; }
  [[nodiscard]] std::uint64_t address(std::uint64_t page) const { return there_ + page * page_; }
  [[nodiscard]] void* pointer(std::uint64_t page) const {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address(page)));
  }
  void map(one& who, int container, std::uint64_t at, std::uint64_t pages,
           std::uint32_t flags = 3) {
    who.map_dma(text(pages) + " at " + text(at), container, iova(at), address(0), pages * page_,
                flags);
  }
  void unmap(one& who, int container, std::uint64_t at, std::uint64_t pages,
             std::uint32_t flags = 0) {
    who.unmap_dma(text(pages) + " at " + text(at), container, iova(at), pages * page_, flags);
  }
  void limit(one& who, std::uint64_t pages) { who.sys().limit_memory(pages * page_); }
  /// No process has CAP_IPC_LOCK, and each may lock so many pages.
  void limit_both(std::uint64_t pages) {
    p_.sys().capable(false);
    limit(p_, pages);
  }
  void no_limit() {
    limit(p_, std::uint64_t{1} << 30);
    p_.sys().capable(true);
    f_.end();
  }

  const machine& m_;
  const std::uint64_t page_;
  const std::uint64_t there_;
  family<Pair> f_;
  one& p_;
  one& c_;
};

}  // namespace vfio_lockstep::fixed
