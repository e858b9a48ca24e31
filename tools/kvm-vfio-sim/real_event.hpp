// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An eventfd of a program, as a file of the simulated host.

#include "unique_fd.hpp"

#include <kvm_vfio/sim/system/event_file.hpp>

#include <cstdint>
#include <utility>

namespace kvm_vfio_sim {

/// A real eventfd. A signal of the simulated host writes to it.
class real_event final : public kvm_vfio::sim::event_file {
 public:
  /// \param fd a descriptor of the eventfd in this program
  /// \param id the number that the kernel gave to the eventfd
  real_event(unique_fd fd, std::uint64_t id) noexcept : fd_(std::move(fd)), id_(id) {}
  /// Adds one to the counter of the real eventfd, unless the counter is full.
  void signal() noexcept override;
  /// Gives what the program wrote to the consumer (the kernel's struct virqfd), if there is one.
  void pass_on();
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// The number that the kernel gave to the eventfd.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  /// Tells that the eventfd belongs to an irqfd or an ioeventfd of a simulated VM.
  void use_by_vm() noexcept { used_by_vm_ = true; }
  /// Whether `use_by_vm` was called. Then the object stands for the eventfd until the program
  /// closes its descriptor, which ends an irqfd.
  [[nodiscard]] bool used_by_vm() const noexcept { return used_by_vm_; }

 private:
  unique_fd fd_;
  std::uint64_t id_;
  bool used_by_vm_ = false;
};

/// Any other file of a program, which the simulated host refuses where it needs one of its own.
class other_file final : public kvm_vfio::sim::file {
 public:
  other_file() noexcept : file(kvm_vfio::sim::file_kind::other) {}
  [[nodiscard]] const char* name() const noexcept override { return "other"; }
};

}  // namespace kvm_vfio_sim
