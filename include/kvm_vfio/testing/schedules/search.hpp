// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The search through the schedules of a program: which thread makes the next step, and which
/// choices are left for later runs.

#include <kvm_vfio/testing/schedules/schedule_text.hpp>
#include <kvm_vfio/testing/schedules/shared_access.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kvm_vfio::testing {

/// The largest number of threads of a scenario.
inline constexpr int max_threads = 8;

namespace detail {

// A set of threads: bit t stands for thread t.
using thread_set = unsigned;
[[nodiscard]] constexpr thread_set only(int thread) noexcept { return 1U << thread; }
[[nodiscard]] constexpr int first_of(thread_set set) noexcept { return __builtin_ctz(set); }

// The threads of a program, each of which waits before an access.
struct waiting_threads {
  thread_set live = 0;                   // those that have not ended
  thread_set enabled = 0;                // those that can make their access now
  thread_set waiting = 0;                // those whose access is not always possible
  int current = -1;                      // the thread that made the last step, or -1
  shared_access next[max_threads] = {};  // the access before which each thread waits
};

// Walks through the tree of schedules in depth-first order. Each run of the program is one path
// from the root.
//
// With reduction, this is source-DPOR (Abdulla, Aronis, Jonsson and Sagonas, 2014), a dynamic
// partial-order reduction, with sleep sets. A run chooses freely. For each step the search looks
// for the earlier steps that race with it. From the state before such a step, another run begins
// with what does not happen after it, so that the two steps come in the other order. A sleep set
// has the threads whose next step leads only to schedules that other runs cover.
class search {
 public:
  // What `choose` returns if there is no thread to go on with.
  static constexpr int covered = -1;  // other runs cover everything that follows
  static constexpr int misfit = -2;   // the program differs from an earlier run of the schedule

  // Runs every schedule, up to reordering of independent accesses.
  search() = default;
  // Runs every schedule in which at most this number of threads is stopped that could go on.
  explicit search(int preemptions) noexcept : bound_(preemptions), how_(mode::bounded) {}
  // Runs the schedule `only`. Later steps are of the last thread, if possible.
  explicit search(schedule only) : how_(mode::fixed), fixed_(std::move(only)) {}

  // Begins a run.
  void begin() noexcept {
    steps_.clear();
    sleeping_ = 0;
    for (clock& c : clocks_) c = {};
  }
  // Chooses the thread that goes on.
  // \pre a thread is enabled
  [[nodiscard]] int choose(const waiting_threads& all) {
    const std::size_t depth = steps_.size();
    if (depth == nodes_.size()) {
      const int chosen = first_choice(all);
      if (chosen < 0) return chosen;
    } else if (nodes_[depth].enabled != all.enabled) return misfit;
    step(nodes_[depth], all);
    return nodes_[depth].chosen;
  }
  // Notes that the run is in a state in which no thread is enabled.
  void stuck(const waiting_threads& all) {
    if (how_ != mode::reduced) return;
    for (thread_set rest = all.live; rest != 0; rest &= rest - 1)
      (void)after(all, first_of(rest), true);
  }
  // Ends a run. Returns false if no choices are left.
  [[nodiscard]] bool advance() noexcept {
    for (; !nodes_.empty(); nodes_.pop_back()) {
      node& last = nodes_.back();
      last.done |= only(last.chosen);
      if (const thread_set left = last.wanted & ~last.done & ~last.sleeping; left != 0) {
        last.chosen = first_of(left);
        prefix_ = nodes_.size();
        return true;
      }
    }
    return false;
  }
  // Returns true if an earlier run has made the last step in an equal state.
  [[nodiscard]] bool repeats() const noexcept { return steps_.size() < prefix_; }
  // Returns the number of steps of this run.
  [[nodiscard]] std::size_t length() const noexcept { return steps_.size(); }
  // Returns the schedule of this run.
  [[nodiscard]] schedule taken() const {
    schedule s;
    for (const step_made& made : steps_) s.push_back(static_cast<unsigned char>(made.thread));
    return s;
  }
  // Returns the access of a step of this run.
  [[nodiscard]] const shared_access& access_of(std::size_t n) const noexcept {
    return steps_[n].access;
  }

 private:
  enum class mode : unsigned char { reduced, bounded, fixed };
  // For each thread the number of steps, counted over all threads, up to the thread's last step
  // that happens before something.
  struct clock {
    std::uint32_t of[max_threads] = {};
  };
  struct step_made {
    int thread;
    shared_access access;
    clock when;
  };
  // A state of the program, before a step.
  struct node {
    int chosen;
    thread_set enabled;
    thread_set wanted;    // the threads that must go on from here
    thread_set done;      // those with which earlier runs have gone on
    thread_set sleeping;  // those that need not go on from here
    int preemptions;      // how many led here
  };

  [[nodiscard]] int first_choice(const waiting_threads& all) {
    node n{.chosen = covered,
           .enabled = all.enabled,
           .wanted = 0,
           .done = 0,
           .sleeping = sleeping_,
           .preemptions = 0};
    thread_set possible = all.enabled & ~sleeping_;
    const bool goes_on = all.current >= 0 && (all.enabled & only(all.current)) != 0;
    if (how_ == mode::bounded) {
      if (!nodes_.empty()) n.preemptions = nodes_.back().preemptions + preempts(nodes_.size() - 1);
      if (goes_on && n.preemptions >= bound_) possible = only(all.current);
    }
    if (how_ == mode::fixed && steps_.size() < fixed_.size()) {
      const int thread = fixed_[steps_.size()];
      if (thread >= max_threads || (all.enabled & only(thread)) == 0) return misfit;
      possible = only(thread);
    }
    if (possible == 0) return covered;
    n.chosen = goes_on && (possible & only(all.current)) ? all.current : first_of(possible);
    n.wanted = how_ == mode::bounded ? possible : only(n.chosen);
    nodes_.push_back(n);
    return n.chosen;
  }
  // 1 if the choice at this node stops a thread that could go on.
  [[nodiscard]] int preempts(std::size_t depth) const noexcept {
    if (depth == 0) return 0;
    const int before = nodes_[depth - 1].chosen;
    return nodes_[depth].chosen != before && (nodes_[depth].enabled & only(before)) != 0;
  }

  void step(const node& n, const waiting_threads& all) {
    const shared_access& access = all.next[n.chosen];
    if (how_ != mode::reduced) {
      steps_.push_back({n.chosen, access, {}});
      return;
    }
    clock& c = clocks_[n.chosen];
    c = after(all, n.chosen, steps_.size() + 1 >= prefix_);
    c.of[n.chosen] = static_cast<std::uint32_t>(steps_.size() + 1);
    steps_.push_back({n.chosen, access, c});
    sleeping_ = 0;
    for (thread_set rest = (n.sleeping | n.done) & all.live; rest != 0; rest &= rest - 1)
      if (const int t = first_of(rest); t != n.chosen && !depend(all.next[t], access))
        sleeping_ |= only(t);
  }

  [[nodiscard]] bool happens_before(std::size_t i, const clock& c) const noexcept {
    return i < c.of[steps_[i].thread];
  }
  static void join(clock& c, const clock& other) noexcept {
    for (int t = 0; t < max_threads; ++t)
      if (c.of[t] < other.of[t]) c.of[t] = other.of[t];
  }
  // Returns what happens before the next step of `thread`. If `reverse`, wants the choices with
  // which other runs reverse the races of this step.
  clock after(const waiting_threads& all, int thread, bool reverse) noexcept {
    const shared_access& access = all.next[thread];
    clock before = clocks_[thread];
    for (std::size_t i = steps_.size(); i-- > 0;) {
      const step_made& s = steps_[i];
      if (!depend(s.access, access)) continue;
      // A race with a later step hides this one: after the reversal of the later race, another run
      // sees this one. But perhaps an access that waits cannot come before the later step.
      const bool waits = (all.waiting & only(thread)) != 0;
      if (reverse && race(s.access, access) && !happens_before(i, waits ? clocks_[thread] : before))
        add_choice(i, thread, access);
      join(before, s.when);
    }
    return before;
  }
  // Wants a thread at node `i` that begins the sequence which reverses the race between step `i`
  // and the next step of `thread`: the later steps that do not happen after step `i`, and then the
  // next step.
  void add_choice(std::size_t i, int thread, const shared_access& access) noexcept {
    node& n = nodes_[i];
    const clock& mine = clocks_[thread];
    thread_set first = only(thread);  // the threads that can begin the sequence
    thread_set seen = 0;
    for (std::size_t k = i + 1; k < steps_.size(); ++k) {
      const step_made& s = steps_[k];
      if (happens_before(i, s.when)) continue;
      if (happens_before(k, mine) || depend(s.access, access)) first &= ~only(thread);
      if ((seen & only(s.thread)) == 0 && begins(i, k)) first |= only(s.thread);
      seen |= only(s.thread);
    }
    first &= n.enabled;
    if (first == 0) n.wanted |= n.enabled;
    else if (((n.wanted | n.sleeping) & first) == 0) n.wanted |= only(first_of(first));
  }
  // True if no step of the sequence, which begins behind step `i`, happens before step `k`.
  [[nodiscard]] bool begins(std::size_t i, std::size_t k) const noexcept {
    for (std::size_t m = i + 1; m < k; ++m)
      if (!happens_before(i, steps_[m].when) && happens_before(m, steps_[k].when)) return false;
    return true;
  }

  int bound_ = 0;
  mode how_ = mode::reduced;
  schedule fixed_;
  std::vector<node> nodes_;
  std::vector<step_made> steps_;
  clock clocks_[max_threads];
  thread_set sleeping_ = 0;  // the sleep set of the state that this run has reached
  std::size_t prefix_ = 0;   // how many steps of this run earlier runs chose
};

}  // namespace detail
}  // namespace kvm_vfio::testing
