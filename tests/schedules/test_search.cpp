// SPDX-License-Identifier: BSL-1.0
// That the search leaves out no end of a program, though it leaves out schedules; and what explore
// says.

#include <kvm_vfio/testing/schedules/explore.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>

#include <cstdio>
#include <random>
#include <set>
#include <string>

#include "small_program.hpp"
#include "support/catch.hpp"

namespace tests {
namespace {

using namespace kvm_vfio::testing;

struct ends_found {
  exploration result;
  std::set<std::string> ends;
};
template <int Threads>
ends_found run(const small_program& program, int preemptions) {
  ends_found found;
  found.result =
      explore([&] { return small_run<Threads>{.program = &program, .ends = &found.ends}; },
              {.preemptions = preemptions, .shorten = 0});
  return found;
}

// Compares the search with runs of every schedule. A program with a deadlock ends both searches
// early: both must find one.
template <int Threads>
void compare(int programs, int length) {
  std::mt19937 random(1);
  std::uint64_t all = 0, reduced = 0, pruned = 0;
  int deadlocks = 0;
  for (int i = 0; i < programs; ++i) {
    const small_program program(random, Threads, length);
    const ends_found every = run<Threads>(program, 1000);
    const ends_found fewer = run<Threads>(program, -1);
    INFO("program " << i);
    REQUIRE(every.result.failure.empty() == fewer.result.failure.empty());
    if (!every.result.failure.empty()) {
      ++deadlocks;
      continue;
    }
    REQUIRE(every.result.complete);
    REQUIRE(fewer.result.complete);
    REQUIRE(every.ends == fewer.ends);
    REQUIRE(fewer.result.schedules <= every.result.schedules);
    all += every.result.schedules;
    reduced += fewer.result.schedules;
    pruned += fewer.result.pruned;
  }
  std::printf(
      "%d programs of %d threads: %llu schedules, with reduction %llu and %llu pruned; "
      "%d deadlocks\n",
      programs, Threads, static_cast<unsigned long long>(all),
      static_cast<unsigned long long>(reduced), static_cast<unsigned long long>(pruned), deadlocks);
}

TEST_CASE("the reduced search finds every end of two threads") { compare<2>(150, 5); }
TEST_CASE("the reduced search finds every end of three threads") { compare<3>(30, 3); }

}  // namespace
}  // namespace tests
