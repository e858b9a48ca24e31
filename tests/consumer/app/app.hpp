// SPDX-License-Identifier: BSL-1.0
#pragma once
#ifdef APP_SINGLE_HEADER
#include <kvm_vfio.hpp>
#else
#include <kvm_vfio/kvm_vfio.hpp>
#endif

namespace app {

// Every file is VFIO's and noncoherent; remembers whom set_kvm named last.
struct vfio : kvm_vfio::linked_symbols {
  using file = int;
  using vm = int;
  int owner = 0;
  [[nodiscard]] constexpr bool file_is_valid(const file&) const noexcept { return true; }
  constexpr void file_set_kvm(const file&, const vm& to) noexcept { owner = to; }
  [[nodiscard]] constexpr bool file_enforced_coherent(const file&) const noexcept { return false; }
};

struct iommu {
  int registered = 0;
  constexpr void register_noncoherent_dma(int) noexcept { ++registered; }
  constexpr void unregister_noncoherent_dma(int) noexcept { --registered; }
};

using device = kvm_vfio::device<vfio, kvm_vfio::null_lock, iommu>;
using name_function = const char* (*)(kvm_vfio::errc) noexcept;

kvm_vfio::errc add_elsewhere(device& d, int file) noexcept;
name_function name_elsewhere() noexcept;

}  // namespace app
