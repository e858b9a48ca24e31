// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Threads of one task that make a VM's devices and close descriptors.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/ids.hpp>
#include <kvm_vfio/testing/journal.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstdint>
#include <utility>

#include "support/own_memory.hpp"

namespace tests {

namespace kv = kvm_vfio;
namespace testing = kvm_vfio::testing;

/// A task whose threads share descriptors. An address is a pointer.
class vm_task : public support::own_memory {
 public:
  using address_space_id = int;
  [[nodiscard]] int address_space() const noexcept { return 1; }

  kv::result<int> install(kv::open_file<vm_task>& made) noexcept {
    use_table("install");
    int fd = 0;
    while (fd < most && table_[fd]) ++fd;
    if (fd == most) return kv::errc::mfile;
    table_[fd] = &made;
    // The descriptor is there. What the caller does next is not announced by anybody.
    testing::announce({testing::access_kind::anything, nullptr, 0, "after install"});
    return fd;
  }
  kv::errc close(int fd) noexcept {
    use_table("close");
    kv::open_file<vm_task>* const file = std::exchange(table_[fd], nullptr);
    if (!file) return kv::errc::badf;
    file->release();
    return kv::errc::ok;
  }
  [[nodiscard]] int open_descriptors() const noexcept {
    int n = 0;
    for (const auto* file : table_) n += file != nullptr;
    return n;
  }
  kv::result<testing::file_id> fget(int) noexcept { return kv::errc::badf; }

 private:
  static constexpr int most = 4;
  void use_table(const char* what) noexcept {
    testing::announce({testing::access_kind::write, &table_, 0, what});
  }
  kv::open_file<vm_task>* table_[most] = {};
};

/// What the threads do: thread 0 makes a device. The other threads close descriptor 1, which is the
/// device's if it is there already, and make a device of their own.
/// \tparam Model has the template `vm`
template <int Threads, class Model>
class vm_scenario {
 public:
  static constexpr int threads = Threads;

  vm_scenario() { (void)task.install(vm); }

  void run(int thread) noexcept {
    if (thread != 0) (void)task.close(1);
    if (thread != 1) {
      kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
      (void)vm.ioctl(task, kv::uapi::create_device, reinterpret_cast<std::uintptr_t>(&create));
    }
  }
  const char* check() noexcept {
    return vm.users() > 0 ? nullptr : "the VM has no user, though its descriptor is open";
  }
  const char* finish() noexcept {
    return vm.users() == task.open_descriptors() ? nullptr : "a user of the VM is lost";
  }
  ~vm_scenario() {
    for (int fd = 0; fd < 4; ++fd) (void)task.close(fd);
  }

 private:
  using vm_of = typename Model::template vm<vm_task, testing::vm_id, testing::scheduled_lock>;
  using type = kv::vfio_device_type<vm_of, testing::recording_symbols, testing::scheduled_lock,
                                    testing::recording_iommu>;

  testing::journal log;
  testing::recording_symbols vfio{log};
  testing::recording_iommu iommu{log};
  vm_task task;
  kv::device_type_table<vm_of> types;
  type vfio_type{vfio, iommu};
  const kv::errc known = types.register_type(KVM_DEV_TYPE_VFIO, vfio_type);
  vm_of vm{types, testing::vm_id{1}, task};
};

}  // namespace tests
