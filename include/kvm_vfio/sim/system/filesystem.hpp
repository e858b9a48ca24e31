// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The interface that opens the paths of a simulated system.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/system/file.hpp>

namespace kvm_vfio::sim {

/// The interface that opens paths. `world` opens the nodes of VFIO; `kernel` opens /dev/kvm, too.
class filesystem {
 public:
  filesystem() = default;
  filesystem(const filesystem&) = delete;
  filesystem& operator=(const filesystem&) = delete;
  /// Opens a path.
  /// \param path  the path
  /// \param flags the flags of open(2)
  /// \return a new open file, with one reference for the caller
  /// \par Errors
  /// - `errc::noent`: no node has this path
  /// - further errors: those of the node
  virtual result<file*> open(const char* path, int flags) = 0;
  /// Whether a write to an eventfd must have exactly eight bytes (`linux_release::exact_eventfds`).
  [[nodiscard]] virtual bool exact_eventfds() const noexcept { return true; }

 protected:
  ~filesystem() = default;
};

}  // namespace kvm_vfio::sim
