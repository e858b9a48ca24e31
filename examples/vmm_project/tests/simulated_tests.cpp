// SPDX-License-Identifier: BSL-1.0
// The passthrough code on simulated machines with the VFIO and the KVM of three Linux releases.
#include "scenario.hpp"

#include <kvm_vfio/sim/kernel.hpp>
#include <kvm_vfio/trace/checker.hpp>

#include <cerrno>
#include <thread>

namespace sim = kvm_vfio::sim;
namespace trace = kvm_vfio::trace;

namespace {

// Group 1: its DMA is enforced coherent. Group 2: it is not. Group 3: a driver of the host has one
// of the devices.
sim::topology three_groups() {
  sim::topology machine;
  machine.iommus.push_back({.name = "no snoop control", .snoop_control = false});
  machine.groups.push_back({.number = 1, .devices = {{.name = "0000:01:00.0"}}});
  machine.groups.push_back(
      {.number = 2, .iommu = "no snoop control", .devices = {{.name = "0000:02:00.0"}}});
  machine.groups.push_back({.number = 3,
                            .devices = {{.name = "0000:03:00.0"},
                                        {.name = "0000:03:00.1", .bound = sim::driver::other}}});
  return machine;
}

// A simulated machine with one process on it: the System of these tests.
template <class Release>
class simulated {
 public:
  simulated() { task_.observe(checker_); }

  long open(const char* path) { return value(task_.open(path)); }
  long close(int fd) { return value(task_.close(fd)); }
  long ioctl(int fd, unsigned long request, std::uintptr_t argument) {
    return value(task_.ioctl(fd, request, argument));
  }

  // Whether KVM was told that the VM has noncoherent DMA.
  bool noncoherent() { return kernel_.look().vms.at(0).noncoherent != 0; }
  // How many files the VM's kvm-vfio tracks.
  std::size_t tracked() { return kernel_.look().vms.at(0).tracked.size(); }
  std::size_t descriptors() const { return task_.descriptors(); }
  void limit_descriptors(std::size_t most) { task_.limit(most); }
  // What the checker found.
  std::string findings() const { return checker_.text(); }

 private:
  static long value(const sim::answer& a) {
    return a ? static_cast<long>(*a) : -static_cast<long>(a.error());
  }
  sim::kernel<Release> kernel_{three_groups()};
  sim::memory memory_;
  sim::process task_{kernel_, memory_};
  trace::checker checker_;
};

template <class Release>
void test() {
  std::printf("%s\n", Release::name);
  simulated<Release> machine;
  const int kvm_vfio = kvm_vfio_of_new_vm(machine);
  CHECK(kvm_vfio >= 0);
  const std::size_t before = machine.descriptors();

  plug_and_unplug(machine, kvm_vfio, "1", "0000:01:00.0");
  CHECK(machine.descriptors() == before);
  CHECK(machine.tracked() == 0);

  {  // KVM hears of noncoherent DMA for as long as the device is plugged.
    vmm::passthrough first(machine, kvm_vfio);
    vmm::passthrough second(machine, kvm_vfio);
    CHECK(first.plug("1", "0000:01:00.0") == 0 && !machine.noncoherent());
    CHECK(second.plug("2", "0000:02:00.0") == 0 && machine.noncoherent());
    CHECK(machine.tracked() == 2);
    second.unplug();
    CHECK(!machine.noncoherent());
  }
  {  // The group is not viable.
    vmm::passthrough refused(machine, kvm_vfio);
    CHECK(refused.plug("3", "0000:03:00.0") == -EPERM);
    CHECK(machine.descriptors() == before);
  }
  {  // Descriptors run out at each step in turn.
    vmm::passthrough starved(machine, kvm_vfio);
    for (std::size_t free = 0; free < 3; ++free) {
      machine.limit_descriptors(before + free);
      CHECK(starved.plug("1", "0000:01:00.0") == -EMFILE);
      CHECK(machine.descriptors() == before && machine.tracked() == 0);
    }
    machine.limit_descriptors(before + 3);
    CHECK(starved.plug("1", "0000:01:00.0") == 0);
    machine.limit_descriptors(1000);
  }
  {  // Two threads plug at the same time.
    std::thread other([&] {
      for (int i = 0; i < 50; ++i) plug_and_unplug(machine, kvm_vfio, "2", "0000:02:00.0");
    });
    for (int i = 0; i < 50; ++i) plug_and_unplug(machine, kvm_vfio, "1", "0000:01:00.0");
    other.join();
    CHECK(machine.descriptors() == before && machine.tracked() == 0);
  }
  std::printf("%s", machine.findings().c_str());
  CHECK(machine.findings().empty());
}

}  // namespace

int main() {
  test<kvm_vfio::linux_6_1>();
  test<kvm_vfio::linux_6_12>();
  test<kvm_vfio::linux_7_3>();
  return failures == 0 ? 0 : 1;
}
