// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls in words, and a timeline of them.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>

namespace kvm_vfio::trace {

/// The name of an ioctl request; empty: not one of VFIO's, iommufd's or kvm-vfio's. VFIO reuses
/// numbers between a container, a group and a device; the usual one is named.
[[nodiscard]] const char* request_name(std::uint32_t request) noexcept;

/// One call as a line: "ioctl(5, FILE_ADD fd 4) = 0".
[[nodiscard]] std::string to_string(const call& c);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/call_text.hpp>
#endif
