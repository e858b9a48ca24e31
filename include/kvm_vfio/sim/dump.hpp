// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A snapshot as text, as JSON and as a graph for Graphviz.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/quotes.hpp>
#include <kvm_vfio/sim/snapshot.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
[[nodiscard]] std::string list_of(const std::vector<int>& numbers);
/// Writes JSON, one value after the other. The writer sets the commas.
class json_writer {
 public:
  json_writer& open(char bracket);
  json_writer& close(char bracket);
  json_writer& key(std::string_view name);
  json_writer& value(std::string_view s) { return raw(in_quotes(s)); }
  json_writer& value(const std::string& s) { return raw(in_quotes(s)); }
  json_writer& value(const char* s) { return raw(in_quotes(s)); }
  json_writer& value(bool b) { return raw(b ? "true" : "false"); }
  json_writer& value(int n) { return raw(std::to_string(n)); }
  json_writer& value(std::size_t n) { return raw(std::to_string(n)); }
  json_writer& value(const std::vector<int>& numbers);
  template <class T>
  json_writer& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  template <class Range, class Each>
  json_writer& array(std::string_view name, const Range& range, Each each) {
    key(name).open('[');
    for (const auto& x : range) {
      open('{');
      each(x);
      close('}');
    }
    return close(']');
  }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void separate();
  json_writer& raw(const std::string& s);
  std::string out_;
  bool first_ = true;
};
}  // namespace detail

/// Writes a snapshot as lines of text for a terminal. A group is left out if it is closed and
/// viable, and none of its devices is open.
[[nodiscard]] std::string to_text(const snapshot& s);

/// Writes a snapshot as one line of JSON. The names of the members are those of the structs in
/// snapshot.hpp, but `vm_state::has_device` is called "kvm_vfio".
[[nodiscard]] std::string to_json(const snapshot& s);

/// Writes a snapshot as a graph for `dot -Tsvg`. The nodes are VMs, tracked files, groups, devices,
/// iommufds, containers and domains.
[[nodiscard]] std::string to_dot(const snapshot& s);

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/dump.hpp>
#endif
