// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Random small programs: threads that read and write variables and take locks. What a program can
/// end with is known from runs of all its schedules.

#include <kvm_vfio/testing/schedules/scheduled_lock.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>

#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#if defined(__clang__)
// The threads take and release locks in every order, as no program should.
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

namespace tests {

namespace testing = kvm_vfio::testing;

struct small_program {
  enum class op : unsigned char { read, write, add, unannounced, lock, unlock };
  struct instruction {
    op what;
    int object;
  };
  static constexpr int objects = 2;

  std::vector<std::vector<instruction>> threads;

  /// Makes a program. Its threads release each lock that they take, but not always in order, so
  /// some programs have deadlocks.
  template <class Random>
  small_program(Random& random, int thread_count, int length) {
    const auto any = [&random](int n) {
      return static_cast<int>(random() % static_cast<unsigned>(n));
    };
    for (int t = 0; t < thread_count; ++t) {
      std::vector<instruction>& code = threads.emplace_back();
      bool held[objects] = {};
      while (static_cast<int>(code.size()) < length) {
        const int object = any(objects);
        const auto what = static_cast<op>(any(5));
        if (what != op::lock) code.push_back({what, object});
        else {
          code.push_back({held[object] ? op::unlock : op::lock, object});
          held[object] = !held[object];
        }
      }
      for (int object = 0; object < objects; ++object)
        if (held[object]) code.push_back({op::unlock, object});
    }
  }
};

/// One run of a small program. Adds what it ended with to a set.
template <int Threads>
struct small_run {
  static constexpr int threads = Threads;

  const small_program* program;
  std::set<std::string>* ends;
  std::unique_ptr<testing::scheduled_lock[]> locks =
      std::make_unique<testing::scheduled_lock[]>(small_program::objects);
  std::uint64_t values[small_program::objects] = {};
  std::uint64_t seen[Threads] = {};  // a number that shows all values that the thread has read

  void run(int thread) noexcept {
    using op = small_program::op;
    const auto me = static_cast<std::size_t>(thread);
    std::uint64_t n = 0;
    for (const auto& [what, object] : program->threads[me]) {
      const auto o = static_cast<std::size_t>(object);
      const std::uint64_t mark = 100 * (me + 1) + ++n;
      if (what == op::lock) locks[o].lock();
      else if (what == op::unlock) locks[o].unlock();
      else {
        const auto kind = what == op::unannounced ? testing::access_kind::anything
                          : what == op::read      ? testing::access_kind::read
                                                  : testing::access_kind::write;
        testing::announce(
            {kind, kind == testing::access_kind::anything ? nullptr : &values[o], 0, "a variable"});
        if (what == op::read) seen[me] = seen[me] * 1099511628211U + values[o] + 1;
        if (what == op::write || what == op::unannounced) values[o] = mark;
        if (what == op::add) values[o] = values[o] * 31 + mark;
      }
    }
  }
  const char* check() noexcept { return nullptr; }
  const char* finish() noexcept {
    std::string end;
    for (const std::uint64_t v : values) end += std::to_string(v) + ' ';
    for (const std::uint64_t s : seen) end += std::to_string(s) + ' ';
    ends->insert(end);
    return nullptr;
  }
};

}  // namespace tests
