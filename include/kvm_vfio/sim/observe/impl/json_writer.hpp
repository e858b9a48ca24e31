// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of json_writer.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/observe/json_writer.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>

#include <string_view>
#include <vector>

namespace kvm_vfio::sim::detail {

KVM_VFIO_INLINE json_writer& json_writer::open(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
  return *this;
}

KVM_VFIO_INLINE json_writer& json_writer::close(char bracket) {
  out_ += bracket;
  first_ = false;
  return *this;
}

KVM_VFIO_INLINE json_writer& json_writer::key(std::string_view name) {
  separate();
  out_ += in_quotes(name) + ":";
  first_ = true;
  return *this;
}

KVM_VFIO_INLINE json_writer& json_writer::value(const std::vector<int>& numbers) {
  open('[');
  for (const int n : numbers) value(n);
  return close(']');
}

KVM_VFIO_INLINE void json_writer::separate() {
  if (!first_) out_ += ",";
  first_ = false;
}

KVM_VFIO_INLINE json_writer& json_writer::raw(const std::string& s) {
  separate();
  out_ += s;
  return *this;
}

}  // namespace kvm_vfio::sim::detail
