// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An observer that keeps the calls of a program.

#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// Keeps every call, in the order of the answers. Any thread may call any function; the timeline
/// has a lock of its own.
class timeline final : public call_observer {
 public:
  /// Adds a call to the end.
  void called(const call& c) override;
  /// A copy of all calls.
  [[nodiscard]] std::vector<call> calls() const;
  /// All calls as text, one numbered line for each call. Numbers start at 1.
  [[nodiscard]] std::string text() const;

 private:
  mutable mutex mutex_;
  std::vector<call> calls_;
};

}  // namespace kvm_vfio::trace

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/trace/impl/timeline.hpp>
#endif
