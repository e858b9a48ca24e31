// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The names of the ioctls of KVM, VFIO and iommufd in the log and in fault plans.

#include <kvm_vfio/trace/call.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kvm_vfio_sim {

/// The name of a request as the kernel's headers have it ("VFIO_DEVICE_SET_IRQS"). VFIO uses some
/// numbers twice, so the type of the file decides.
/// \return the name; the number in hexadecimal digits if the request is not known
[[nodiscard]] std::string request_name(std::uint32_t request, kvm_vfio::trace::file_type on);
/// The number of a request with a name, or of a number as text ("0x3b6e"). Nothing: there is none.
[[nodiscard]] std::optional<std::uint32_t> request_number(std::string_view name);

/// The name of a kind of call ("ioctl").
[[nodiscard]] const char* call_name(kvm_vfio::trace::call_kind kind) noexcept;
/// The kind of call with a name. Nothing: there is none.
[[nodiscard]] std::optional<kvm_vfio::trace::call_kind> call_kind_of(std::string_view name);

}  // namespace kvm_vfio_sim
