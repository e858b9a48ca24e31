// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Writes JSON, one value after the other.

#include <kvm_vfio/sim/topology/quotes.hpp>

#include <concepts>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

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
  json_writer& value(std::unsigned_integral auto n) { return raw(std::to_string(n)); }
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

}  // namespace kvm_vfio::sim::detail

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/observe/impl/json_writer.hpp>
#endif
