// SPDX-License-Identifier: BSL-1.0
// The outcomes of a race on the model of kvm-vfio, in every schedule.
#include "model.hpp"
#include "possible.hpp"

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/testing/schedules/explore.hpp>

#include <stdexcept>
#include <string>

namespace races {

namespace {

template <class Profile, int Threads>
possible all_of(const race& r, const target& t, bool counted) {
  possible found;
  const auto make = [&] { return model_race<Profile, Threads>(r, t, counted, found.all); };
  {
    outcomes first;
    model_race<Profile, Threads> once(r, t, counted, first);
    for (int thread = 0; thread < Threads; ++thread) once.run(thread);
    static_cast<void>(once.finish());
    found.in_order = *first.begin();
  }
  const kt::exploration e = kt::explore(make);
  if (!e.passed()) throw std::runtime_error(std::string(r.name) + ": " + to_string(e));
  found.runs = e.schedules;
  return found;
}
template <class Profile>
possible with(const race& r, const target& t, bool counted) {
  if (r.threads.size() == 2) return all_of<Profile, 2>(r, t, counted);
  if (r.threads.size() == 3) return all_of<Profile, 3>(r, t, counted);
  throw std::runtime_error(std::string(r.name) + ": not two or three threads");
}

}  // namespace

possible explored(const race& r, const machine& m, bool counted) {
  if (m.profile == "6.1") return with<kv::linux_6_1>(r, m.on, counted);
  if (m.profile == "6.12") return with<kv::linux_6_12>(r, m.on, counted);
  return with<kv::linux_7_3>(r, m.on, counted);
}

}  // namespace races
