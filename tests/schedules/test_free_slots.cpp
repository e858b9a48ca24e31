// SPDX-License-Identifier: BSL-1.0
// The lock-free stack of free slots, in every order of its atomic operations.

#include <kvm_vfio/detail/free_slots.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>
#include <kvm_vfio/testing/schedules/scheduled_atomics.hpp>

#include <cstddef>

#include "defects/free_too_early.hpp"
#include "defects/no_count.hpp"
#include "numbers.hpp"
#include "slots_scenario.hpp"
#include "support/catch.hpp"

namespace tests {
namespace {

using namespace kvm_vfio::testing;

template <std::size_t Count>
using slots = kvm_vfio::detail::free_slots<Count, true, scheduled_atomics>;
template <std::size_t Count>
using slots_without_count = kvm_vfio::no_count::detail::free_slots<Count, true, scheduled_atomics>;
template <std::size_t Count>
using slots_free_early =
    kvm_vfio::free_too_early::detail::free_slots<Count, true, scheduled_atomics>;

template <class Slots, std::size_t Count, int Threads>
exploration all_of(const char* name, const slots_script<Threads>& script) {
  return measured(name, [&] { return slots_scenario<Threads, Slots, Count>(script); });
}

TEST_CASE("no schedule gives a slot to two threads or loses one") {
  const exploration two = all_of<slots<2>, 2, 2>("slots: take, give | take, give", {{"tg", "tg"}});
  INFO(to_string(two));
  CHECK(two.passed());
  const exploration aba =
      all_of<slots<3>, 3, 2>("slots: take, take | take, take, give", {{"tt", "ttg"}});
  INFO(to_string(aba));
  CHECK(aba.passed());
  const exploration three =
      all_of<slots<3>, 3, 3>("slots: take, give | take | take", {{"tg", "t", "t"}});
  INFO(to_string(three));
  CHECK(three.passed());
}

TEST_CASE("a stack without the count of changes gives a slot away twice") {
  const slots_script<2> script{{"tt", "ttg"}};
  const auto make = [&] { return slots_scenario<2, slots_without_count<3>, 3>(script); };
  const exploration found = measured("slots without the count", make);
  INFO(to_string(found));
  CHECK(found.failure == "a slot is taken and free");
  // Thread a has read which slot is below its second one. Then that one is taken and given back,
  // and now it has another slot below it.
  CHECK(found.schedule == "a5 b9 a");
  const exploration again = replay(make, found.schedule);
  CHECK(again.failure == found.failure);
  CHECK(again.listing == found.listing);
}

TEST_CASE("a slot that is free too early is found") {
  const slots_script<2> script{{"tg", "tt"}};
  const auto make = [&] { return slots_scenario<2, slots_free_early<2>, 2>(script); };
  const exploration found = measured("slots that are free too early", make);
  INFO(to_string(found));
  CHECK_FALSE(found.failure.empty());
  CHECK(replay(make, found.schedule).failure == found.failure);
}

}  // namespace
}  // namespace tests
