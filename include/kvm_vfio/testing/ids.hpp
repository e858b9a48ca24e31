// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The handles that the mocks use for files, VMs and IOMMU groups: small numbers, where 0 means
/// none.

#include <cstdint>

namespace kvm_vfio::testing {

namespace detail {
template <class Tag>
struct id {
  int number = 0;
  friend constexpr bool operator==(const id&, const id&) = default;
  friend constexpr std::uint64_t identity_hash(const id& i) noexcept {
    return static_cast<std::uint64_t>(i.number);
  }
  [[nodiscard]] constexpr explicit operator bool() const noexcept { return number != 0; }
};
}  // namespace detail

/// An open file description. A symbol provider makes positive numbers, a process makes negative
/// ones.
using file_id = detail::id<struct file_tag>;
/// The number of a VM.
using vm_id = detail::id<struct vm_tag>;
/// The number of an IOMMU group.
using group_id = detail::id<struct group_tag>;

}  // namespace kvm_vfio::testing
