// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of observer_list.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/observer_list.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/decode_ioctl.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void observer_list::tell(trace::call& c, answer a,
                                         trace::memory& task) const noexcept {
  tell(nullptr, c, a, task);
}

KVM_VFIO_INLINE void observer_list::tell_both(const observer_list& other, trace::call& c, answer a,
                                              trace::memory& task) const noexcept {
  tell(&other, c, a, task);
}

KVM_VFIO_INLINE bool observer_list::has(const trace::call_observer* observer) const noexcept {
  return std::find(all_.begin(), all_.end(), observer) != all_.end();
}

KVM_VFIO_INLINE void observer_list::tell(const observer_list* other, trace::call& c, answer a,
                                         trace::memory& task) const noexcept {
  if (!describe([&] { trace::decode_answer(c, task, a); })) return;
  // An observer may add an observer. The new observer is not told of this call.
  for (std::size_t i = 0, n = all_.size(); i < n; ++i) {
    trace::call_observer* const o = all_[i];
    if (!other || other->has(o)) (void)describe([&] { o->called(c); });
  }
}

}  // namespace kvm_vfio::sim
