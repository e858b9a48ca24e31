// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A VM as VFIO and the architecture see it: something to hold a reference on.

#include <kvm_vfio/sim/file.hpp>

#include <string>
#include <utility>

namespace kvm_vfio::sim {

/// struct kvm, from outside. `Symbols::vm` is a pointer to one.
class vm_base {
 public:
  /// \param name for dumps
  explicit vm_base(std::string name) : name_(std::move(name)) {}
  vm_base(const vm_base&) = delete;
  vm_base& operator=(const vm_base&) = delete;

  /// kvm_get_kvm.
  virtual void get() noexcept = 0;
  /// kvm_put_kvm.
  virtual void put() noexcept = 0;
  /// 0: the kernel has destroyed the VM.
  [[nodiscard]] virtual int users() const noexcept = 0;

  /// The VM's name ("vm0").
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Registrations for noncoherent DMA.
  [[nodiscard]] int noncoherent() const noexcept { return load(noncoherent_); }
  /// Assigned files (kernels up to 6.12).
  [[nodiscard]] int assigned() const noexcept { return load(assigned_); }
  /// Registers once more (1) or less (-1).
  void add_noncoherent(int n) noexcept { add(noncoherent_, n); }
  /// One assigned file more (1) or less (-1).
  void add_assigned(int n) noexcept { add(assigned_, n); }

 protected:
  ~vm_base() = default;

 private:
  static int load(const int& n) noexcept { return __atomic_load_n(&n, __ATOMIC_ACQUIRE); }
  static void add(int& n, int by) noexcept { __atomic_add_fetch(&n, by, __ATOMIC_ACQ_REL); }

  std::string name_;
  int noncoherent_ = 0;
  int assigned_ = 0;
};

}  // namespace kvm_vfio::sim
