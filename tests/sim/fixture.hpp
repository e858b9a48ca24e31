// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A small simulated machine with a process on it, for the tests.

#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/testing/catch2.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include "support/catch.hpp"
#include "support/sim_system.hpp"
#include "support/vmm.hpp"

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

/// A simulated host and its only process, a VMM. What a test cannot go on without ends the test.
template <class Profile = kvm_vfio::linux_7_3, class Iommu = sim::iommu>
struct machine_under_test : support::vmm<support::sim_system> {
  using client = support::vmm<support::sim_system>;

  explicit machine_under_test(const sim::topology& t = two_groups(),
                              const sim::world_options& options = {})
      : client(support::sim_system(task)), world(t, options) {}

  sim::world_of<Profile> world;
  sim::kernel<Profile, Iommu> kernel{world};
  sim::memory memory;
  sim::process task{kernel, memory};

  int open(const char* path) { return client::open(path).value(); }
  int create_vm() { return client::create_vm(open("/dev/kvm")).value(); }
  int create_kvm_vfio(int vm) { return client::create_kvm_vfio(vm).value(); }
  /// A group in a container of its own with an IOMMU; the container's descriptor follows.
  int group_with_iommu(const char* path, int* container = nullptr) {
    const int g = open(path);
    const int c = open("/dev/vfio/vfio");
    if (set_container(g, c) != errc::ok || set_iommu(c) != errc::ok) return -1;
    if (container) *container = c;
    return g;
  }
  /// IOMMU_IOAS_ALLOC. \return the number of the address space
  std::uint32_t alloc_ioas(int iommufd) {
    kvm_vfio::uapi::iommu_ioas_alloc c{};
    c.size = sizeof c;
    REQUIRE(client::ioctl_at(iommufd, kvm_vfio::uapi::request_ioas_alloc, c) == errc::ok);
    return c.out_ioas_id;
  }
  /// A device file that is bound to an iommufd.
  int bound(const char* path, int iommufd) {
    const int device = open(path);
    kvm_vfio::uapi::device_bind_iommufd c{};
    c.argsz = sizeof c;
    c.iommufd = iommufd;
    REQUIRE(client::ioctl_at(device, kvm_vfio::uapi::request_bind_iommufd, c) == errc::ok);
    return device;
  }
  /// Attaches a bound device to an address space or a page table.
  errc attach(int device, std::uint32_t pt) {
    kvm_vfio::uapi::device_attach_iommufd_pt c{};
    c.argsz = sizeof c;
    c.pt_id = pt;
    return client::ioctl_at(device, kvm_vfio::uapi::request_attach_iommufd_pt, c);
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

/// Two devices over one world, with the coherency epoch and without it, that take the same calls.
/// KVM must hear the same of both.
template <class Symbols, class Profile, class Lock = kvm_vfio::null_lock>
struct with_and_without_epoch {
  explicit with_and_without_epoch(sim::world& of) : with(of), without(of) {}

  device_beside<Symbols, Profile, Lock> with;
  device_beside<without_epoch<Symbols>, Profile, Lock> without;

  /// The answers of the two: they may differ if VFIO goes or comes in between.
  using answers = std::pair<errc, errc>;
  template <class File>
  answers add(const File& file) {
    const errc first = with.dev.add(file);
    return {first, without.dev.add(file)};
  }
  template <class File>
  answers del(const File& file) {
    const errc first = with.dev.del(file);
    return {first, without.dev.del(file)};
  }
  /// Loads VFIO for both, or unloads it.
  void load(bool loaded) {
    with.vfio.load(loaded);
    without.vfio.load(loaded);
  }
  /// Whether KVM heard the same, if no thread calls in between.
  [[nodiscard]] bool same() const {
    return with.vm.noncoherent() == without.vm.noncoherent() &&
           with.vm.assigned() == without.vm.assigned() &&
           with.dev.noncoherent() == without.dev.noncoherent() &&
           with.dev.size() == without.dev.size();
  }
};
