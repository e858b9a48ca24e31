// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The part of JSON Schema that docs/topology.schema.json uses. A keyword that is not known here is
/// an error, so that no part of the schema is passed over.

#include <nlohmann/json.hpp>

#include <regex.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

/// A schema against which values are checked.
class json_schema {
 public:
  explicit json_schema(nlohmann::json schema) : root_(std::move(schema)) {}
  [[nodiscard]] bool accepts(const nlohmann::json& value) const { return accepts(root_, value); }
  [[nodiscard]] const nlohmann::json& root() const { return root_; }
  /// The schema that `$ref` names, or the given one.
  [[nodiscard]] const nlohmann::json& resolved(const nlohmann::json& schema) const {
    if (!schema.contains("$ref")) return schema;
    const auto reference = schema.at("$ref").get<std::string>();
    return root_.at(nlohmann::json::json_pointer(reference.substr(1)));
  }

 private:
  using json = nlohmann::json;

  [[nodiscard]] bool accepts(const json& schema, const json& value) const {
    for (const auto& [keyword, argument] : schema.items())
      if (!holds(schema, keyword, argument, value)) return false;
    return true;
  }
  [[nodiscard]] bool holds(const json& schema, const std::string& keyword, const json& argument,
                           const json& value) const {
    if (keyword == "$ref") return accepts(resolved(schema), value);
    if (keyword == "type") return has_type(value, argument.get<std::string>());
    if (keyword == "enum")
      return std::find(argument.begin(), argument.end(), value) != argument.end();
    if (keyword == "minimum") return !value.is_number() || !less(value, argument);
    if (keyword == "maximum") return !value.is_number() || !less(argument, value);
    if (keyword == "maxItems") return !value.is_array() || value.size() <= argument;
    if (keyword == "minItems") return !value.is_array() || value.size() >= argument;
    if (keyword == "pattern")
      return !value.is_string() ||
             pattern(argument.get<std::string>()).matches(value.get<std::string>());
    if (keyword == "anyOf") {
      for (const json& one : argument)
        if (accepts(one, value)) return true;
      return false;
    }
    if (keyword == "items") {
      if (value.is_array())
        for (const json& element : value)
          if (!accepts(argument, element)) return false;
      return true;
    }
    if (keyword == "required") {
      if (value.is_object())
        for (const json& name : argument)
          if (!value.contains(name.get<std::string>())) return false;
      return true;
    }
    if (keyword == "properties") {
      if (value.is_object())
        for (const auto& [name, member] : value.items())
          if (argument.contains(name) && !accepts(argument.at(name), member)) return false;
      return true;
    }
    if (keyword == "additionalProperties") {
      if (argument != false) throw std::logic_error("additionalProperties is not false");
      if (value.is_object())
        for (const auto& [name, member] : value.items())
          if (!schema.at("properties").contains(name)) return false;
      return true;
    }
    for (const char* words : {"$schema", "$defs", "$comment", "title", "description", "default"})
      if (keyword == words) return true;
    throw std::logic_error("a keyword that is not known: " + keyword);
  }
  // nlohmann compares a signed number with an unsigned one as if both were signed.
  [[nodiscard]] static bool less(const json& a, const json& b) {
    const auto is_negative = [](const json& n) { return n.get<double>() < 0; };
    if (is_negative(a) != is_negative(b)) return is_negative(a);
    if (!a.is_number_integer() || !b.is_number_integer()) return a.get<double>() < b.get<double>();
    if (is_negative(a)) return a.get<std::int64_t>() < b.get<std::int64_t>();
    return a.get<std::uint64_t>() < b.get<std::uint64_t>();
  }
  [[nodiscard]] static bool has_type(const json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    // To JSON Schema 1.0 is an integer too; the reader refuses it, and no test asks for it.
    if (type == "integer") return value.is_number_integer();
    throw std::logic_error("a type that is not known: " + type);
  }

  // POSIX's, which says the same as JSON Schema's for what the schema uses: std::regex takes long
  // to compile, and GCC 12 warns of it when it compiles for a sanitizer.
  class regular_expression {
   public:
    explicit regular_expression(const std::string& text) {
      if (regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB) != 0)
        throw std::logic_error("not a regular expression: " + text);
    }
    regular_expression(const regular_expression&) = delete;
    regular_expression& operator=(const regular_expression&) = delete;
    ~regular_expression() { regfree(&compiled_); }
    // With the length, because a string may hold a null.
    [[nodiscard]] bool matches(const std::string& value) const {
      regmatch_t all{0, static_cast<regoff_t>(value.size())};
      return regexec(&compiled_, value.c_str(), 1, &all, REG_STARTEND) == 0;
    }

   private:
    regex_t compiled_{};
  };
  // Making a regular expression takes far longer than using it.
  static const regular_expression& pattern(const std::string& text) {
    static std::map<std::string, regular_expression> made;
    return made.try_emplace(text, text).first->second;
  }

  json root_;
};
