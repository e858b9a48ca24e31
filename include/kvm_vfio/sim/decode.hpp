// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads out of an ioctl's argument what observers want to know.

#include <kvm_vfio/sim/call.hpp>
#include <kvm_vfio/sim/config.hpp>
#include <kvm_vfio/sim/memory.hpp>
#include <kvm_vfio/sim/uapi.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::sim {

namespace detail {
template <class T>
[[nodiscard]] bool peek(memory& from, std::uint64_t address, T& object) noexcept {
  return from.read(address, &object, sizeof object);
}
/// Reads a string that ends within a page.
/// \param text what could be read, also after an error
/// \return fault: not readable · inval: longer
[[nodiscard]] errc peek_string(memory& from, std::uint64_t address, std::string& text);
void decode_attr(call& c, memory& from) noexcept;
}  // namespace detail

/// Fills in what the argument says. Called before the call is made, when the argument is the
/// caller's still.
void decode_argument(call& c, memory& from);

/// Fills in the answer. Called after the call.
void decode_answer(call& c, memory& from, const answer& a) noexcept;

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_SIM_COMPILED
#include <kvm_vfio/sim/impl/decode.hpp>
#endif
