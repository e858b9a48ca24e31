// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The addresses that the memory of a process can have.

#include <cstdint>

namespace kvm_vfio::sim::detail {

/// The addresses of a process end here (TASK_SIZE_MAX). The kernel refuses a longer range of bytes
/// before it looks at the call. On x86 this is the end with page tables of four levels.
#if defined __x86_64__
inline constexpr std::uint64_t end_of_user = (std::uint64_t{1} << 47) - 4096;
#else
inline constexpr std::uint64_t end_of_user = std::uint64_t{1} << 63;
#endif

}  // namespace kvm_vfio::sim::detail
