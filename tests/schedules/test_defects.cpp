// SPDX-License-Identifier: BSL-1.0
// Defects that Linux had, put back into the model: a schedule shows each of them.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>

#include <string>

#include "defects/add_tells_unlocked.hpp"
#include "defects/del_of_any_file.hpp"
#include "defects/descriptor_first.hpp"
#include "defects/update_unlocked.hpp"
#include "device_scenario.hpp"
#include "numbers.hpp"
#include "support/catch.hpp"
#include "vm_scenario.hpp"

namespace tests {
namespace {

using kvm_vfio::testing::exploration;
using kvm_vfio::testing::explore;
using kvm_vfio::testing::replay;
using kvm_vfio::testing::to_string;

struct tells_unlocked {
  template <class... Policies>
  using device = kv::add_tells_unlocked::device<Policies...>;
};
struct dels_any_file {
  template <class... Policies>
  using device = kv::del_of_any_file::device<Policies...>;
};
struct updates_unlocked {
  template <class... Policies>
  using device = kv::update_unlocked::device<Policies...>;
};
struct descriptor_first {
  template <class... Policies>
  using vm = kv::descriptor_first::vm<Policies...>;
};
struct vm_as_it_is {
  template <class... Policies>
  using vm = kv::vm<Policies...>;
};

// The schedule of a mistake shows it again, with equal steps.
template <class Make>
void replays(const Make& make, const exploration& found) {
  const exploration again = replay(make, found.schedule);
  CHECK(again.failure == found.failure);
  CHECK(again.schedule == found.schedule);
  CHECK(again.listing == found.listing);
}

TEST_CASE("ADD tells VFIO the VM without the lock: a file that DEL removed gets the VM") {
  setting with{
      .threads = {{{act::add, 1}}, {{act::del, 1}}}, .coherent = {true}, .only_the_end = true};
  const auto make = [&] { return device_scenario<kv::linux_7_3, 2, tells_unlocked>(with); };
  // One thread after the other shows nothing.
  CHECK(explore(make, {.preemptions = 0}).passed());
  const exploration found = measured("defect: ADD tells VFIO without the lock", make);
  INFO(to_string(found));
  CHECK(found.failure == "a file that is not tracked has the device's VM");
  replays(make, found);
  // If the descriptor is closed too, the file goes while it has a VM.
  with.threads = {{{act::add, 1}}, {{act::del, 1}, {act::close, 1}}};
  const exploration closed = explore(make);
  INFO(to_string(closed));
  CHECK(closed.failure == "the last reference on a file goes while the file has a VM");
  replays(make, closed);
  // With every rule, the first schedule is enough.
  with.only_the_end = false;
  const exploration strict = explore(make);
  INFO(to_string(strict));
  CHECK_FALSE(strict.failure.empty());
  replays(make, strict);
}

TEST_CASE("DEL of a file that the device does not track takes the VM of another device away") {
  const setting with{.threads = {{{act::add, 1, 1}}, {{act::del, 1, 2}}}, .coherent = {true}};
  const auto make = [&] { return device_scenario<kv::linux_7_3, 2, dels_any_file>(with); };
  const exploration found = measured("defect: DEL takes the VM of any file away", make);
  INFO(to_string(found));
  CHECK(found.failure == "a tracked file does not have the device's VM");
  replays(make, found);
  const auto sound = [&] { return device_scenario<kv::linux_7_3, 2>(with); };
  CHECK(explore(sound).passed());
}

TEST_CASE("a device's descriptor before the VM's reference: another thread destroys the VM") {
  const auto make = [] { return vm_scenario<2, descriptor_first>(); };
  CHECK(explore(make, {.preemptions = 0}).passed());
  const exploration found = measured("defect: the descriptor before the reference", make);
  INFO(to_string(found));
  CHECK(found.failure == "the VM has no user, though its descriptor is open");
  replays(make, found);
}

TEST_CASE("making and closing devices keeps the VM's users in every schedule") {
  const exploration two = measured("create | close", [] { return vm_scenario<2, vm_as_it_is>(); });
  INFO(to_string(two));
  CHECK(two.passed());
  const exploration three =
      measured("create | close | close, create", [] { return vm_scenario<3, vm_as_it_is>(); });
  INFO(to_string(three));
  CHECK(three.passed());
}

TEST_CASE("an update of coherency without the lock is found") {
  const setting with{.threads = {{{act::add, 1}}, {{act::add, 2}}}, .coherent = {false, false}};
  const auto make = [&] { return device_scenario<kv::linux_6_1, 2, updates_unlocked>(with); };
  const exploration found = explore(make);
  INFO(to_string(found));
  CHECK(found.failure == "a device calls without its lock");
  replays(make, found);
}

}  // namespace
}  // namespace tests
