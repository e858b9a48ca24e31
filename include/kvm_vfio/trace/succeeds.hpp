// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls of functions whose exceptions change nothing for the caller.

namespace kvm_vfio::trace::detail {

// Calls a function. Returns false if an exception left the function; the exception is dropped.
template <class Function>
bool succeeds(Function function) noexcept {
  try {
    function();
  } catch (...) {
    return false;
  }
  return true;
}

}  // namespace kvm_vfio::trace::detail
