// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The log of a run: one JSON object for each call, on a line of its own.

#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/trace/call.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace kvm_vfio_sim {

/// What the log says of a call beside the call itself.
struct call_circumstances {
  bool injected = false;      ///< a fault of the plan made the error
  std::string program;        ///< the program, in the first call after its start; otherwise empty
  std::optional<int> status;  ///< for the end of a process: as waitpid(2) has it; none: not known
};

/// Writes each call to a file as soon as it is answered, so that the log is complete even if the
/// program is killed.
class call_log {
 public:
  /// \param file    a descriptor that the log writes to. -1: the log only counts.
  /// \param type_of the type of the file behind a descriptor of a process
  call_log(int file, std::function<kvm_vfio::trace::file_type(int process, int fd)> type_of);
  void called(const kvm_vfio::trace::call& c, const call_circumstances& more);
  /// Writes a line about a call that the simulated host does not answer. The line has no number.
  void note(int process, const std::string& call, const std::string& error);
  /// The number of calls.
  [[nodiscard]] std::uint64_t calls() const noexcept { return calls_; }
  /// Whether a line could not be written.
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  void write(const std::string& line);
  // The time since the start, in seconds.
  [[nodiscard]] double time() const;

  int file_;
  std::function<kvm_vfio::trace::file_type(int, int)> type_of_;
  std::uint64_t calls_ = 0;
  double start_;
  bool failed_ = false;
};

}  // namespace kvm_vfio_sim
