// SPDX-License-Identifier: BSL-1.0
// Every system call of a plug and of an unplug fails once. After a plug that failed everything is
// as before; after an unplug that failed the VMM was told, and the end of the VM leaves nothing.
#include "example_vmm.hpp"
#include "support/every_fault.hpp"

#include <string>
#include <type_traits>
#include <vector>

using namespace client_tests;

namespace {

struct state {
  sim::snapshot seen;
  std::size_t descriptors;
  std::size_t mappings;
};
template <class Profile>
state look(vm_on_machine<Profile>& m) {
  return {m.machine.look(), m.task.descriptors(), m.task.mappings()};
}
void check_same(const state& before, const state& after) {
  CHECK(difference(before.seen, after.seen) == "");
  CHECK(before.descriptors == after.descriptors);
  CHECK(before.mappings == after.mappings);
}
// Lets the n-th call of a plug fail, for every n. Returns the names of the calls.
template <class Profile>
std::vector<std::string> every_call_of_a_plug(const vmm::chosen& which) {
  std::vector<std::string> names;
  for (std::size_t n = 1;; ++n) {
    vm_on_machine<Profile> m;
    const state before = look(m);
    const std::size_t first = m.machine.timeline().calls().size();
    m.task.fail_call(n, errc::nomem);
    const errc e = m.plug(which);
    if (m.task.faults_left() != 0) {
      CHECK(e == errc::ok);
      return names;
    }
    const auto calls = m.machine.timeline().calls();
    names.push_back(support::name_of(calls.at(first + n - 1)));
    INFO("call " << n << " of the plug, " << names.back());
    CHECK(e == errc::nomem);
    check_same(before, look(m));
    CHECK(m.plug(which) == errc::ok);
    CHECK(m.vm.unplug() == errc::ok);
    check_same(before, look(m));
    m.vm = vmm::passthrough<sim::process_ref>(sim::process_ref(m.task));
    CHECK(m.machine.finish() == "");
  }
}

// Lets the n-th call of an unplug fail, for every n. Returns the names of the calls.
template <class Profile>
std::vector<std::string> every_call_of_an_unplug(const vmm::chosen& which) {
  std::vector<std::string> names;
  for (std::size_t n = 1;; ++n) {
    vm_on_machine<Profile> m;
    const state before = look(m);
    REQUIRE(m.plug(which) == errc::ok);
    const std::size_t first = m.machine.timeline().calls().size();
    m.task.fail_call(n, errc::nomem);
    const errc e = m.vm.unplug();
    if (m.task.faults_left() != 0) {
      CHECK(e == errc::ok);
      return names;
    }
    names.push_back(support::name_of(m.machine.timeline().calls().at(first + n - 1)));
    INFO("call " << n << " of the unplug, " << names.back());
    // A close that fails closes all the same, and so leaves nothing. The memory is unmapped by a
    // destructor, which cannot tell; the kernel unmaps it with its container or address space.
    const bool told = names.back() != "close" && names.back() != "UNMAP_DMA" &&
                      names.back() != "IOAS_UNMAP" && names.back() != "IOMMU_DESTROY";
    CHECK(e == (told ? errc::nomem : errc::ok));
    CHECK(m.task.descriptors() == before.descriptors);
    CHECK(m.task.mappings() == before.mappings);
    m.vm = vmm::passthrough<sim::process_ref>(sim::process_ref(m.task));
    CHECK(m.task.descriptors() == 0);
    CHECK(difference(sim::machine<Profile>(edu()).look(), m.machine.look()) == "");
  }
}

// Plugs a device, unplugs it and ends the VM, while the n-th call and the m-th fail. Returns how
// many of the two faults a call met. Nothing of the VM may be left.
template <class Profile>
std::size_t ends_with_faults(const vmm::chosen& which, std::size_t n, std::size_t m) {
  vm_on_machine<Profile> vm;
  vm.task.fail_call(n, errc::nomem);
  vm.task.fail_call(m, errc::io);
  if (vm.plug(which) == errc::ok) (void)vm.vm.unplug();
  vm.vm = vmm::passthrough<sim::process_ref>(sim::process_ref(vm.task));
  INFO("the calls " << n << " and " << m);
  CHECK(vm.task.descriptors() == 0);
  CHECK(vm.task.mappings() == 0);
  CHECK(difference(sim::machine<Profile>(edu()).look(), vm.machine.look()) == "");
  return 2 - vm.task.faults_left();
}
template <class Profile>
std::size_t every_pair_of_calls(const vmm::chosen& which) {
  return support::each_pair(
      [&](std::size_t n, std::size_t m) { return ends_with_faults<Profile>(which, n, m); });
}

const std::vector<std::string> plug_by_group{
    "open",    "GET_API_VERSION", "open",          "SET_CONTAINER", "SET_IOMMU",
    "MAP_DMA", "FILE_ADD",        "GET_DEVICE_FD", "eventfd",       "SET_IRQS"};
const std::vector<std::string> unplug_by_group{"close",           "SET_IRQS", "close", "FILE_DEL",
                                               "UNSET_CONTAINER", "close",    "close"};
const std::vector<std::string> plug_by_file{
    "open",         "IOAS_ALLOC",        "IOAS_MAP", "open",    "FILE_ADD",
    "BIND_IOMMUFD", "ATTACH_IOMMUFD_PT", "eventfd",  "SET_IRQS"};
const std::vector<std::string> unplug_by_file{"close",         "SET_IRQS", "DETACH_IOMMUFD_PT",
                                              "FILE_DEL",      "close",    "IOAS_UNMAP",
                                              "IOMMU_DESTROY", "close"};

}  // namespace

TEMPLATE_TEST_CASE("Each call of plugging a group's device fails once, and nothing has changed",
                   "[client]", kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  CHECK(every_call_of_a_plug<TestType>(by_group) == plug_by_group);
}
TEMPLATE_TEST_CASE("Each call of plugging a device file fails once, and nothing has changed",
                   "[client]", kv::linux_6_12, kv::linux_7_3) {
  CHECK(every_call_of_a_plug<TestType>(by_file) == plug_by_file);
}
TEMPLATE_TEST_CASE("Each call of unplugging a group's device fails once, and the VMM is told",
                   "[client]", kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  CHECK(every_call_of_an_unplug<TestType>(by_group) == unplug_by_group);
}
TEMPLATE_TEST_CASE("Each call of unplugging a device file fails once, and the VMM is told",
                   "[client]", kv::linux_6_12, kv::linux_7_3) {
  CHECK(every_call_of_an_unplug<TestType>(by_file) == unplug_by_file);
}
TEMPLATE_TEST_CASE("Each pair of calls in a VM's life fails, and nothing is left of the VM",
                   "[client]", kv::linux_6_1, kv::linux_6_12, kv::linux_7_3) {
  CHECK(every_pair_of_calls<TestType>(by_group) >= 66);
  if (!std::is_same_v<TestType, kv::linux_6_1>) CHECK(every_pair_of_calls<TestType>(by_file) >= 78);
}
