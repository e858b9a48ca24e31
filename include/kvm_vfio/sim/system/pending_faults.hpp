// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The faults that later system calls of a simulated process meet.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/call_fault.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/mutex.hpp>

#include <cstddef>
#include <vector>

namespace kvm_vfio::sim {

/// Faults that no call has met yet. Any number of threads may use the object.
class pending_faults {
 public:
  /// Adds a fault.
  /// \param of_every_kind whether every call counts, and not only the calls that the fault names
  void add(const call_fault& fault, bool of_every_kind);
  /// Removes every fault.
  void clear() noexcept;
  /// Returns the number of faults.
  [[nodiscard]] std::size_t left() const noexcept;
  /// Counts a call, and removes each fault that the call meets.
  /// \return the error of the fault that was added first; `errc::ok`: the call meets none
  [[nodiscard]] errc meet(const trace::call& c) noexcept;

 private:
  struct pending {
    call_fault fault;
    bool of_every_kind;
  };
  void count() noexcept;

  trace::mutex mutex_;
  std::vector<pending> faults_;
  std::size_t left_ = 0;  // the size of faults_, which is read without the lock
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/pending_faults.hpp>
#endif
