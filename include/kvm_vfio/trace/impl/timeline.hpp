// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of timeline.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/call_text.hpp>
#include <kvm_vfio/trace/timeline.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace kvm_vfio::trace {

KVM_VFIO_INLINE void timeline::called(const call& c) {
  const guard held(mutex_);
  calls_.push_back(c);
}

KVM_VFIO_INLINE std::size_t timeline::size() const {
  const guard held(mutex_);
  return calls_.size();
}

KVM_VFIO_INLINE std::vector<call> timeline::calls() const {
  const guard held(mutex_);
  return calls_;
}

KVM_VFIO_INLINE std::string timeline::text() const {
  const guard held(mutex_);
  std::string out;
  for (std::size_t i = 0; i < calls_.size(); ++i)
    out += std::to_string(i + 1) + "  " + to_string(calls_[i]) + "\n";
  return out;
}

}  // namespace kvm_vfio::trace
