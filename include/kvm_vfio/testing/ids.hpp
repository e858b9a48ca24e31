// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What the mocks call files, VMs and IOMMU groups: small numbers, 0 for none.

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

/// An open file description. Positive: made by a symbol provider; negative: by a process.
using file_id = detail::id<struct file_tag>;
/// A VM.
using vm_id = detail::id<struct vm_tag>;
/// An IOMMU group.
using group_id = detail::id<struct group_tag>;

}  // namespace kvm_vfio::testing
