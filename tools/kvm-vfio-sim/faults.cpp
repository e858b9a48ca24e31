// SPDX-License-Identifier: BSL-1.0
#include "faults.hpp"

#include "requests.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/topology/error.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

namespace kvm_vfio_sim {
namespace {

using kvm_vfio::sim::detail::shown;
using nlohmann::json;

// The number of an error with a name such as "ENOMEM".
std::optional<kvm_vfio::errc> error_named(const std::string& name) {
  for (int number = 1; number < 4096; ++number) {
    const char* const known = ::strerrorname_np(number);
    if (known && name == known) return static_cast<kvm_vfio::errc>(number);
  }
  return {};
}

// Reads one entry. Returns what is wrong, or an empty text.
std::string read(const json& entry, planned_fault& to) {
  if (!entry.is_object()) return "is not an object";
  bool has_error = false;
  for (const auto& [name, value] : entry.items()) {
    if (name == "nth") {
      if (!value.is_number_unsigned() || value == 0) return ".nth is not a number from 1 on";
      to.fault.nth = value.get<std::size_t>();
      continue;
    }
    if (name != "call" && name != "request" && name != "errno" && name != "program")
      return "." + kvm_vfio::sim::detail::shortened(name) + " is not known";
    if (!value.is_string()) return "." + name + " is not a string";
    const auto text = value.get<std::string>();
    if (name == "program") {
      if (text.empty()) return ".program is empty";  // that would be every program
      to.program = text;
    } else if (name == "call") {
      const auto kind = call_kind_of(text);
      if (!kind) return ".call: there is no call " + shown(text);
      to.fault.kind = *kind;
    } else if (name == "request") {
      const auto number = request_number(text);
      // In a fault, 0 stands for every request.
      if (number.value_or(0) == 0) return ".request: there is no request " + shown(text);
      to.fault.request = *number;
    } else {
      const auto error = error_named(text);
      if (!error) return ".errno: there is no error " + shown(text);
      to.fault.error = *error;
      has_error = true;
    }
  }
  if (!has_error) return ".errno is missing";
  if (to.fault.request != 0 && to.fault.kind != kvm_vfio::trace::call_kind::ioctl)
    return ".request belongs to ioctls only";
  return {};
}

}  // namespace

fault_plan read_fault_plan(std::string_view text) {
  fault_plan plan;
  const json all = json::parse(text, nullptr, false);
  if (all.is_discarded()) {
    plan.error = "the text is not JSON";
    return plan;
  }
  if (!all.is_array()) {
    plan.error = "the text is not an array of faults";
    return plan;
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    planned_fault made;
    const std::string wrong = read(all[i], made);
    if (!wrong.empty()) {
      plan.error = "[" + std::to_string(i) + "]" + (wrong[0] == '.' ? "" : " ") + wrong;
      return plan;
    }
    plan.faults.push_back(made);
  }
  return plan;
}

}  // namespace kvm_vfio_sim
