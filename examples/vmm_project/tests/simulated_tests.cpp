// SPDX-License-Identifier: BSL-1.0
// The passthrough code on simulated machines with the VFIO and the KVM of three Linux releases, and
// on a mock.
#include "scenario.hpp"

#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/testing/mock_system.hpp>
#include <kvm_vfio/testing/vfio_answers.hpp>

#include <string>
#include <thread>

namespace sim = kvm_vfio::sim;

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

template <class Release>
void test() {
  std::printf("%s\n", Release::name);
  sim::machine<Release> machine(three_groups());
  sim::process& process = machine.process();
  const sim::process_ref system(process);
  // Whether KVM was told that the VM has noncoherent DMA, and how many files kvm-vfio tracks.
  const auto noncoherent = [&] { return machine.look().vms.at(0).noncoherent != 0; };
  const auto tracked = [&] { return machine.look().vms.at(0).tracked.size(); };
  const int kvm_vfio = kvm_vfio_of_new_vm(system);
  CHECK(kvm_vfio >= 0);
  const std::size_t before = process.descriptors();

  plug_and_unplug(system, kvm_vfio, "1", "0000:01:00.0");
  CHECK(process.descriptors() == before);
  CHECK(tracked() == 0);

  {  // KVM hears of noncoherent DMA for as long as the device is plugged.
    vmm::passthrough first(system, kvm_vfio);
    vmm::passthrough second(system, kvm_vfio);
    CHECK(first.plug("1", "0000:01:00.0") == errc::ok && !noncoherent());
    CHECK(second.plug("2", "0000:02:00.0") == errc::ok && noncoherent());
    CHECK(tracked() == 2);
    second.unplug();
    CHECK(!noncoherent());
  }
  {  // The group is not viable.
    vmm::passthrough refused(system, kvm_vfio);
    CHECK(refused.plug("3", "0000:03:00.0") == errc::perm);
    CHECK(process.descriptors() == before);
  }
  {  // Descriptors run out at each step in turn.
    vmm::passthrough starved(system, kvm_vfio);
    for (std::size_t free = 0; free < 3; ++free) {
      process.limit(before + free);
      CHECK(starved.plug("1", "0000:01:00.0") == errc::mfile);
      CHECK(process.descriptors() == before && tracked() == 0);
    }
    process.limit(before + 3);
    CHECK(starved.plug("1", "0000:01:00.0") == errc::ok);
    process.limit(1000);
  }
  {  // Two threads plug at the same time.
    std::thread other([&] {
      for (int i = 0; i < 50; ++i) plug_and_unplug(system, kvm_vfio, "2", "0000:02:00.0");
    });
    for (int i = 0; i < 50; ++i) plug_and_unplug(system, kvm_vfio, "1", "0000:01:00.0");
    other.join();
    CHECK(process.descriptors() == before && tracked() == 0);
  }
  CHECK(system.close(kvm_vfio) == errc::ok);
  // What the code left behind, and what the checker found.
  const std::string left = machine.finish();
  std::printf("%s", left.c_str());
  CHECK(left.empty());
}

// Each call of a plug fails once, with an error that this host may never give.
void test_on_mock() {
  std::puts("mock");
  for (std::size_t nth = 1;; ++nth) {
    kvm_vfio::testing::mock_state state;
    kvm_vfio::testing::answers_as_vfio(state);
    const kvm_vfio::testing::mock_system system(state);
    const int kvm_vfio = state.make_descriptor();
    vmm::passthrough plugged(system, kvm_vfio);
    state.fail(nth, errc::io);
    const errc e = plugged.plug("1", "0000:01:00.0");
    if (e == errc::ok) {
      CHECK(nth == 7);  // a plug makes 6 calls
      return;
    }
    CHECK(e == errc::io);
    CHECK(state.descriptors() == 1);  // kvm-vfio
  }
}

}  // namespace

int main() {
  test<kvm_vfio::linux_6_1>();
  test<kvm_vfio::linux_6_12>();
  test<kvm_vfio::linux_7_3>();
  test_on_mock();
  return failures == 0 ? 0 : 1;
}
