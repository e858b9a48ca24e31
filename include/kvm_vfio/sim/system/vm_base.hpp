// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A VM as the simulated VFIO sees it. It has a name, a reference count and two counters.

#include <string>
#include <utility>

namespace kvm_vfio::sim {

/// A VM (the kernel's struct kvm). The type `symbols::vm` is a pointer to it.
class vm_base {
 public:
  /// \param name the name in snapshots ("vm0")
  explicit vm_base(std::string name) : name_(std::move(name)) {}
  vm_base(const vm_base&) = delete;
  vm_base& operator=(const vm_base&) = delete;

  /// Takes a reference on the VM (kvm_get_kvm).
  virtual void get() noexcept = 0;
  /// Gives a reference back (kvm_put_kvm). The last one destroys the VM.
  virtual void put() noexcept = 0;
  /// The number of references. 0: the kernel has destroyed the VM.
  [[nodiscard]] virtual int users() const noexcept = 0;

  /// The name of the VM ("vm0").
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// How often noncoherent DMA is registered for the VM. Atomic.
  [[nodiscard]] int noncoherent() const noexcept { return load(noncoherent_); }
  /// The number of files that are assigned to the VM (Linux up to 6.12). Atomic.
  [[nodiscard]] int assigned() const noexcept { return load(assigned_); }
  /// Adds 1 or -1 to the number of registrations of noncoherent DMA. Atomic.
  void add_noncoherent(int n) noexcept { add(noncoherent_, n); }
  /// Adds 1 or -1 to the number of assigned files. Atomic.
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
