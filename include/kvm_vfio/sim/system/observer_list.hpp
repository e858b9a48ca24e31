// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The observers of a simulated process.

#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/trace/call.hpp>
#include <kvm_vfio/trace/memory.hpp>

#include <new>
#include <vector>

namespace kvm_vfio::sim {

/// The observers of a process. A call must not change because an observer has no memory, so
/// std::bad_alloc of an observer is ignored.
class observer_list {
 public:
  /// Adds an observer. It is not told of a call whose observers are told at this time.
  void add(trace::call_observer& observer) { all_.push_back(&observer); }
  /// Whether there is no observer.
  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }

  /// Calls a function that describes a call, if there are observers.
  /// \return whether the call was described. False: there is no observer, or no memory.
  template <class Function>
  [[nodiscard]] bool describe(Function function) const noexcept {
    if (all_.empty()) return false;
    try {
      function();
      return true;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }
  /// Describes the answer of a call, and tells each observer of the call. Tells none of them if
  /// there is no memory for the description.
  /// \param c    the call
  /// \param a    the answer
  /// \param task the memory of the process
  void tell(trace::call& c, answer a, trace::memory& task) const noexcept;
  /// Tells the observers that are also in another list. Otherwise as `tell`.
  void tell_both(const observer_list& other, trace::call& c, answer a,
                 trace::memory& task) const noexcept;

 private:
  [[nodiscard]] bool has(const trace::call_observer* observer) const noexcept;
  void tell(const observer_list* other, trace::call& c, answer a,
            trace::memory& task) const noexcept;

  std::vector<trace::call_observer*> all_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/system/impl/observer_list.hpp>
#endif
