// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of pending_faults.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/sim/call_fault.hpp>
#include <kvm_vfio/sim/system/pending_faults.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstddef>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE void pending_faults::add(const call_fault& fault, bool of_every_kind) {
  const guard held(mutex_);
  faults_.push_back({fault, of_every_kind});
  count();
}

KVM_VFIO_INLINE void pending_faults::clear() noexcept {
  const guard held(mutex_);
  faults_.clear();
  count();
}

KVM_VFIO_INLINE std::size_t pending_faults::left() const noexcept {
  return __atomic_load_n(&left_, __ATOMIC_ACQUIRE);
}

KVM_VFIO_INLINE errc pending_faults::meet(const trace::call& c) noexcept {
  if (left() == 0) return errc::ok;
  errc error = errc::ok;
  const guard held(mutex_);
  for (auto at = faults_.begin(); at != faults_.end();) {
    call_fault& f = at->fault;
    const bool counts =
        at->of_every_kind || (f.kind == c.kind && (f.request == 0 || f.request == c.request));
    if (!counts || --f.nth != 0) {
      ++at;
      continue;
    }
    if (error == errc::ok) error = f.error;
    at = faults_.erase(at);
  }
  count();
  return error;
}

KVM_VFIO_INLINE void pending_faults::count() noexcept {
  __atomic_store_n(&left_, faults_.size(), __ATOMIC_RELEASE);
}

}  // namespace kvm_vfio::sim
