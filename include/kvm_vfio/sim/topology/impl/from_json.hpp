// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Converts a JSON value to a topology, for topology_json.hpp. Needs nlohmann/json.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/fields.hpp>

#if __has_include(<nlohmann/json.hpp>)

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Fills the structs of topology.hpp. After an error the reader notes the path of the member and
/// continues with the next one.
class topology_reader {
 public:
  using json = nlohmann::json;
  /// \param errors the reader appends the errors that it finds
  explicit topology_reader(topology_errors& errors) noexcept : errors_(errors) {}

  /// Reads a whole topology. A member that is missing in the value keeps its old value.
  void read(const json& value, topology& to) {
    // Editors find the schema by this member, which is no part of the topology.
    if (const auto schema = value.find("$schema"); value.is_object() && schema != value.end()) {
      if (!schema->is_string()) wrong_type(*schema, "$schema", "a string");
      json rest = value;
      rest.erase("$schema");
      return read_object(rest, to, "");
    }
    read_object(value, to, "");
  }

 private:
  void fail(const std::string& where, std::string what) {
    append(errors_, where.empty() ? "topology" : where, std::move(what));
  }
  // Appends an error such as "must be a list, not the number 7".
  void wrong_type(const json& value, const std::string& where, const char* wanted) {
    std::string is = value.type_name();
    if (value.is_number()) is = "the number " + value.dump();
    else if (value.is_string()) is = "the string " + shown(value.get_ref<const std::string&>());
    else if (value.is_boolean()) is = value.dump();
    else if (!value.is_null()) is = (value.is_array() ? "a list" : "an object");
    fail(where, std::string("must be ") + wanted + ", not " + is);
  }

  template <class Struct>
  void read_object(const json& value, Struct& to, const std::string& where) {
    if (!value.is_object()) return wrong_type(value, where, "an object");
    std::size_t known = 0;
    visit_fields(to, [&](const char* name, auto& member, field_form form) {
      const std::string path = where.empty() ? name : where + "." + name;
      const auto found = value.find(name);
      if (found != value.end()) {
        ++known;
        read_value(*found, member, path);
      } else if (form == field_form::required || form == field_form::required_hex) {
        fail(path, "is missing");
      }
    });
    if (known != value.size()) name_unknown(value, to, where);
  }
  template <class Struct>
  void name_unknown(const json& value, Struct& to, const std::string& where) {
    std::string known;
    visit_fields(to, [&known](const char* name, auto&, field_form) {
      known += known.empty() ? name : std::string(", ") + name;
    });
    for (const auto& item : value.items()) {
      const std::string& key = item.key();
      bool found = false;
      visit_fields(to, [&](const char* name, auto&, field_form) { found = found || key == name; });
      if (!found) fail(where, "has no member " + shown(key) + "; its members are " + known);
    }
  }

  template <class T>
  void read_value(const json& value, T& to, const std::string& where) {
    if constexpr (std::same_as<T, bool>) {
      if (value.is_boolean()) to = value.get<bool>();
      else wrong_type(value, where, "true or false");
    } else if constexpr (std::integral<T>) {
      read_number(value, to, where);
    } else if constexpr (std::is_enum_v<T>) {
      read_enum(value, to, where);
    } else if constexpr (std::same_as<T, std::string>) {
      if (value.is_string()) value.get_to(to);
      else wrong_type(value, where, "a string");
    } else {
      read_object(value, to, where);
    }
  }
  template <class T>
  void read_value(const json& value, std::optional<T>& to, const std::string& where) {
    read_value(value, to.emplace(), where);
  }
  template <class T>
  void read_value(const json& value, std::vector<T>& to, const std::string& where) {
    if (!value.is_array()) return wrong_type(value, where, "a list");
    to.clear();
    for (const json& element : value) {
      const std::string path = indexed(where, to.size());
      read_value(element, to.emplace_back(), path);
    }
  }
  void read_value(const json& value, std::vector<std::uint8_t>& to, const std::string& where) {
    if (!value.is_string()) return wrong_type(value, where, "a string of hexadecimal digits");
    const auto& text = value.get_ref<const std::string&>();
    to.clear();
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
      const int high = digit(text[i]), low = digit(text[i + 1]);
      if (high < 0 || low < 0) break;
      to.push_back(static_cast<std::uint8_t>(high << 4 | low));
    }
    if (to.size() * 2 != text.size())
      fail(where, shown(text) + " does not have two hexadecimal digits for each byte");
  }
  template <class Enum>
  void read_enum(const json& value, Enum& to, const std::string& where) {
    std::string all;
    for (const auto& [name, v] : names_of<Enum>::all) {
      if (value == name) {
        to = v;
        return;
      }
      all += (all.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    wrong_type(value, where, ("one of " + all).c_str());
  }

  template <class T>
  void read_number(const json& value, T& to, const std::string& where) {
    constexpr int bits = std::numeric_limits<T>::digits + (std::is_signed_v<T> ? 1 : 0);
    std::uint64_t n = 0;
    bool fits = true;
    std::string text;
    if (value.is_string()) {
      text = value.get_ref<const std::string&>();
      if (!is_hex(text))
        return fail(
            where,
            shown(text) + (has_digits_only(text)
                               ? " is a string: write the number without quotes"
                               : " is not a number; a hexadecimal number looks like \"0x8086\""));
      fits = parse_hex(text, n);
      if (text.size() > 40) text = text.substr(0, 40) + "...";
    } else if (value.is_number_integer()) {
      text = value.dump();
      if (value.is_number_unsigned() || value.get<std::int64_t>() >= 0) {
        n = value.get<std::uint64_t>();
      } else {
        const auto negative = value.get<std::int64_t>();
        if constexpr (std::is_unsigned_v<T>) {
          return fail(where, text + " is negative");
        } else {
          if (negative < std::numeric_limits<T>::min())
            return fail(where, text + " does not fit in " + std::to_string(bits) + " bits");
          to = kvm_vfio::detail::convert<T>(negative);
          return;
        }
      }
    } else if (value.is_number()) {
      return fail(where, value.dump() +
                             " is not a whole number of at most 64 bits, written without a "
                             "fraction and without an exponent");
    } else {
      return wrong_type(value, where, "a number");
    }
    if (!fits || n > kvm_vfio::detail::convert<std::uint64_t>(std::numeric_limits<T>::max()))
      return fail(where, text + " does not fit in " + std::to_string(bits) + " bits");
    to = kvm_vfio::detail::convert<T>(n);
  }
  static int digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  static bool has_digits_only(std::string_view text) noexcept {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  }
  static bool is_hex(std::string_view text) noexcept {
    if (text.size() < 3 || text.substr(0, 2) != "0x") return false;
    for (const char c : text.substr(2))
      if (digit(c) < 0) return false;
    return true;
  }
  // False: the number needs more than 64 bits.
  static bool parse_hex(std::string_view text, std::uint64_t& n) noexcept {
    for (const char c : text.substr(2)) {
      if (n >> 60 != 0) return false;
      n = n << 4 | static_cast<unsigned>(digit(c));
    }
    return true;
  }

  topology_errors& errors_;
};

}  // namespace kvm_vfio::sim::detail

#endif
