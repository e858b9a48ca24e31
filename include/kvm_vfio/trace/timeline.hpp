// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An observer that keeps the calls of a program.

#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::trace {

/// Keeps every call, in the order of the answers. Any thread may call any function; the timeline
/// has a lock of its own.
class timeline final : public call_observer {
 public:
  /// Adds a call to the end.
  void called(const call& c) override;
  /// The number of calls.
  [[nodiscard]] std::size_t size() const;
  /// Shows calls to a function in their order, without a copy. The timeline holds its lock
  /// meanwhile. So the function must make no observed call and use no function of the timeline.
  /// \param look  takes a `const call&`
  /// \param first the index of the first call that is shown, counted from 0
  template <class Function>
  void visit(Function look, std::size_t first = 0) const {
    const guard held(mutex_);
    for (std::size_t i = first; i < calls_.size(); ++i) look(calls_[i]);
  }
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
