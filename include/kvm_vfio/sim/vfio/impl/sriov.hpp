// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of sriov.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/vfio/sriov.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kvm_vfio::sim {

namespace detail {
// The value of a hexadecimal digit. -1: it is none.
constexpr int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
// The number of characters of a UUID.
inline constexpr std::size_t uuid_length = 36;
// Reads a UUID at the start of a text. Text may follow it.
KVM_VFIO_INLINE bool read_uuid(std::string_view text,
                               unsigned char (&to)[sriov_function::token_size]) noexcept {
  if (text.size() < uuid_length) return false;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < uuid_length; ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const int digit = digit_of(text[i]);
    if (dash ? text[i] != '-' : digit < 0) return false;
    if (dash) continue;
    unsigned char& b = to[digits / 2];
    b = static_cast<unsigned char>(b << 4 | digit);
    ++digits;
  }
  return true;
}
}  // namespace detail

KVM_VFIO_INLINE bool sriov_function::matches(const unsigned char* given) const noexcept {
  return token_known && std::memcmp(token, given, sizeof token) == 0;
}

KVM_VFIO_INLINE void sriov_function::set(const unsigned char* given) noexcept {
  std::memcpy(token, given, sizeof token);
  token_known = true;
}

KVM_VFIO_INLINE errc sriov_function::check_token(const unsigned char* given) noexcept {
  const sriov_function* const of = is_virtual ? physical : is_physical ? this : nullptr;
  if (!of) return given ? errc::inval : errc::ok;
  if (is_virtual || users != 0) return given && of->matches(given) ? errc::ok : errc::access;
  if (given) set(given);
  return errc::ok;
}

KVM_VFIO_INLINE errc sriov_function::check_options(std::string_view options) noexcept {
  constexpr std::string_view name = "vf_token=";
  unsigned char bytes[token_size] = {};
  bool given = false;
  while (!options.empty()) {
    if (options.front() == ' ') {
      options.remove_prefix(1);
      continue;
    }
    if (given || !options.starts_with(name)) return errc::inval;
    options.remove_prefix(name.size());
    if (!detail::read_uuid(options, bytes)) return errc::inval;
    options.remove_prefix(detail::uuid_length);
    given = true;
  }
  return check_token(given ? bytes : nullptr);
}

KVM_VFIO_INLINE errc sriov_function::feature(process& task, std::uint32_t flags, std::uint64_t data,
                                             std::size_t size) {
  if (!is_physical) return errc::notty;
  if (flags & VFIO_DEVICE_FEATURE_GET) return errc::inval;
  if (flags & VFIO_DEVICE_FEATURE_PROBE) return errc::ok;
  unsigned char given[token_size];
  if (!(flags & VFIO_DEVICE_FEATURE_SET) || size < sizeof given) return errc::inval;
  if (!task.copy_from_user(data, given)) return errc::fault;
  set(given);
  return errc::ok;
}

}  // namespace kvm_vfio::sim
