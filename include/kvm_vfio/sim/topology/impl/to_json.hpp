// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Converts a topology to a JSON value, for topology_json.hpp. Needs nlohmann/json.

#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/fields.hpp>

#if __has_include(<nlohmann/json.hpp>)

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace kvm_vfio::sim::detail {

[[nodiscard]] inline std::string hex_digits(const std::vector<std::uint8_t>& bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t b : bytes) {
    out += digits[b >> 4];
    out += digits[b & 15];
  }
  return out;
}

/// Converts a struct of topology.hpp to a JSON object. The members keep the order of their
/// declaration.
template <class Struct>
[[nodiscard]] nlohmann::ordered_json to_value(const Struct& object) {
  using json = nlohmann::ordered_json;
  json out = json::object();
  visit_fields(object, [&out](const char* name, const auto& member, field_form form) {
    using member_type = std::remove_cvref_t<decltype(member)>;
    const bool hex = form == field_form::hex || form == field_form::required_hex;
    if constexpr (std::is_enum_v<member_type>) {
      out[name] = std::string(name_of(member));
    } else if constexpr (std::same_as<member_type, std::vector<std::uint8_t>>) {
      out[name] = hex_digits(member);
    } else if constexpr (requires { member.has_value(); }) {
      if (member) out[name] = to_value(*member);
    } else if constexpr (std::same_as<member_type, std::string> ||
                         std::same_as<member_type, bool> || std::signed_integral<member_type>) {
      out[name] = member;
    } else if constexpr (std::unsigned_integral<member_type>) {
      if (hex) out[name] = in_hex(member);
      else out[name] = member;
    } else if constexpr (requires { member.size(); }) {
      json& list = out[name] = json::array();
      for (const auto& element : member) list.push_back(to_value(element));
    } else {
      out[name] = to_value(member);
    }
  });
  return out;
}

}  // namespace kvm_vfio::sim::detail

#endif
