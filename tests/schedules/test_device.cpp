// SPDX-License-Identifier: BSL-1.0
// Every schedule of calls of kvm-vfio devices: the rules hold, and what differs between releases.

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <set>
#include <string>

#include "device_scenario.hpp"
#include "numbers.hpp"
#include "support/catch.hpp"

namespace tests {
namespace {

using kvm_vfio::testing::exploration;
using kvm_vfio::testing::explore_options;
using kvm_vfio::testing::to_string;

// At most how many schedules the largest scenarios run. The variable lets a run do more:
// KVM_VFIO_SCHEDULES=1000000 runs all of them.
std::uint64_t bound() {
  const char* const set = std::getenv("KVM_VFIO_SCHEDULES");
  return set ? std::strtoull(set, nullptr, 10) : 3000;
}

template <class Profile, int Threads>
exploration all_of(const char* name, const setting& with, const explore_options& options = {}) {
  const std::string title = std::string(Profile::name) + ": " + name;
  exploration e =
      measured(title.c_str(), [&] { return device_scenario<Profile, Threads>(with); }, options);
  INFO(to_string(e));
  CHECK(e.failure.empty());
  return e;
}

TEMPLATE_TEST_CASE("two threads keep the rules in every schedule", "", kv::linux_7_3,
                   kv::linux_6_12, kv::linux_6_1) {
  const setting same_file{
      .threads = {{{act::add, 1}, {act::del, 1}}, {{act::add, 1}, {act::del, 1}}},
      .coherent = {false}};
  CHECK(all_of<TestType, 2>("add, del | add, del of one file", same_file).complete);
  const setting other_file{
      .threads = {{{act::add, 1}, {act::del, 1}}, {{act::add, 2}, {act::del, 2}}},
      .coherent = {false, false}};
  CHECK(all_of<TestType, 2>("add, del | add, del of two files", other_file).complete);
  const setting closes{.threads = {{{act::add, 1}, {act::add, 2}},
                                   {{act::del, 1}, {act::close, 1}, {act::close, 2}}},
                       .coherent = {false, true}};
  CHECK(all_of<TestType, 2>("add 1, add 2 | del 1, close 1, close 2", closes).complete);
  const setting turns{.threads = {{{act::add, 1}, {act::del, 1}}, {{act::turn, 1}, {act::turn, 1}}},
                      .coherent = {true}};
  CHECK(all_of<TestType, 2>("add, del | the coherency changes twice", turns).complete);
}

TEMPLATE_TEST_CASE("three threads keep the rules in every schedule", "", kv::linux_7_3,
                   kv::linux_6_12, kv::linux_6_1) {
  const setting one_each{.threads = {{{act::add, 1}}, {{act::del, 1}}, {{act::close, 1}}},
                         .coherent = {false}};
  CHECK(all_of<TestType, 3>("add | del | close", one_each).complete);
  const setting mixed{.threads = {{{act::add, 1}}, {{act::add, 2}}, {{act::del, 1}}},
                      .coherent = {false, false}};
  CHECK(all_of<TestType, 3>("add 1 | add 2 | del 1", mixed).complete);
}

TEMPLATE_TEST_CASE("three threads with two calls each keep the rules, up to a bound", "",
                   kv::linux_7_3, kv::linux_6_12, kv::linux_6_1) {
  const explore_options bounded{.max_schedules = bound()};
  const setting one_file{
      .threads = {{{act::add, 1}, {act::del, 1}}, {{act::add, 1}}, {{act::del, 1}}},
      .coherent = {false}};
  CHECK(all_of<TestType, 3>("add, del | add | del of one file", one_file, bounded).steps > 0);
  const setting two_files{.threads = {{{act::add, 1}, {act::del, 1}},
                                      {{act::add, 2}, {act::del, 2}},
                                      {{act::add, 1}, {act::del, 2}}},
                          .coherent = {false, true}};
  CHECK(
      all_of<TestType, 3>("add, del | add, del | add, del of two files", two_files, bounded).steps >
      0);
  // All schedules with few preemptions, instead of the first ones of all schedules.
  CHECK(all_of<TestType, 3>("add, del | add, del | add, del, 1 preemption", two_files,
                            {.preemptions = 1})
            .complete);
}

TEST_CASE("two critical sections have ends that one does not have") {
  std::set<std::string> in_6_1, in_6_12;
  setting with{.threads = {{{act::add, 1}}, {{act::del, 1}}}, .coherent = {false}, .ends = &in_6_1};
  (void)all_of<kv::linux_6_1, 2>("add | del", with);
  with.ends = &in_6_12;
  (void)all_of<kv::linux_6_12, 2>("add | del", with);
  std::set<std::string> apart;
  std::set_difference(in_6_1.begin(), in_6_1.end(), in_6_12.begin(), in_6_12.end(),
                      std::inserter(apart, apart.end()));
  // DEL comes between the two sections of ADD. So KVM never hears of the noncoherent file.
  CHECK(apart == std::set<std::string>{" add 1=OK; del 1=OK; registered 0, unregistered 0"});
  CHECK(in_6_12 == std::set<std::string>{" add 1=OK; del 1=ENOENT; registered 1, unregistered 0",
                                         " add 1=OK; del 1=OK; registered 1, unregistered 1"});
  CHECK(std::includes(in_6_1.begin(), in_6_1.end(), in_6_12.begin(), in_6_12.end()));
}

}  // namespace
}  // namespace tests
