// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A parser of JSON for topologies. It refuses two things that the parser of nlohmann/json accepts:
/// two members of one name in an object, and nesting of any depth. Needs nlohmann/json.

#include <kvm_vfio/sim/topology/error.hpp>

#if __has_include(<nlohmann/json.hpp>)

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Checks the structure of a JSON text. The public functions are the interface that nlohmann's
/// sax_parse calls; the result false ends the parsing.
class json_structure {
 public:
  /// The largest depth of nesting. No topology is nested deeper. Without a limit, a text could use
  /// up the stack of a function that visits the value recursively.
  static constexpr std::size_t max_depth = 16;

  json_structure(std::string_view text, topology_errors& errors) noexcept
      : text_(text), errors_(errors) {}

  bool null() { return element(); }
  bool boolean(bool) { return element(); }
  bool number_integer(std::int64_t) { return element(); }
  bool number_unsigned(std::uint64_t) { return element(); }
  bool number_float(double, const std::string&) { return element(); }
  bool string(const std::string&) { return element(); }
  bool binary(const std::vector<std::uint8_t>&) { return element(); }
  bool start_object(std::size_t) { return start(/*object=*/true); }
  bool start_array(std::size_t) { return start(/*object=*/false); }
  bool end_object() { return end(); }
  bool end_array() { return end(); }
  bool key(const std::string& name) {
    around_.back().key = shortened(name);
    if (!around_.back().keys.insert(name).second) fail(path(), "is given twice in one object");
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::json::exception& e) {
    constexpr int out_of_range = 406;
    if (e.id == out_of_range) fail(path(/*next=*/true), "the number is too large");
    else fail(place(byte), "the text is not JSON: " + reason(e.what()));
    return false;
  }

 private:
  // An object or a list whose end the parser has not reached yet.
  struct container {
    bool is_object = false;
    std::size_t elements = 0;  // the number of elements so far
    std::string key{};         // the name of the last member
    std::set<std::string> keys{};
  };

  void fail(const std::string& where, std::string what) {
    append(errors_, where.empty() ? "topology" : where, std::move(what));
  }
  bool element() {
    if (!around_.empty()) ++around_.back().elements;
    return true;
  }
  bool start(bool object) {
    element();
    if (around_.size() == max_depth) {
      fail("topology", "is nested more than " + std::to_string(max_depth) + " levels deep");
      return false;
    }
    around_.push_back({.is_object = object});
    return true;
  }
  bool end() {
    around_.pop_back();
    return true;
  }
  // The path of the member or element that was read last. With `next`, of the element behind it.
  [[nodiscard]] std::string path(bool next = false) const {
    std::string out;
    for (const container& c : around_) {
      const bool last = &c == &around_.back();
      if (c.is_object) out += (out.empty() ? "" : ".") + c.key;
      else out = indexed(out, last && next ? c.elements : c.elements - 1);
    }
    return out;
  }
  // The line and the column of a byte, which is counted from 1. If the text ends too early, the
  // parser names the byte behind the last one.
  [[nodiscard]] std::string place(std::size_t byte) const {
    const std::string_view before = text_.substr(0, byte == 0 ? 0 : byte - 1);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
    return "line " + std::to_string(line) + ", column " + std::to_string(before.size() - start + 1);
  }
  // The message of the parser without the error number and the position at its start.
  static std::string reason(std::string_view what) {
    constexpr std::size_t most = 200;
    const std::size_t colon = what.find(": ");
    return printable(what.substr(colon == std::string_view::npos ? 0 : colon + 2, most));
  }

  std::string_view text_;
  topology_errors& errors_;
  std::vector<container> around_;  // the open objects and lists, the outermost first
};

/// Parses a JSON text.
/// \param text   the text
/// \param errors this function appends the errors that it finds
/// \return the value; null and at least one error if the text is not valid JSON
[[nodiscard]] inline nlohmann::json parse_json(std::string_view text, topology_errors& errors) {
  json_structure structure(text, errors);
  if (!nlohmann::json::sax_parse(text, &structure)) return nullptr;
  return nlohmann::json::parse(text);
}

}  // namespace kvm_vfio::sim::detail

#endif
