// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Runs a race many times on threads, and compares each outcome with the possible ones.

#include "player.hpp"
#include "possible.hpp"
#include "race.hpp"

#include "support/threads.hpp"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <vector>

namespace races {

/// How often each outcome was seen.
using tally = std::map<outcome, long>;

/// Lets threads wait for each other, again and again. The threads wait on the processor, so that
/// they go on at nearly the same time.
class meeting {
 public:
  explicit meeting(int threads) : threads_(threads) {}
  /// Returns when so many threads have called the function.
  void wait() noexcept {
    const unsigned now = round_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(now + 1, std::memory_order_release);
      return;
    }
    for (int n = 0; round_.load(std::memory_order_acquire) == now; ++n)
      if (n > 2000) ::sched_yield();
  }

 private:
  int threads_;
  std::atomic<int> arrived_ = 0;
  std::atomic<unsigned> round_ = 0;
};

/// Pseudo-random waits between nothing and about as long as a few system calls.
class delays {
 public:
  explicit delays(std::uint64_t seed) : state_(seed * 2 + 1) {}
  void wait() noexcept {
    // A power of two, so that short waits are as likely as long ones.
    const std::uint64_t most = (std::uint64_t{1} << next() % 16) - 1;
    const std::uint64_t turns = next() & most;
    for (std::uint64_t i = 0; i < turns; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  [[nodiscard]] std::uint64_t next() noexcept {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return state_ >> 33;
  }

 private:
  std::uint64_t state_;
};

/// When a race has run often enough: after `runs` runs, or after 3 runs and so much time.
struct limit {
  long runs;
  std::chrono::steady_clock::duration time;
};

/// Runs a race on a system.
/// \param count returns numbers that are a part of the outcome, and is called after the probe
template <class System>
tally run_race(const race& r, System sys, const target& t, std::uint64_t seed, const limit& most,
               const std::function<outcome()>& count) {
  const auto end = std::chrono::steady_clock::now() + most.time;
  const int threads = static_cast<int>(r.threads.size());
  tally seen;
  player<System> calls(sys, t);
  calls.must(r, r.before);
  std::vector<outcome> answers(r.threads.size());
  meeting start(threads), finish(threads);
  std::atomic<bool> over = false;
  std::exception_ptr wrong;
  const auto prepare = [&](long run) {
    try {
      calls.close_all(r.before);
      if (run == most.runs || (run >= 3 && std::chrono::steady_clock::now() > end)) return false;
      calls.must(r, r.setup);
      static_cast<void>(count());
      return true;
    } catch (...) {
      wrong = std::current_exception();
      return false;
    }
  };
  const auto note = [&] {
    outcome o;
    for (const outcome& a : answers) o.insert(o.end(), a.begin(), a.end());
    for (const op& call : r.probe) o.push_back(calls.run(call));
    for (const int n : count()) o.push_back(n);
    ++seen[o];
  };
  support::on_threads(threads, [&](int thread) {
    outcome& mine = answers[static_cast<std::size_t>(thread)];
    const ops& script = r.threads[static_cast<std::size_t>(thread)];
    delays wait(seed * 8 + static_cast<std::uint64_t>(thread));
    for (long run = 0;; ++run) {
      if (thread == 0) over = !prepare(run);
      start.wait();
      if (over) return;
      mine.clear();
      for (const op& o : script) {
        if (wait.next() % 2 == 0) wait.wait();
        mine.push_back(calls.run(o));
      }
      finish.wait();
      if (thread == 0) note();
    }
  });
  if (wrong) std::rethrow_exception(wrong);
  return seen;
}

}  // namespace races
