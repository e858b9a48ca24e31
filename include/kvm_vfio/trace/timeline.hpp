// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Keeps the calls of a program, in order.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// Every call, in the order of the answers.
class timeline final : public call_observer {
 public:
  /// Any thread's calls, one after the other.
  void called(const call& c) override;
  /// What was seen so far.
  [[nodiscard]] std::vector<call> calls() const;
  /// Numbered from 1, a line each.
  [[nodiscard]] std::string text() const;

 private:
  mutable mutex mutex_;
  std::vector<call> calls_;
};

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/timeline.hpp>
#endif
