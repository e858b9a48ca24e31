// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The kernel's own calls across the boundary of kvm-vfio, read from its trace.

#include <kvm_vfio/testing/journal.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace conformance {

/// One call of the kernel's: pointers name files, VMs and groups.
struct kernel_call {
  kvm_vfio::testing::call what{};
  std::uint64_t file = 0;
  std::uint64_t vm = 0;
  std::uint64_t group = 0;
  int value = 0;
  long thread = 0;  ///< who called
};
std::string to_string(const kernel_call& c);

/// Traces calls inside the kernel. One at a time.
class tracer {
 public:
  /// Sets the events up that the files define, as far as this kernel has the functions; throws
  /// std::runtime_error where that fails.
  /// \param all_processes traces all processes, and not only this one with its threads and
  /// children.
  ///                      Linux then does not look at each switch of tasks.
  explicit tracer(const std::vector<std::string>& events_files, bool all_processes = false);
  tracer(const tracer&) = delete;
  tracer& operator=(const tracer&) = delete;
  ~tracer();

  /// The calls since the last time, in order.
  std::vector<kernel_call> take();
  /// How many of kvm-vfio's own once-only warnings the kernel printed since the last time. Each is
  /// armed again.
  int take_warnings();
  /// Whether the device's lock is among the calls.
  [[nodiscard]] bool sees_locks() const { return sees_locks_; }
  /// Whether file references are among the calls.
  [[nodiscard]] bool sees_references() const { return sees_references_; }
  /// How many of the defined events this kernel has.
  [[nodiscard]] int events() const { return events_; }

 private:
  std::vector<kernel_call> parse(const std::string& text);
  int pipe_ = -1;
  int messages_ = -1;
  int events_ = 0;
  bool sees_locks_ = false;
  bool sees_references_ = false;
};

}  // namespace conformance
