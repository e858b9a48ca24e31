// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// System calls as text.

#include <kvm_vfio/trace/call.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::trace {

/// The name of an ioctl request. VFIO uses some numbers twice, for example on a container and on a
/// device; then this function returns the name of the more frequent request.
/// \return the name; an empty string if the request is none of KVM, VFIO or iommufd that this
///         library knows. Never null.
[[nodiscard]] const char* request_name(std::uint32_t request) noexcept;

namespace detail {
// Writes a number as "0x" and hexadecimal digits.
std::string in_hex(std::uint64_t number);
}  // namespace detail

/// Writes a call as one line of text without a newline: "ioctl(5, FILE_ADD fd 4) = 0".
[[nodiscard]] std::string to_string(const call& c);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/call_text.hpp>
#endif
