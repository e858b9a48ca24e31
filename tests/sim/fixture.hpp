// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A small simulated machine with a process on it, for the tests.

#include <kvm_vfio/sim/kernel.hpp>

#include "sim_system.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace sim = kvm_vfio::sim;
namespace trace = kvm_vfio::trace;
using kvm_vfio::errc;

/// Two groups: 1 with one device, 2 with two; MSI and MSI-X.
[[nodiscard]] inline sim::topology two_groups(bool snoop_control = true) {
  sim::topology t;
  t.iommus[0].snoop_control = snoop_control;
  const sim::pci_spec pci{
      .bars = {{0x4000, true, true}, {}, {0x100}}, .msi_vectors = 4, .msix_vectors = 8};
  t.groups.push_back({.number = 1, .devices = {{.name = "0000:00:04.0", .pci = pci}}});
  t.groups.push_back(
      {.number = 2,
       .devices = {{.name = "0000:00:05.0", .pci = pci}, {.name = "0000:00:05.1", .pci = pci}}});
  return t;
}

/// One group with QEMU's "edu" device: what the booted kernels have, too.
[[nodiscard]] inline sim::topology one_edu(bool snoop_control = true) {
  sim::topology t;
  t.iommus[0].snoop_control = snoop_control;
  const sim::pci_spec edu{.vendor = 0x1234,
                          .device = 0x11e8,
                          .class_code = 0x00ff00,
                          .revision = 0x10,
                          .bars = {{0x100000}},
                          .msi_vectors = 1,
                          .express = false,
                          .resets = false};
  t.groups.push_back({.number = 1, .devices = {{.name = "0000:00:04.0", .pci = edu}}});
  return t;
}

/// The name of a device of `many`.
[[nodiscard]] inline std::string name_of_many(int group, int device) {
  return "d" + std::to_string(group) + "." + std::to_string(device);
}
/// Groups of so many devices each. The odd ones are behind an IOMMU without snoop control.
[[nodiscard]] inline sim::topology many(int groups, int devices) {
  sim::topology t;
  t.iommus = {{.name = "snoops"}, {.name = "plain", .snoop_control = false}};
  for (int g = 0; g < groups; ++g) {
    sim::group_spec spec{.number = g, .iommu = g % 2 ? "plain" : "snoops"};
    for (int d = 0; d < devices; ++d) spec.devices.push_back({.name = name_of_many(g, d)});
    t.groups.push_back(std::move(spec));
  }
  return t;
}

/// A machine and its only process.
template <class Profile = kvm_vfio::linux_7_3, class Iommu = sim::iommu>
struct machine_under_test {
  explicit machine_under_test(const sim::topology& t = two_groups(),
                              const sim::world_options& options = {})
      : world(t, sim::release_of<Profile>(), options) {}

  sim::world world;
  sim::kernel<Profile, Iommu> kernel{world};
  sim::memory memory;
  sim::process task{kernel, memory};

  int open(const char* path) { return static_cast<int>(task.open(path).value()); }
  errc ioctl(int fd, std::uint64_t request, std::uint64_t argument = 0) {
    return task.ioctl(fd, request, argument).error();
  }
  template <class T>
  errc ioctl_at(int fd, std::uint64_t request, T& argument) {
    return ioctl(fd, request, reinterpret_cast<std::uintptr_t>(&argument));
  }
  int create_vm() {
    return static_cast<int>(task.ioctl(open("/dev/kvm"), KVM_CREATE_VM, 0).value());
  }
  int create_kvm_vfio(int vm) {
    kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
    return ioctl_at(vm, KVM_CREATE_DEVICE, create) == errc::ok ? static_cast<int>(create.fd) : -1;
  }
  errc attribute(int device, std::uint64_t which, int fd) {
    std::int32_t argument = fd;
    kvm_device_attr attr{.flags = 0,
                         .group = kvm_vfio::uapi::dev_vfio_file,
                         .attr = which,
                         .addr = reinterpret_cast<std::uintptr_t>(&argument)};
    return ioctl_at(device, KVM_SET_DEVICE_ATTR, attr);
  }
  errc add(int device, int fd) { return attribute(device, 1, fd); }
  errc del(int device, int fd) { return attribute(device, 2, fd); }
  errc set_container(int group, int container) {
    std::int32_t fd = container;
    return ioctl_at(group, VFIO_GROUP_SET_CONTAINER, fd);
  }
  errc set_iommu(int container, std::uint64_t type = VFIO_TYPE1v2_IOMMU) {
    return ioctl(container, VFIO_SET_IOMMU, type);
  }
  sim::answer device_fd(int group, const char* name) {
    return task.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, reinterpret_cast<std::uintptr_t>(name));
  }
  /// A group in a container of its own with an IOMMU; the container's descriptor follows.
  int group_with_iommu(const char* path, int* container = nullptr) {
    const int g = open(path);
    const int c = open("/dev/vfio/vfio");
    if (set_container(g, c) != errc::ok || set_iommu(c) != errc::ok) return -1;
    if (container) *container = c;
    return g;
  }
};

/// Symbols without their epoch: kvm-vfio asks every file each time.
template <class Symbols>
struct without_epoch : Symbols {
  using Symbols::Symbols;
  std::uint64_t coherency_epoch() = delete;
};
static_assert(kvm_vfio::epoch_symbol_provider<sim::symbols> &&
              kvm_vfio::symbol_provider<without_epoch<sim::symbols>> &&
              !kvm_vfio::epoch_symbol_provider<without_epoch<sim::symbols>>);

/// A kvm-vfio device with a VM of its own, beside the simulated kernel's, over the same world.
template <class Symbols, class Profile, class Lock = kvm_vfio::null_lock>
struct device_beside {
  explicit device_beside(sim::world& of) : vfio(of), arch(of) {}

  struct guest final : sim::vm_base {
    guest() : sim::vm_base("g") {}
    void get() noexcept override {}
    void put() noexcept override {}
    [[nodiscard]] int users() const noexcept override { return 1; }
  };

  Symbols vfio;
  sim::iommu arch;
  guest vm;
  kvm_vfio::device<Symbols, Lock, sim::iommu, Profile, kvm_vfio::heap_storage, sim::counted_files>
      dev{vfio, arch, &vm, {}, {}, {}};
};
