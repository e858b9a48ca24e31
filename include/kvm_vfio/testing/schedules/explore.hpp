// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Runs a small program with threads in every order of its steps.

#include <kvm_vfio/testing/schedules/scenario.hpp>
#include <kvm_vfio/testing/schedules/schedule_text.hpp>
#include <kvm_vfio/testing/schedules/scheduler.hpp>
#include <kvm_vfio/testing/schedules/search.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kvm_vfio::testing {

/// How many schedules are run.
struct explore_options {
  /// If this is not negative, every schedule is run in which at most this number of threads is
  /// stopped that could go on. If this is negative, every schedule is run, except for those that
  /// differ from another one only in the order of independent accesses.
  int preemptions = -1;
  std::uint64_t max_schedules = 1000000;  ///< after this number of runs the search stops
  std::size_t max_steps = 10000;          ///< a schedule with more steps is a mistake
  /// After a mistake, at most this number of runs looks for a schedule with fewer preemptions.
  std::uint64_t shorten = 20000;
};

/// What `explore` found.
struct exploration {
  std::uint64_t schedules = 0;  ///< the runs to the end of the program
  std::uint64_t pruned = 0;     ///< the runs that were cut, because other runs cover their ends
  std::uint64_t steps = 0;      ///< the steps of all runs together
  std::size_t longest = 0;      ///< the steps of the longest run
  bool complete = false;        ///< whether no schedule is left
  std::string failure;          ///< the mistake that a schedule showed, or an empty text
  std::string schedule;         ///< the schedule that showed it; `replay` takes this text
  std::string listing;          ///< the steps of that schedule; equal ones in a row have one line

  /// Returns true if every schedule was run and none showed a mistake.
  [[nodiscard]] bool passed() const noexcept { return complete && failure.empty(); }
};
/// Returns the result as text: the numbers, and the failing schedule if there is one.
[[nodiscard]] inline std::string to_string(const exploration& e) {
  std::string text = std::to_string(e.schedules) + " schedules, " + std::to_string(e.pruned) +
                     " pruned, " + std::to_string(e.steps) + " steps, longest " +
                     std::to_string(e.longest);
  if (!e.failure.empty()) text += '\n' + e.failure + "\nschedule: " + e.schedule + '\n' + e.listing;
  else if (!e.complete) text += ", not complete";
  return text;
}

namespace detail {

template <class Make>
using made_by = decltype((*static_cast<Make*>(nullptr))());

[[nodiscard]] inline std::string text_of(const shared_access& a) {
  const bool locks = a.kind == access_kind::lock;
  if (locks || a.kind == access_kind::unlock) {
    const std::string call = locks ? "lock" : "unlock";
    return std::string_view(a.what) == "lock" ? call : call + " (" + a.what + ')';
  }
  return a.number == 0 ? a.what : a.what + (' ' + std::to_string(a.number));
}

inline void describe(exploration& e, const search& run, std::size_t steps) {
  testing::schedule taken = run.taken();
  taken.resize(steps);
  e.schedule = to_string(taken);
  e.listing.clear();
  const auto line = [&](std::size_t i) {
    return static_cast<char>('a' + taken[i]) + (": " + text_of(run.access_of(i)));
  };
  for (std::size_t from = 0, to = 0; from < steps; from = to) {
    const std::string text = line(from);
    while (to < steps && line(to) == text) ++to;
    e.listing += text;
    if (to - from > 1) e.listing += " (" + std::to_string(to - from) + " times)";
    e.listing += '\n';
  }
}

template <class Make>
[[nodiscard]] exploration run_all(Make& make, search& choices, const explore_options& options) {
  using program = made_by<Make>;
  exploration found;
  scheduler threads(program::threads);
  do {
    if (found.schedules + found.pruned == options.max_schedules) return found;
    program world = make();
    const scheduler::program calls{
        .of = &world,
        .run = [](void* of, int t) { static_cast<program*>(of)->run(t); },
        .check = [](void* of) -> const char* { return static_cast<program*>(of)->check(); },
        .max_steps = options.max_steps};
    const scheduler::end end = threads.run(calls, choices);
    found.steps += choices.length();
    if (found.longest < choices.length()) found.longest = choices.length();
    if (end == scheduler::end::covered) {
      ++found.pruned;
      continue;
    }
    ++found.schedules;
    if (end == scheduler::end::failed) {
      found.failure = threads.failure();
      describe(found, choices, threads.failed_after());
      return found;
    }
    if (const char* const wrong = world.finish()) {
      found.failure = wrong;
      describe(found, choices, choices.length());
      return found;
    }
  } while (choices.advance());
  found.complete = true;
  return found;
}

}  // namespace detail

/// Runs a scenario again and again, until every schedule was run or one shows a mistake. A schedule
/// is an order in which the threads make their accesses. Two runs of one scenario must do the
/// accesses in an order that depends on the schedule only.
///
/// After a mistake the function looks for a schedule with as few preemptions as possible. The text
/// of that schedule is in the result. All runs use the thread that calls.
/// \param make returns a new scenario for each run, for example with new files and a new device
template <class Make>
  requires scenario<detail::made_by<Make>>
[[nodiscard]] exploration explore(Make make, const explore_options& options = {}) {
  detail::search every;
  if (options.preemptions >= 0) every = detail::search(options.preemptions);
  exploration found = detail::run_all(make, every, options);
  if (found.failure.empty() || options.preemptions >= 0) return found;
  explore_options fewer = options;
  fewer.max_schedules = options.shorten;
  for (int bound = 0; fewer.max_schedules != 0; ++bound) {
    detail::search bounded(bound);
    const exploration shorter = detail::run_all(make, bounded, fewer);
    if (!shorter.failure.empty()) {
      found.failure = shorter.failure;
      found.schedule = shorter.schedule;
      found.listing = shorter.listing;
      break;
    }
    const std::uint64_t runs = shorter.schedules;
    fewer.max_schedules -= runs < fewer.max_schedules ? runs : fewer.max_schedules;
  }
  return found;
}

/// Runs one schedule of a scenario. After the last step of the text, the thread of this step goes
/// on as long as possible.
/// \param make returns the scenario
/// \param text a schedule as `exploration::schedule` has it
/// \return the mistake that this schedule shows, if it shows one. If the text is no schedule,
/// nothing runs, and `failure` says where reading ended.
template <class Make>
  requires scenario<detail::made_by<Make>>
[[nodiscard]] exploration replay(Make make, std::string_view text) {
  std::size_t length = 0;
  detail::search only(detail::read_schedule(text, length));
  if (length == text.size()) return detail::run_all(make, only, {});
  exploration none;
  none.failure = "this is no schedule: \"" + std::string(text.substr(length)) + '"';
  return none;
}

}  // namespace kvm_vfio::testing
