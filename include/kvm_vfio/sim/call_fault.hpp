// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A system call that a simulated process lets fail.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstddef>
#include <cstdint>

namespace kvm_vfio::sim {

/// Says which later system call of a process fails, and with which error (`process::fail`).
struct call_fault {
  /// The kind of the calls that count. A fault of the kind `exit` is never met: exit cannot fail.
  trace::call_kind kind = trace::call_kind::ioctl;
  /// For ioctls: only this request counts. 0: every request counts.
  std::uint32_t request = 0;
  /// Which of the calls that count fails. 1: the next one. \pre not 0
  std::size_t nth = 1;
  /// The error of the call. \pre not `errc::ok`
  errc error = errc::inval;
};

}  // namespace kvm_vfio::sim
