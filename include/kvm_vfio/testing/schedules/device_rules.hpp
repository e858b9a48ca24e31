// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The rules that every schedule of calls of kvm-vfio devices must keep.

#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>

#include <vector>

namespace kvm_vfio::testing {

/// Follows the calls that devices make, and fails the schedule at a call that breaks a rule. The
/// policies `scheduled_symbols`, `scheduled_iommu` and `scheduled_files` report to it. The rules:
/// - A file has a reference while a call names it.
/// - A file has no VM any more when its last reference goes.
/// - VMs are registered and unregistered alternately, and registered first.
/// - Assignments end only after they have started.
/// - The calling thread holds the device's lock, if `watch` named one, when the device calls a
///   function for which the kernel holds the lock.
/// - While the lock is free, each tracked file has a reference and the device's VM, no other file
///   has this VM, and the device and KVM agree on noncoherent DMA. (So at most one device may
///   track a file.)
/// \tparam File a handle of a file
/// \tparam Vm   a handle of a VM
template <class File, class Vm>
class device_rules {
 public:
  /// Sets the lock of the devices. `lock` must outlive this object. Without a lock, the rules that
  /// concern it are not checked.
  void watch(const scheduled_lock& lock) noexcept { lock_ = &lock; }
  /// Makes calls without the lock no mistake. For tests of what such calls lead to.
  void allow_unlocked_calls() noexcept { unlocked_ = true; }
  /// Adds a file with one reference, which a descriptor holds.
  void opened(const File& file) { files_.push_back({file, {}, 1, 1}); }
  /// Removes the reference that a descriptor holds. `scheduled_files::close` calls this function.
  void closed(const File& file) noexcept {
    if (entry* const f = find(file)) --f->descriptors;
    put(file);
  }

  ///@{
  /// Checks one call of a device, before the call is made.
  void use(const File& file) noexcept {
    if (const entry* const f = find(file); f && f->references < 1)
      fail_schedule("a call names a file without a reference");
  }
  void use_locked(const File& file) noexcept {
    locked();
    use(file);
  }
  void set_kvm(const File& file, const Vm& vm) noexcept {
    use_locked(file);
    if (entry* const f = find(file)) f->vm = vm;
  }
  void get(const File& file) noexcept {
    use(file);
    if (entry* const f = find(file)) ++f->references;
  }
  void put(const File& file) noexcept {
    use(file);
    entry* const f = find(file);
    if (f && --f->references == 0 && !(f->vm == Vm{}))
      fail_schedule("the last reference on a file goes while the file has a VM");
  }
  void registers(const Vm& vm) noexcept {
    locked();
    count& c = of(vm);
    if (c.registered++ != 0) fail_schedule("noncoherent DMA is registered twice");
  }
  void unregisters(const Vm& vm) noexcept {
    locked();
    count& c = of(vm);
    if (c.registered-- != 1) fail_schedule("noncoherent DMA is unregistered without a register");
  }
  void starts(const Vm& vm) noexcept {
    locked();
    ++of(vm).assigned;
  }
  void ends(const Vm& vm) noexcept {
    locked();
    if (--of(vm).assigned < 0) fail_schedule("an assignment ends that has not started");
  }
  ///@}

  /// Returns the number of references on a file.
  [[nodiscard]] int references(const File& file) const noexcept {
    const entry* const f = const_cast<device_rules*>(this)->find(file);
    return f ? f->references : 0;
  }
  /// Returns true if a descriptor of the file is open.
  [[nodiscard]] bool is_open(const File& file) const noexcept {
    const entry* const f = const_cast<device_rules*>(this)->find(file);
    return f && f->descriptors > 0;
  }
  /// Returns the VM that the file has.
  [[nodiscard]] Vm vm_of(const File& file) const noexcept {
    const entry* const f = const_cast<device_rules*>(this)->find(file);
    return f ? f->vm : Vm{};
  }

  /// Returns what is wrong between a device and its files, or null. Returns null while the lock is
  /// held, or if `watch` was not called. For `check` of a scenario.
  template <class Device>
  [[nodiscard]] const char* disagreement(const Device& device) noexcept {
    if (!lock_ || lock_->held()) return nullptr;
    for (entry& f : files_) f.tracked = 0;
    return compare(device);
  }
  /// Returns what is wrong when no call is in progress, or null: each reference belongs to a
  /// descriptor or to a device. For `finish` of a scenario.
  /// \param devices all devices that use the files
  template <class... Devices>
  [[nodiscard]] const char* disagreement_at_end(const Devices&... devices) noexcept {
    const char* wrong = nullptr;
    for (entry& f : files_) f.everywhere = 0;
    const auto add = [&](const auto& device) {
      for (entry& f : files_) f.tracked = 0;
      const char* const found = compare(device);
      if (!wrong) wrong = found;
      for (entry& f : files_) f.everywhere += f.tracked;
    };
    (add(devices), ...);
    for (const entry& f : files_)
      if (!wrong && f.references != f.descriptors + f.everywhere)
        wrong = "a reference on a file is lost";
    return wrong;
  }

 private:
  struct entry {
    File file;
    Vm vm;
    int references;
    int descriptors;
    int tracked = 0;     // how often the device tracks the file that is compared now
    int everywhere = 0;  // how often all devices together track it
  };
  struct count {
    Vm vm;
    int registered = 0;
    int assigned = 0;
  };

  [[nodiscard]] entry* find(const File& file) noexcept {
    for (entry& f : files_)
      if (f.file == file) return &f;
    return nullptr;
  }
  [[nodiscard]] count& of(const Vm& vm) {
    for (count& c : counts_)
      if (c.vm == vm) return c;
    return counts_.emplace_back(count{.vm = vm});
  }
  void locked() noexcept {
    if (lock_ && !unlocked_ && scheduler::running() && !lock_->mine())
      fail_schedule("a device calls without its lock");
  }

  template <class Device>
  [[nodiscard]] const char* compare(const Device& device) noexcept {
    device.for_each([this](const File& file) {
      if (entry* const f = find(file)) ++f->tracked;
    });
    for (const entry& f : files_) {
      if (f.tracked > 1) return "a device tracks a file twice";
      if (f.tracked != 0 && f.references < 1) return "a tracked file has no reference";
      if ((f.tracked != 0) != (f.vm == device.vm()))
        return f.tracked != 0 ? "a tracked file does not have the device's VM"
                              : "a file that is not tracked has the device's VM";
    }
    if ((of(device.vm()).registered != 0) != device.noncoherent())
      return "the device and KVM disagree on noncoherent DMA";
    return nullptr;
  }

  const scheduled_lock* lock_ = nullptr;
  bool unlocked_ = false;
  std::vector<entry> files_;
  std::vector<count> counts_;
};

}  // namespace kvm_vfio::testing
