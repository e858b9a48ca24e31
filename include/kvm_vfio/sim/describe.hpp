// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Calls in words, and a timeline of them.

#include <kvm_vfio/sim/call.hpp>
#include <kvm_vfio/sim/config.hpp>
#include <kvm_vfio/sim/mutex.hpp>
#include <kvm_vfio/sim/uapi.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

/// The name of an ioctl request; empty: not one of VFIO's, iommufd's or kvm-vfio's. VFIO reuses
/// numbers between a container, a group and a device; the usual one is named.
[[nodiscard]] const char* request_name(std::uint32_t request) noexcept;

/// One call as a line: "ioctl(5, FILE_ADD fd 4) = 0".
[[nodiscard]] std::string to_string(const call& c);

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

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_SIM_COMPILED
#include <kvm_vfio/sim/impl/describe.hpp>
#endif
