// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The requests of a VM that only keep books: memory slots, irqfds and ioeventfds. The simulator
/// checks the arguments as KVM does on x86, and remembers what the VMM has set up. No processor
/// runs in the VM, so nothing reads the memory, and no interrupt arrives.

#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/uapi/kvm.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace kvm_vfio::sim {

/// The answer of KVM_CHECK_EXTENSION: what the simulated KVM has. An extension that the simulator
/// does not have is 0.
[[nodiscard]] answer kvm_extension(std::uint64_t extension, const linux_release& release) noexcept;

/// The number of bytes that KVM_GET_VCPU_MMAP_SIZE answers: three pages, as on x86.
inline constexpr std::int64_t vcpu_mmap_size = 12288;

/// The memory slots, the irqfds and the ioeventfds of a VM. All functions take a lock of their own.
class vm_requests {
 public:
  /// A memory slot of a VM (KVM_SET_USER_MEMORY_REGION).
  struct slot {
    /// KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY.
    std::uint32_t flags = 0;
    /// The first address in the VM.
    std::uint64_t guest = 0;
    /// The size in bytes.
    std::uint64_t size = 0;
    /// The address in the process.
    std::uint64_t address = 0;
  };
  /// The number of memory slots. A slot has a number below this one.
  static constexpr std::uint32_t slots = 32764;

  /// \param release the Linux release that is simulated
  explicit vm_requests(const linux_release& release) noexcept
      : exclusive_(release.exclusive_irqfds) {}
  vm_requests(const vm_requests&) = delete;
  vm_requests& operator=(const vm_requests&) = delete;
  ~vm_requests() { end_irqfds(); }

  /// Returns true if `ioctl` knows the request.
  [[nodiscard]] static bool knows(std::uint32_t request) noexcept;
  /// Answers KVM_SET_USER_MEMORY_REGION, KVM_CREATE_IRQCHIP, KVM_IRQFD and KVM_IOEVENTFD.
  /// \pre `knows(request)`
  /// \par Errors
  /// - `errc::fault`: the struct cannot be read
  /// - `errc::inval`: SET_USER_MEMORY_REGION: the number of the slot, the flags or the alignment
  ///   are wrong, a range wraps around or is too large, the slot that is deleted does not exist, or
  ///   an existing slot would get another size, another memory or KVM_MEM_READONLY. IRQFD: a flag
  ///   is unknown, the VM has no interrupt controller (KVM_CREATE_IRQCHIP), or a file is not an
  ///   eventfd. IOEVENTFD: the length or the flags are wrong, the range wraps around, or the file
  ///   is not an eventfd
  /// - `errc::exists`: SET_USER_MEMORY_REGION: another slot has one of the addresses. IOEVENTFD:
  ///   another ioeventfd has the address. CREATE_IRQCHIP: the VM has an interrupt controller
  /// - `errc::badf`: IRQFD, IOEVENTFD: a descriptor is not open
  /// - `errc::busy`: IRQFD: the eventfd has an irqfd already, in this VM or, if
  ///   `linux_release::exclusive_irqfds` is set, in any VM
  /// - `errc::noent`: IOEVENTFD with DEASSIGN: there is no such ioeventfd
  answer ioctl(process& task, std::uint32_t request, std::uint64_t argument);

  /// Ends all irqfds, when the file of the VM is released (kvm_irqfd_release).
  void end_irqfds() noexcept;

  /// Returns the memory slots by their numbers.
  [[nodiscard]] std::map<std::uint32_t, slot> memory() const;
  /// Returns the numbers of the interrupts that have irqfds, in the order of the calls. An irqfd
  /// whose eventfd is closed does not exist any more.
  [[nodiscard]] std::vector<int> irqfds() const;
  /// Returns the number of ioeventfds.
  [[nodiscard]] std::size_t ioeventfds() const;

 private:
  // Keeps the object of an eventfd in memory, but does not keep the eventfd open.
  struct unwatch {
    void operator()(file* f) const noexcept { f->unwatch(); }
  };
  using watched = std::unique_ptr<file, unwatch>;
  struct irqfd {
    watched event;
    std::uint32_t gsi;
  };
  struct ioeventfd {
    watched event;
    std::uint32_t bus;
    kvm_ioeventfd c;
  };

  static result<watched> eventfd(process& task, int fd);
  answer set_memory(process& task, std::uint64_t argument);
  answer set_irqfd(process& task, std::uint64_t argument);
  answer set_ioeventfd(process& task, std::uint64_t argument);

  void erase_irqfds(auto wanted);

  bool exclusive_;
  mutable mutex lock_;
  bool irqchip_ = false;
  std::map<std::uint32_t, slot> memory_;
  std::vector<irqfd> irqfds_;
  std::vector<ioeventfd> ioeventfds_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/kvm/impl/vm_requests.hpp>
#endif
