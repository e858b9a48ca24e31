// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads out of an ioctl's argument what observers want to know.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::trace {

namespace detail {
template <class T>
[[nodiscard]] bool peek(memory& from, std::uint64_t address, T& object) noexcept {
  return from.read(address, &object, sizeof object);
}
void decode_attr(call& c, memory& from) noexcept;
}  // namespace detail

/// Fills in what the argument says. Called before the call is made, when the argument is the
/// caller's still.
void decode_argument(call& c, memory& from);

/// Fills in the answer. Called after the call.
void decode_answer(call& c, memory& from, const answer& a) noexcept;

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/decode_ioctl.hpp>
#endif
