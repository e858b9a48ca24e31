// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of report.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/report.hpp>
#include <kvm_vfio/trace/rules.hpp>

#include <string>

namespace kvm_vfio::trace {

KVM_VFIO_INLINE std::string to_string(const report& r) {
  const rule_text t = text_of(r.broken);
  return "call " + std::to_string(r.number) + ": " + to_string(r.by) +
         (r.about.empty() ? "" : " [" + r.about + "]") + "\n  " +
         (is_note(r.broken) ? "note: " : "") + t.id + ": " + t.what +
         (r.detail.empty() ? "" : "\n  here: " + r.detail) + "\n  fix: " + t.fix + "\n";
}

}  // namespace kvm_vfio::trace
