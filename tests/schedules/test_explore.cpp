// SPDX-License-Identifier: BSL-1.0
// What explore says of programs with known mistakes.

#include <kvm_vfio/testing/archetypes.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>
#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>

#include "support/catch.hpp"

#if defined(__clang__)
// The threads take and release locks in every order, as no program should.
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace tests {
namespace {

using namespace kvm_vfio::testing;

// A program whose threads do `body(program, thread)`.
template <auto Body, int Threads = 2>
struct program {
  static constexpr int threads = Threads;
  scheduled_lock first{"the first lock"}, second{"the second lock"};
  int value = 0;
  int room = 0;

  void touch(access_kind kind = access_kind::write) noexcept {
    announce({kind, &value, 0, "value"});
  }
  void run(int thread) noexcept { Body(*this, thread); }
  const char* check() noexcept { return value < 0 ? "the value is negative" : nullptr; }
  const char* finish() noexcept { return value == 77 ? "the value is 77" : nullptr; }
};
template <auto Body, int Threads = 2>
exploration all_of(const explore_options& options = {}) {
  return explore([] { return program<Body, Threads>(); }, options);
}
template <auto Body, int Threads = 2>
exploration once(std::string_view text) {
  return replay([] { return program<Body, Threads>(); }, text);
}

TEST_CASE("a schedule as text") {
  CHECK(to_string(schedule{0, 0, 0, 1, 1, 0}) == "a3 b2 a");
  CHECK(parse_schedule("a3 b2 a") == schedule{0, 0, 0, 1, 1, 0});
  CHECK(parse_schedule("") == schedule{});
  CHECK(parse_schedule("b a12;") == schedule{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

constexpr auto two_locks = [](auto& p, int thread) {
  scheduled_lock& outer = thread == 0 ? p.first : p.second;
  scheduled_lock& inner = thread == 0 ? p.second : p.first;
  kvm_vfio::guard out(outer);
  kvm_vfio::guard in(inner);
  ++p.value;
};
TEST_CASE("a deadlock") {
  const exploration found = all_of<two_locks>();
  CHECK(found.failure ==
        "deadlock: thread a waits for the second lock, thread b waits for the first lock");
  CHECK(found.schedule == "a b");
  CHECK(found.listing == "a: lock (the first lock)\nb: lock (the second lock)\n");
  CHECK(once<two_locks>("a b").failure == found.failure);
  CHECK(once<two_locks>("a4 b4").failure.empty());
  constexpr auto twice = [](auto& p, int) {
    p.first.lock();
    p.first.lock();
    p.first.unlock();
  };
  CHECK(all_of<twice, 1>().failure == "deadlock: thread a waits for the first lock");
}

TEST_CASE("a lock that another thread holds") {
  constexpr auto wrong = [](auto& p, int thread) {
    if (thread == 0) p.first.lock();
    p.first.unlock();
  };
  const exploration found = all_of<wrong>();
  CHECK(found.failure == "a thread releases a lock that it does not hold");
  CHECK(found.listing ==
        "a: lock (the first lock)\na: unlock (the first lock)\nb: unlock (the first lock)\n");
}

constexpr auto lost_update = [](auto& p, int) {
  p.touch(access_kind::read);
  const int seen = p.value;
  p.touch();
  p.value = seen == 0 ? 1 : 77;
};
TEST_CASE("a mistake at the end, and one after a step") {
  const exploration found = all_of<lost_update>();
  CHECK(found.failure == "the value is 77");
  CHECK(found.schedule == "a2 b2");
  constexpr auto negative = [](auto& p, int thread) {
    p.touch();
    if (thread == 0) ++p.value;
    else if (p.value == 1) p.value = -1;
    p.touch();
    p.value = 0;
  };
  const exploration step = all_of<negative>();
  CHECK(step.failure == "the value is negative");
  CHECK(step.schedule == "a b");
}

TEST_CASE("a program that does not end, and limits") {
  constexpr auto waits = [](auto& p, int thread) {
    if (thread == 0)
      for (int i = 0; p.value == 0 && i < 100000; ++i) p.touch(access_kind::read);
    else {
      p.touch();
      p.value = 1;
    }
  };
  const exploration spins = all_of<waits>({.max_steps = 100, .shorten = 0});
  CHECK(
      spins.failure ==
      "more than 100 steps: a thread may wait in a loop that does not announce what it waits for");
  CHECK(spins.schedule == "a100");
  CHECK(spins.listing == "a: value (100 times)\n");
  // After the mistake each thread has its turn, so this loop ends although it has no limit.
  constexpr auto spins_for_ever = [](auto& p, int thread) {
    if (thread == 0)
      while (p.value == 0) p.touch(access_kind::read);
    else {
      p.touch();
      p.value = 1;
    }
  };
  CHECK(all_of<spins_for_ever>({.max_steps = 100}).schedule == "a100");
  CHECK(all_of<spins_for_ever, 3>({.max_steps = 100}).schedule == "a100");
  constexpr auto five = [](auto& p, int) {
    for (int i = 0; i < 5; ++i) p.touch();
  };
  const exploration cut = all_of<five>({.max_schedules = 10});
  CHECK(cut.schedules == 10);
  CHECK_FALSE(cut.complete);
  CHECK_FALSE(cut.passed());
  CHECK(all_of<five>().schedules == 252);  // 10 over 5
  CHECK(all_of<five>({.preemptions = 0}).schedules == 2);
  CHECK(all_of<five>({.preemptions = 1}).schedules == 10);
  constexpr auto apart = [](auto&, int thread) {
    static int values[2];
    for (int i = 0; i < 5; ++i) announce({access_kind::write, &values[thread], 0, "own"});
  };
  CHECK(all_of<apart>().schedules == 1);
  constexpr auto waits_for = [](auto& p, int thread) {
    if (thread == 0)
      scheduler::running()->wait(
          {access_kind::read, &p.value, 0, "value is 1"},
          [](const void* v) { return *static_cast<const int*>(v) == 1; }, &p.value);
    else
      for (const int v : {1, 2, 1}) {
        p.touch();
        p.value = v;
      }
  };
  CHECK(all_of<waits_for>().passed());
}

TEST_CASE("a schedule that does not fit, and a program that changes") {
  CHECK(once<lost_update>("a9").failure == "the program does not follow the schedule");
  CHECK(once<lost_update>("z").failure == "the program does not follow the schedule");
  CHECK(once<lost_update>("a b").failure.empty());
  const exploration unread = once<lost_update>("a B2");
  CHECK(unread.failure == "this is no schedule: \"B2\"");
  CHECK(unread.schedules == 0);
  CHECK(once<lost_update>("a2").failure == "the value is 77");
  CHECK(scheduler::running() == nullptr);
  announce({});
  fail_schedule("nobody hears this");
}

}  // namespace
}  // namespace tests
