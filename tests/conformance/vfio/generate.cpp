// SPDX-License-Identifier: BSL-1.0
// The random sequence of steps, and how the sequence is steered.
#include "generate.hpp"

#include "combinations.hpp"
#include "steps/rare.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <linux/kvm.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace {

// Chooses steps.
class chooser : protected rare_steps {
 protected:
  using rare_steps::rare_steps;

  // Ways to get somewhere.

  void setup() {
    careful_ = true;
    const int n = 1 + r_.below(3);
    for (int i = 0; i < n; ++i) {
      if (m_.iommufd && r_.percent(45)) bound_device(i);
      else opened_device(i);
    }
    if (r_.percent(50)) vm();
    careful_ = false;
  }
  void opened_device(int i) {
    const target& t = some_target();
    const int c = r_.percent(70) ? 0 : i;
    open_group(i, t);
    if (m_.iommufd && r_.percent(30)) {
      join_iommufd({kind::group, i});
      if (r_.percent(80)) get_device({kind::group, i}, t, i);
      return;
    }
    in_container(i, c, t, false);
  }
  void in_container(int i, int c, const target& t, bool group = true) {
    if (group) open_group(i, t);
    open(kind::container, c, "/dev/vfio/vfio");
    if (r_.percent(5)) return;
    set_container({kind::group, i}, {kind::container, c});
    if (r_.percent(5)) return;
    call({kind::container, c}, "SET_IOMMU", VFIO_SET_IOMMU,
         m_.spapr         ? VFIO_SPAPR_TCE_IOMMU
         : r_.percent(70) ? VFIO_TYPE1v2_IOMMU
                          : VFIO_TYPE1_IOMMU);
    if (m_.spapr && r_.percent(80)) call({kind::container, c}, "ENABLE", VFIO_IOMMU_ENABLE, 0);
    if (r_.percent(80)) get_device({kind::group, i}, t, i);
    if (r_.percent(25)) get_device({kind::group, i}, neighbour(t), i + 1);
  }
  void bound_device(int i) {
    const target& t = some_target();
    if (t.cdev.empty()) return;
    open(kind::iommufd, 0, "/dev/iommu");
    open_cdev(i, t);
    i = device_slot(t, i);
    bind({kind::cdev, i}, {kind::iommufd, 0});
    ioas_alloc({kind::iommufd, 0});
    if (r_.percent(70)) attach({kind::cdev, i}, id());
  }
  void vm() {
    call({kind::kvm}, "CREATE_VM", KVM_CREATE_VM, 0).made = {kind::vm, 0};
    steps_.back().makes = true;
    create_kvm_vfio({kind::vm, 0}, 0);
  }

  // Random steps.

  void any() {
    const int n = r_.below(100);
    if (n < 12) return open_something();
    if (n < 18) return close(some(static_cast<kind>(r_.below(kinds_with_slots))));
    if (n < 21) return dup();
    if (n < 33) return group_call();
    if (n < 57) return container_call();
    if (n < 78) return device_call(r_.percent(70) ? kind::device : kind::cdev);
    if (n < 90) return m_.iommufd ? iommufd_call() : container_call();
    if (n < 97) return kvm_call();
    unknown();
  }

  void make(family f) {
    switch (f) {
      case family::opens: return open_something();
      case family::closes: return close(some(static_cast<kind>(r_.below(kinds_with_slots))));
      case family::dups: return dup();
      case family::groups: return group_call();
      case family::containers: return container_call();
      case family::devices: return request_call(some_device());
      case family::irqs: return set_irqs(mostly(some_device()));
      case family::regions: return region_call(some_device());
      case family::cdevs: return cdev_call(mostly(kind::cdev));
      case family::iommufds: return iommufd_call();
      case family::kvm: return kvm_call();
      case family::vms: return vm_call();
      case family::events: return event_call();
      case family::unknown: return unknown();
    }
  }
  kind some_device() {
    if (prefer_) return prefer_->what;
    return !m_.iommufd || r_.percent(60) ? kind::device : kind::cdev;
  }
  // The end in a random order of kinds: who outlives whom differs. Adds nothing the second time.
  void close_all() {
    if (closed_) return;
    closed_ = true;
    const int first = r_.below(kinds_with_slots);
    for (int k = 0; k < kinds_with_slots; ++k)
      for (int i = 0; i < slots; ++i)
        close({static_cast<kind>((first + k * 2) % kinds_with_slots), i});
  }

 private:
  bool closed_ = false;
};

// The steps that random numbers choose.
class generator final : public source, private chooser {
 public:
  generator(std::uint64_t seed, int length, const machine& m, const view& now, combinations& seen)
      : chooser(random(seed), m, now), seen_(seen), left_(length) {}

  std::vector<step> next() override {
    steps_.clear();
    if (!set_up_) {
      set_up_ = true;
      const row* const wanted = r_.percent(50) ? seen_.pick(r_.next()) : nullptr;
      if (wanted) try_for(*wanted);
      else setup();
    } else if (left_ > 0) {
      for (int i = 0; i < 20 && steps_.empty(); ++i) beat();
    } else {
      close_all();
    }
    left_ -= static_cast<int>(steps_.size());
    return std::move(steps_);
  }

 private:
  // Steering.

  void beat() {
    if (busy_ > 0) --busy_;
    else prefer_.reset();
    if (!r_.percent(90)) return any();
    const bool busy = busy_ > 0;
    const row* const wanted = seen_.pick(r_.next());
    if (!wanted) return any();
    const family f = busy ? of_busy_ : wanted->made_by;
    // First the combinations that were never compared, then those that lack the fewest calls.
    long best = -1;
    std::vector<step> chosen;
    for (int i = 0; i < candidates && best != 0; ++i) {
      steps_.clear();
      make(f);
      if (steps_.empty() || !now_.would_run(steps_.front())) continue;
      const long compared = seen_.compared(key_of(steps_.front(), now_, m_));
      if (compared >= combinations::enough || (compared <= best && compared != 0)) continue;
      best = compared;
      chosen = std::move(steps_);
    }
    steps_ = std::move(chosen);
    if (!steps_.empty()) {
      if (busy) busy_ = stay;
      return;
    }
    if (busy) return;
    try_for(*wanted);
  }
  void try_for(const row& wanted) {
    seen_.tried(wanted);
    bring(wanted);
    busy_ = stay;
    of_busy_ = wanted.made_by;
  }
  // So many random steps are looked at, to find one that is a seldom combination.
  static constexpr int candidates = 150;
  // So many times in a row none is found, until another combination is tried.
  static constexpr int stay = 3;

  combinations& seen_;
  int left_;
  bool set_up_ = false;
  int busy_ = 0;  // so many more steps for `prefer_`
  family of_busy_{};
};

// The steps that the bytes of an input choose.
class input_reader final : public source, private chooser {
 public:
  input_reader(std::vector<unsigned char> input, const machine& m, const std::vector<row>& rows,
               const view& now)
      : chooser(random(std::move(input)), m, now), rows_(rows) {}

  std::vector<step> next() override {
    steps_.clear();
    while (steps_.empty() && !r_.ended()) choose();
    if (steps_.empty()) close_all();
    return std::move(steps_);
  }

 private:
  void choose() {
    careful_ = true;
    switch (r_.below(18)) {
      case 0: return opened_device(slot());
      case 1: return m_.iommufd ? bound_device(slot()) : opened_device(slot());
      case 2: return vm();
      case 3:
      case 4:
      case 5:
        return bring(rows_[static_cast<std::size_t>(r_.below(static_cast<int>(rows_.size())))]);
      case 6: prefer_.reset(); break;
      case 9: careful_ = false; return rare();
      case 10: return rare();
      case 7:
      case 8: break;
      default: careful_ = false; break;
    }
    make(static_cast<family>(r_.below(families)));
    careful_ = false;
  }

  const std::vector<row>& rows_;
};

}  // namespace

std::unique_ptr<source> make_source(std::uint64_t seed, int length, const machine& m,
                                    const view& now, combinations& seen) {
  return std::make_unique<generator>(seed, length, m, now, seen);
}
std::unique_ptr<source> make_source(std::vector<unsigned char> input, const machine& m,
                                    const std::vector<row>& rows, const view& now) {
  return std::make_unique<input_reader>(std::move(input), m, rows, now);
}

}  // namespace vfio_lockstep
