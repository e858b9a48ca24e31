// SPDX-License-Identifier: BSL-1.0
// The outcomes of a race on the simulator, in every order of its calls.
#include "possible.hpp"
#include "simulated.hpp"

#include <kvm_vfio/sim/process_ref.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace races {

namespace {

// What a thread does in one step. If another thread closes a descriptor that a call uses, the call
// has four steps: the thread reads the descriptors' numbers, the call takes references on the
// files, has its effect, and gives the references back. When the call looks a number up, a
// descriptor that was made meanwhile can have this number. A file that is closed meanwhile is
// released when the call gives its reference back. The kernel looks up a descriptor, takes a
// reference and looks again. So a call can also find the descriptor closed while it has the
// reference.
enum class part : unsigned char { whole, number, hold, effect, effect_of_second_look, drop };
struct step {
  op call;
  part what;
};
using script = std::vector<step>;

bool closed_by_others(const race& r, std::size_t thread, slot s) {
  for (std::size_t t = 0; t < r.threads.size(); ++t)
    for (const op& o : r.threads[t])
      if (t != thread && s != slot::none && o.what == verb::close && o.on == s) return true;
  return false;
}
script script_of(const race& r, std::size_t thread, part effect) {
  script all;
  for (const op& o : r.threads[thread]) {
    const bool uses = o.what != verb::open && o.what != verb::close;
    if (uses && (closed_by_others(r, thread, o.on) || closed_by_others(r, thread, o.with)))
      for (const part p : {part::number, part::hold, effect, part::drop}) all.push_back({o, p});
    else all.push_back({o, part::whole});
  }
  return all;
}

// Makes the threads' steps in an order: the numbers of the threads, one for each step.
outcome run(const race& r, const machine& m, const std::vector<script>& scripts,
            const std::vector<std::size_t>& order) {
  std::vector<outcome> answers(r.threads.size());
  outcome end;
  on_simulator(m, [&](kvm_vfio::sim::process& task) {
    player<kvm_vfio::sim::process_ref> p(kvm_vfio::sim::process_ref(task), m.on);
    p.must(r, r.before);
    p.must(r, r.setup);
    std::vector<std::size_t> at(scripts.size());
    std::vector<std::pair<int, int>> numbers(scripts.size()), held(scripts.size());
    for (const std::size_t t : order) {
      const auto& [call, what] = scripts[t][at[t]++];
      switch (what) {
        case part::whole: answers[t].push_back(p.run(call)); break;
        case part::number: numbers[t] = {p.number(call.on), p.number(call.with)}; break;
        case part::hold: held[t] = {p.hold(numbers[t].first), p.hold(numbers[t].second)}; break;
        case part::effect:
          answers[t].push_back(p.run_held(call, held[t].first, held[t].second));
          break;
        case part::effect_of_second_look:
          answers[t].push_back(p.run_held(call, numbers[t].first, numbers[t].second));
          break;
        case part::drop:
          p.drop(held[t].first);
          p.drop(held[t].second);
          break;
      }
    }
    for (const outcome& a : answers) end.insert(end.end(), a.begin(), a.end());
    for (const op& o : r.probe) end.push_back(p.run(o));
  });
  return end;
}

class every_order {
 public:
  every_order(const race& r, const machine& m) : race_(r), machine_(m), done_(r.threads.size()) {}
  possible find() {
    choose();
    return found_;
  }

 private:
  // Chooses how the calls of the next thread look up descriptors that another thread closes.
  void choose() {
    const std::size_t thread = scripts_.size();
    if (thread == race_.threads.size()) return extend();
    for (const part effect : {part::effect, part::effect_of_second_look}) {
      scripts_.push_back(script_of(race_, thread, effect));
      const bool has_effect = std::any_of(scripts_.back().begin(), scripts_.back().end(),
                                          [&](const step& s) { return s.what == effect; });
      if (has_effect || effect == part::effect) choose();
      scripts_.pop_back();
    }
  }
  // The first order that comes to an end has the threads one after the other.
  void extend() {
    bool whole = true;
    for (std::size_t t = 0; t < done_.size(); ++t) {
      if (done_[t] == scripts_[t].size()) continue;
      whole = false;
      ++done_[t];
      order_.push_back(t);
      extend();
      order_.pop_back();
      --done_[t];
    }
    if (!whole) return;
    const outcome end = run(race_, machine_, scripts_, order_);
    if (found_.runs++ == 0) found_.in_order = end;
    found_.all.insert(end);
  }

  const race& race_;
  const machine& machine_;
  std::vector<script> scripts_;
  std::vector<std::size_t> done_, order_;
  possible found_;
};

}  // namespace

possible in_every_order(const race& r, const machine& m) { return every_order(r, m).find(); }

}  // namespace races
