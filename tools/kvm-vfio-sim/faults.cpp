// SPDX-License-Identifier: BSL-1.0
#include "faults.hpp"

#include "requests.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/topology/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace kvm_vfio_sim {
namespace {

using kvm_vfio::sim::detail::shown;
using nlohmann::json;

// The number of an error with a name such as "ENOMEM".
std::optional<kvm_vfio::errc> error_named(const std::string& name) {
  // A number has one name in the table, and these are others.
  if (name == "EWOULDBLOCK") return kvm_vfio::errc{EWOULDBLOCK};
  if (name == "ENOTSUP") return kvm_vfio::errc{ENOTSUP};
  if (name == "EDEADLOCK") return kvm_vfio::errc{EDEADLOCK};
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
  bool has_call = false;
  for (const auto& [name, value] : entry.items()) {
    if (name == "nth") {
      if (!value.is_number_unsigned() || value == 0) return ".nth is not a number from 1 on";
      to.fault.nth = value.get<std::size_t>();
      continue;
    }
    if (name == "every") {
      if (!value.is_boolean()) return ".every is not true or false";
      to.every = value.get<bool>();
      continue;
    }
    if (name != "call" && name != "path" && name != "request" && name != "errno" &&
        name != "program")
      return "." + kvm_vfio::sim::detail::shortened(name) + " is not known";
    if (!value.is_string()) return "." + name + " is not a string";
    const auto text = value.get<std::string>();
    if (name == "program") {
      if (text.empty()) return ".program is empty";  // that would be every program
      to.program = text;
    } else if (name == "call") {
      const auto kind = call_kind_of(text);
      if (!kind) return ".call: there is no call " + shown(text);
      using enum kvm_vfio::trace::call_kind;
      if (*kind == exit || *kind == fork || *kind == install || *kind == eventfd)
        return ".call: \"" + text + "\" cannot fail, because " +
               (*kind == eventfd ? "eventfds are the real kernel's" : "it is only in the log");
      to.fault.kind = *kind;
      has_call = true;
    } else if (name == "path") {
      if (text.empty()) return ".path is empty";
      to.path = text;
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
  if (!to.path.empty() && !has_call) to.fault.kind = kvm_vfio::trace::call_kind::open;
  if (!to.path.empty() && to.fault.kind != kvm_vfio::trace::call_kind::open)
    return ".path belongs to opens only";
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

fault_finder::fault_finder(fault_plan plan) : plan_(std::move(plan)), uses_(plan_.faults.size()) {}

kvm_vfio::errc fault_finder::meet(const std::string& program, counts& counted,
                                  kvm_vfio::trace::call_kind kind, std::uint32_t request,
                                  std::string_view path) {
  auto error = kvm_vfio::errc::ok;
  for (std::size_t i = 0; i < plan_.faults.size(); ++i) {
    const planned_fault& f = plan_.faults[i];
    if (kind != f.fault.kind || (f.fault.request != 0 && f.fault.request != request) ||
        (!f.program.empty() && f.program != program) || (!f.path.empty() && f.path != path))
      continue;
    const std::uint64_t n = ++counted[i];
    uses_[i].most = std::max(uses_[i].most, n);
    // The error of the first fault hides the errors of the others.
    if (error != kvm_vfio::errc::ok || (f.every ? n < f.fault.nth : n != f.fault.nth)) continue;
    error = f.fault.error;
    uses_[i].met = true;
  }
  return error;
}

std::vector<std::string> fault_finder::unmet() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < plan_.faults.size(); ++i) {
    if (uses_[i].met) continue;
    const planned_fault& f = plan_.faults[i];
    std::string text = "fault [" + std::to_string(i) + "] was not met: ";
    const std::string call =
        f.fault.request != 0
            ? request_name(f.fault.request, kvm_vfio::trace::file_type::other)
            : call_name(f.fault.kind) + (f.path.empty() ? std::string() : " of " + f.path);
    if (uses_[i].most == 0) text += "no process made the call " + call;
    else if (uses_[i].most < f.fault.nth)
      text += "it is for call " + std::to_string(f.fault.nth) + " of " + call +
              ", and no process made more than " + std::to_string(uses_[i].most);
    else text += "the call " + call + " had the error of an earlier fault of the plan";
    if (!f.program.empty()) text += " (in the program " + f.program + ")";
    all.push_back(std::move(text));
  }
  return all;
}

}  // namespace kvm_vfio_sim
