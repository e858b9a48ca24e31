// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Text to a JSON value, with what nlohmann's parser lets pass held back: members that are named
/// twice, and nesting without end. Needs nlohmann's JSON.

#include <kvm_vfio/sim/topology_error.hpp>

#if __has_include(<nlohmann/json.hpp>)

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Reads JSON text. No topology is nested deeper than `max_depth`, and a text that is would take
/// the stack of whoever walks through the value.
class json_text {
 public:
  static constexpr int max_depth = 16;

  /// \param errors what is wrong with the text is appended
  explicit json_text(topology_errors& errors) noexcept : errors_(errors) {}

  /// \return the value; null, with an error, if the text is no JSON
  nlohmann::json parse(std::string_view text) {
    struct too_deep {};
    using event = nlohmann::json::parse_event_t;
    const auto look = [this](int depth, event e, const nlohmann::json& value) {
      around_.resize(static_cast<std::size_t>(depth));
      const bool starts = e == event::object_start || e == event::array_start;
      if (starts && depth >= max_depth) throw too_deep{};
      if ((starts || e == event::value) && !around_.empty()) ++around_.back().elements;
      if (starts) around_.push_back({.is_object = e == event::object_start});
      if (e != event::key) return true;
      container& object = around_.back();
      object.key = value.template get_ref<const std::string&>();
      if (!object.keys.insert(object.key).second)
        errors_.push_back({path(), "is there twice in one object"});
      return true;
    };
    try {
      return nlohmann::json::parse(text, look);
    } catch (const too_deep&) {
      errors_.push_back(
          {"topology", "is nested more than " + std::to_string(max_depth) + " levels deep"});
    } catch (const nlohmann::json::parse_error& e) {
      errors_.push_back({place(text, e.byte), reason(e.what())});
    } catch (const nlohmann::json::out_of_range&) {  // a number that not even a double holds
      errors_.push_back({where_next(), "is too large a number"});
    }
    return nullptr;
  }

 private:
  // \param byte counted from 1; one behind the last where the text ends too early
  static std::string place(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, byte == 0 ? 0 : byte - 1);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
    return "line " + std::to_string(line) + ", column " + std::to_string(before.size() - start + 1);
  }
  // What the parser says behind its own numbers and places.
  static std::string reason(std::string_view what) {
    constexpr std::size_t most = 200;
    const std::size_t colon = what.find(": ");
    return "is no JSON: " +
           printable(what.substr(colon == std::string_view::npos ? 0 : colon + 2, most));
  }

  // An object or a list that the parser is in.
  struct container {
    bool is_object = false;
    std::size_t elements = 0;  // so far
    std::string key{};         // the last one
    std::set<std::string> keys{};
  };
  // Of the member or the element that was read last. \param next or of the one behind it
  [[nodiscard]] std::string path(bool next = false) const {
    std::string out;
    for (const container& c : around_) {
      const bool last = &c == &around_.back();
      if (c.is_object) out += (out.empty() ? "" : ".") + printable(c.key);
      else out = indexed(out, last && next ? c.elements : c.elements - 1);
    }
    return out;
  }
  // Of what the parser could not read.
  [[nodiscard]] std::string where_next() const {
    return around_.empty() ? "topology" : path(/*next=*/true);
  }

  topology_errors& errors_;
  std::vector<container> around_;  // from the outermost on
};

}  // namespace kvm_vfio::sim::detail

#endif
