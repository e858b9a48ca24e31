// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A report of the checker.

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/rules.hpp>

#include <cstddef>
#include <string>

namespace kvm_vfio::trace {

/// A report: one call broke one rule.
struct report {
  /// The rule that was broken.
  rule broken = rule::add_before_iommu;
  /// The call that broke it.
  call by{};
  /// The number of this call among all calls that the checker saw, counted from 1.
  std::size_t number = 0;
  /// The file that the report is about: a path, or the name of a device. Empty: the report is not
  /// about a file.
  std::string about{};
  /// What the checker saw before in this case, for example which descriptor is still open, or which
  /// call failed. Empty: there is no more to say.
  std::string detail{};
};

/// Writes a report as three or four lines of text. WHAT and FIX are the texts of the rule in this
/// example. A report without a detail has no line "here". The name of a rule that is only a note
/// (`is_note`) comes after "note: ".
/// \code{.txt}
/// call 12: ioctl(4, UNSET_CONTAINER) = EBUSY [/dev/vfio/7]
///   unset-while-open: WHAT
///   here: descriptor 9 (0000:00:04.0)
///   fix: FIX
/// \endcode
[[nodiscard]] std::string to_string(const report& r);

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/report.hpp>
#endif
