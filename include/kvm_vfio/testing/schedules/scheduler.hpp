// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The scheduler that runs the threads of a scenario step by step. Policies announce each access
/// to it.

#include <kvm_vfio/testing/schedules/fibre.hpp>
#include <kvm_vfio/testing/schedules/search.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace kvm_vfio::testing {

/// Runs the threads of a scenario. Each thread is a fibre, so the threads never run at the same
/// time, and all of them run on one thread of the system. A thread stops before each access that
/// it announces. Only then can another thread go on.
///
/// Programs do not make schedulers; `explore` does. Policies call the functions.
class scheduler {
 public:
  /// Returns the scheduler of the thread that calls. Returns null if no thread of a scenario calls,
  /// for example while a scenario is made, checked or destroyed.
  [[nodiscard]] static scheduler* running() noexcept {
    return here_ && here_->asked_ ? here_ : nullptr;
  }
  /// Returns the number of the thread that calls, from 0 on.
  [[nodiscard]] int thread() const noexcept { return now_.current; }

  /// Announces an access. Returns when the scheduler lets the thread make it.
  void announce(const shared_access& access) noexcept { wait(access, nullptr, nullptr); }
  /// Announces an access that is possible only while `ready(argument)` is true. After a deadlock,
  /// the function also returns while `ready(argument)` is false.
  void wait(const shared_access& access, bool (*ready)(const void*),
            const void* argument) noexcept {
    const int me = now_.current;
    now_.next[me] = access;
    ready_[me] = {ready, argument};
    const detail::thread_set bit = detail::only(me);
    now_.waiting = ready ? now_.waiting | bit : now_.waiting & ~bit;
    reached_a_point(me);
  }
  /// Ends the test of this schedule: it shows a mistake. The threads run to their ends without
  /// further checks. Has no effect after the first mistake.
  void fail(const char* why) noexcept {
    if (!finishing_) stop(why);
  }

  /// Makes a scheduler for a number of threads.
  /// \pre `0 < threads && threads <= max_threads`
  explicit scheduler(int threads) {
    for (int t = 0; t < threads; ++t) {
      starts_[t] = {this, t};
      fibres_.push_back(std::make_unique<detail::fibre>(&body, &starts_[t]));
    }
  }

  /// What the scheduler calls in each run.
  struct program {
    void* of;                     ///< the argument of both functions
    void (*run)(void*, int);      ///< the body of a thread
    const char* (*check)(void*);  ///< called after each step; returns what is wrong, or null
    std::size_t max_steps;        ///< a schedule with more steps is a mistake
  };
  /// How a run ended.
  enum class end : unsigned char { complete, covered, failed };
  /// Runs the program once, as `choices` says.
  end run(const program& p, detail::search& choices) noexcept {
    program_ = &p;
    choices_ = &choices;
    choices.begin();
    now_ = detail::waiting_threads();
    forced_ = finishing_ = covered_ = false;
    finishing_steps_ = 0;
    failure_.clear();
    here_ = this;
    const int count = static_cast<int>(fibres_.size());
    starting_ = true;
    for (int t = 0; t < count; ++t) {
      now_.live |= detail::only(t);
      now_.current = t;
      go(t);
    }
    starting_ = false;
    now_.current = -1;
    if (const int first = decide(); first >= 0) go(first);
    here_ = nullptr;
    return !failure_.empty() ? end::failed : covered_ ? end::covered : end::complete;
  }
  /// Returns the mistake that the last run showed, or an empty text.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  /// Returns the number of steps that the last run made up to the mistake.
  [[nodiscard]] std::size_t failed_after() const noexcept { return failed_after_; }

 private:
  struct start {
    scheduler* owner;
    int thread;
  };
  struct condition {
    bool (*ready)(const void*);
    const void* argument;
  };

  [[noreturn]] static void body(void* argument) noexcept {
    const start& s = *static_cast<const start*>(argument);
    for (;;) s.owner->one_run(s.thread);
  }
  void one_run(int me) noexcept {
    program_->run(program_->of, me);
    now_.live &= ~detail::only(me);
    reached_a_point(me);
  }

  // Called by thread `me` when it has made a step and waits before its next one.
  void reached_a_point(int me) noexcept {
    int next = me;
    asked_ = false;
    if (starting_) next = -1;
    else {
      check();
      next = decide();
    }
    if (next == me) asked_ = true;
    else if (next < 0) fibres_[static_cast<std::size_t>(me)]->change_to(main_);
    else {
      asked_ = true;
      fibres_[static_cast<std::size_t>(me)]->change_to(*fibres_[static_cast<std::size_t>(next)]);
    }
  }
  void go(int thread) noexcept {
    asked_ = true;
    main_.change_to(*fibres_[static_cast<std::size_t>(thread)]);
    asked_ = false;
  }
  void check() noexcept {
    if (finishing_ || choices_->repeats()) return;
    if (const char* wrong = program_->check(program_->of)) stop(wrong);
  }
  void stop(const std::string& why) noexcept {
    failure_ = why;
    failed_after_ = choices_->length();
    finishing_ = true;
  }

  // Returns the thread that goes on, or -1 if all have ended.
  [[nodiscard]] int decide() noexcept {
    now_.enabled = 0;
    for (detail::thread_set rest = now_.live; rest != 0; rest &= rest - 1) {
      const int t = detail::first_of(rest);
      if (forced_ || !ready_[t].ready || ready_[t].ready(ready_[t].argument))
        now_.enabled |= detail::only(t);
    }
    if (!finishing_) {
      if (now_.live == 0) return -1;
      if (now_.enabled == 0) {
        choices_->stuck(now_);
        stop(deadlock());
      } else if (choices_->length() >= program_->max_steps) {
        stop("more than " + std::to_string(program_->max_steps) +
             " steps: a thread may wait in a loop that does not announce what it waits for");
      } else {
        const int chosen = choices_->choose(now_);
        if (chosen >= 0) return now_.current = chosen;
        if (chosen == detail::search::misfit) stop("the program does not follow the schedule");
        covered_ = finishing_ = true;
      }
    }
    return finish();
  }
  // The rest of a run whose steps do not matter any more. It runs so that the threads' objects are
  // destroyed.
  [[nodiscard]] int finish() noexcept {
    if (now_.live == 0) return -1;
    if (++finishing_steps_ > endless) {
      std::fputs("kvm_vfio: a thread of a scenario does not end\n", stderr);
      std::abort();
    }
    if (now_.enabled == 0) {
      forced_ = true;
      now_.enabled = now_.live;
    }
    const detail::thread_set own = now_.current < 0 ? 0 : detail::only(now_.current);
    // A thread may loop until another one has made a step. So each thread has its turn.
    if ((now_.enabled & own) != 0 && finishing_steps_ % turn != 0) return now_.current;
    const detail::thread_set later = now_.enabled & ~(own | (own - 1));
    return now_.current = detail::first_of(own != 0 && later != 0 ? later : now_.enabled);
  }
  [[nodiscard]] std::string deadlock() const {
    std::string text = "deadlock:";
    for (detail::thread_set rest = now_.live; rest != 0; rest &= rest - 1) {
      const int t = detail::first_of(rest);
      text += text.back() == ':' ? " thread " : ", thread ";
      text += static_cast<char>('a' + t);
      text += std::string(" waits for ") + now_.next[t].what;
    }
    return text;
  }

  static constexpr std::size_t endless = 10000000, turn = 100;
  static inline thread_local scheduler* here_ = nullptr;

  std::vector<std::unique_ptr<detail::fibre>> fibres_;
  detail::fibre main_;
  start starts_[max_threads] = {};
  const program* program_ = nullptr;
  detail::search* choices_ = nullptr;
  detail::waiting_threads now_;
  condition ready_[max_threads] = {};
  bool asked_ = false;      // whether a thread of the program runs, and not the scheduler
  bool starting_ = false;   // whether the threads run to their first access
  bool finishing_ = false;  // whether the schedule's end does not matter any more
  bool covered_ = false;    // whether other runs cover the schedule's end
  bool forced_ = false;     // whether threads go on although they should wait
  std::size_t finishing_steps_ = 0;
  std::string failure_;
  std::size_t failed_after_ = 0;
};

/// Announces an access of the thread that calls to its scheduler. Does nothing outside of the
/// threads of a scenario. A policy calls this function before each access to an object that threads
/// share.
inline void announce(const shared_access& access) noexcept {
  if (scheduler* const s = scheduler::running()) s->announce(access);
}
/// Tells the scheduler of the thread that calls that this schedule shows a mistake. Does nothing
/// outside of the threads of a scenario.
inline void fail_schedule(const char* why) noexcept {
  if (scheduler* const s = scheduler::running()) s->fail(why);
}

}  // namespace kvm_vfio::testing
