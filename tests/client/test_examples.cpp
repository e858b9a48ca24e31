// SPDX-License-Identifier: BSL-1.0
// The program of examples/04, which users copy, on simulated machines of each Linux release: the
// checker has nothing to report, and nothing is left.
#include <kvm_vfio/client/probe.hpp>
#include <kvm_vfio/sim/machine.hpp>
#include <kvm_vfio/sim/process_ref.hpp>

#include "example_vmm.hpp"

#define main example_main
#include "04_attach_in_a_vmm.cpp"  // NOLINT(bugprone-suspicious-include)
#undef main

TEMPLATE_TEST_CASE("Example 04 attaches a device in the right order and leaves nothing", "[client]",
                   kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  namespace sim = kvm_vfio::sim;
  sim::machine<TestType> machine(client_tests::edu());
  {
    const auto kvm = kv::native::basic_kvm_ref<sim::process_ref>::open(
        "/dev/kvm", sim::process_ref(machine.process()));
    REQUIRE(kvm);
    const auto vm = kvm->create_vm();
    REQUIRE(vm);
    CHECK(plug(*vm, 7, "0000:00:04.0") == 0);
    CHECK(plug(*vm, 7, "0000:00:05.0") == 1);  // the group has no such device
    CHECK(plug(*vm, 8, "0000:00:04.0") == 1);
  }
  CHECK(machine.finish().empty());
}

TEST_CASE("A probe says what a host offers and changes nothing", "[client]") {
  namespace sim = kvm_vfio::sim;
  using kvm_vfio::errc;
  sim::machine<> machine(client_tests::edu());
  const sim::snapshot before = machine.look();
  const auto found = client::probe(sim::process_ref(machine.process()));
  CHECK(found.kvm == errc::ok);
  CHECK(found.kvm_vfio_device == errc::ok);
  CHECK(found.groups == errc::ok);
  CHECK(found.iommufd == errc::ok);
  CHECK(difference(before, machine.look()).empty());
  CHECK(machine.finish().empty());

  sim::machine<kv::linux_6_1> old(client_tests::edu());
  const auto without = client::probe(sim::process_ref(old.process()));
  CHECK(without.groups == errc::ok);
  CHECK(without.iommufd == errc::noent);
  CHECK(old.finish().empty());
}
