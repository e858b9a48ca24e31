// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Decodes ioctls for observers: first the arguments, and after the call the answer.

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <cstdint>

namespace kvm_vfio::trace {

namespace detail {
template <class T>
[[nodiscard]] bool peek(memory& from, std::uint64_t address, T& object) noexcept {
  return from.peek(address, &object, sizeof object);
}
void decode_attr(call& c, memory& from) noexcept;
void decode_range(call& c, memory& from) noexcept;
void decode_unmapped(call& c, memory& from) noexcept;
void decode_ranges(call& c, memory& from);
void read_ranges(call& c, memory& from, std::uint64_t address, std::uint32_t count);
}  // namespace detail

/// Fills the members of a call that stand in its argument. Call this function before the ioctl is
/// executed, because the kernel may overwrite the argument. Members stay unchanged if the memory
/// cannot be read (`memory::peek`).
/// \param c    the call, with `request` and `argument` set
/// \param from the memory of the process that makes the call
void decode_argument(call& c, memory& from);

/// Fills `error`, `value`, `made`, `unmapped` and `ranges` of a call. Call this function after the
/// call is executed.
/// \param c    the call
/// \param from the memory of the process that made the call
/// \param a    the answer
void decode_answer(call& c, memory& from, const answer& a);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/decode_ioctl.hpp>
#endif
