// SPDX-License-Identifier: BSL-1.0
// The outcomes of a race on the simulator, in every order of its calls.
#include "possible.hpp"
#include "simulated.hpp"

#include <kvm_vfio/sim/process_ref.hpp>

#include <cstddef>
#include <vector>

namespace races {

namespace {

// Makes the threads' calls in an order: the numbers of the threads, one for each call.
outcome run(const race& r, const machine& m, const std::vector<std::size_t>& order) {
  std::vector<outcome> answers(r.threads.size());
  outcome end;
  on_simulator(m, [&](kvm_vfio::sim::process& task) {
    player<kvm_vfio::sim::process_ref> p(kvm_vfio::sim::process_ref(task), m.on);
    p.must(r, r.before);
    p.must(r, r.setup);
    for (const std::size_t t : order) answers[t].push_back(p.run(r.threads[t][answers[t].size()]));
    for (const outcome& a : answers) end.insert(end.end(), a.begin(), a.end());
    for (const op& o : r.probe) end.push_back(p.run(o));
  });
  return end;
}

class every_order {
 public:
  every_order(const race& r, const machine& m) : race_(r), machine_(m), done_(r.threads.size()) {}
  possible find() {
    extend();
    return found_;
  }

 private:
  // The first order that comes to an end has the threads one after the other.
  void extend() {
    bool whole = true;
    for (std::size_t t = 0; t < done_.size(); ++t) {
      if (done_[t] == race_.threads[t].size()) continue;
      whole = false;
      ++done_[t];
      order_.push_back(t);
      extend();
      order_.pop_back();
      --done_[t];
    }
    if (!whole) return;
    const outcome end = run(race_, machine_, order_);
    if (found_.runs++ == 0) found_.in_order = end;
    found_.all.insert(end);
  }

  const race& race_;
  const machine& machine_;
  std::vector<std::size_t> done_, order_;
  possible found_;
};

}  // namespace

possible in_every_order(const race& r, const machine& m) { return every_order(r, m).find(); }

}  // namespace races
