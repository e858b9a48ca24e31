// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of user_struct.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE errc zeros(process& task, std::uint64_t address, std::size_t first,
                           std::size_t size) {
  for (std::size_t at = first; at < size; ++at) {
    unsigned char byte = 0;
    if (!task.mem().read(address + at, &byte, 1)) return errc::fault;
    if (byte != 0) return errc::toobig;
  }
  return errc::ok;
}

KVM_VFIO_INLINE void capability_chain::add(std::uint16_t id, std::uint16_t version,
                                           const std::vector<unsigned char>& body) {
  const std::size_t at = bytes_.size();
  const vfio_info_cap_header header{.id = id, .version = version, .next = 0};
  const auto* raw = reinterpret_cast<const unsigned char*>(&header);
  bytes_.insert(bytes_.end(), raw, raw + sizeof header);
  bytes_.insert(bytes_.end(), body.begin(), body.end());
  if (aligned_) bytes_.resize((bytes_.size() + 7) & ~std::size_t{7});
  starts_.push_back(at);
}

KVM_VFIO_INLINE std::vector<unsigned char> capability_chain::placed_after(
    std::size_t offset) const {
  std::vector<unsigned char> out = bytes_;
  for (std::size_t i = 0; i + 1 < starts_.size(); ++i) {
    const auto next = static_cast<std::uint32_t>(offset + starts_[i + 1]);
    __builtin_memcpy(&out[starts_[i] + offsetof(vfio_info_cap_header, next)], &next, sizeof next);
  }
  return out;
}

}  // namespace kvm_vfio::sim::detail
