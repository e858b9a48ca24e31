// SPDX-License-Identifier: BSL-1.0
// Coherency updates: who is asked, in which order, and when KVM hears.

#include <algorithm>
#include <random>
#include <vector>

#include "calls.hpp"
#include "world.hpp"

namespace tests {
namespace {

TEMPLATE_TEST_CASE("Register and unregister alternate, the walk stops at the first noncoherent", "",
                   linux_7_3, linux_6_12, linux_6_1) {
  world<TestType> w;
  REQUIRE(w.create() == errc::ok);
  const int a = w.file(), b = w.file({.coherent = false}), c = w.file({.coherent = false});
  const file_id fa = w.task.file_of(a), fb = w.task.file_of(b), fc = w.task.file_of(c);
  // What an update asked, and the edge.
  const auto asked = [&w] {
    std::vector<event> chosen;
    for (const event& e : w.log.all())
      if (e.what == call::enforced_coherent || e.what == call::register_noncoherent ||
          e.what == call::unregister_noncoherent)
        chosen.push_back(e);
    return chosen;
  };
  using namespace events;
  CHECK(w.add(a) == errc::ok);
  CHECK(asked() == std::vector{enforced_coherent(fa, true)});
  CHECK(w.add(b) == errc::ok);
  CHECK(asked() == std::vector{enforced_coherent(fa, true), enforced_coherent(fb, false),
                               register_noncoherent({1})});
  CHECK(w.add(c) == errc::ok);  // nothing new, and the third is not reached
  CHECK(asked() == std::vector{enforced_coherent(fa, true), enforced_coherent(fb, false)});
  CHECK(w.del(b) == errc::ok);  // the third is still noncoherent
  CHECK(asked() == std::vector{enforced_coherent(fa, true), enforced_coherent(fc, false)});
  CHECK(w.noncoherent());
  CHECK(w.del(c) == errc::ok);
  CHECK(asked() == std::vector{enforced_coherent(fa, true), unregister_noncoherent({1})});
  // Files are asked again each time: an answer may have changed meanwhile.
  w.vfio.answers(fa).coherent = false;
  CHECK_FALSE(w.noncoherent());
  CHECK(w.add(c) == errc::ok);
  CHECK(asked() == std::vector{enforced_coherent(fa, false), register_noncoherent({1})});
  w.vfio.answers(fa).coherent = true;
  w.vfio.answers(fc).coherent = true;
  CHECK(w.add(b) == errc::ok);
  CHECK(asked() == std::vector{enforced_coherent(fa, true), enforced_coherent(fc, true),
                               enforced_coherent(fb, false)});
  w.vfio.answers(fb).coherent = true;
  CHECK(w.add(b) == errc::exists);  // asks nobody
  CHECK(asked().empty());
  CHECK(w.del(w.vm_fd) == errc::noent);
  if constexpr (TestType::updates_coherency_on_noent)
    CHECK(asked() == std::vector{enforced_coherent(fa, true), enforced_coherent(fc, true),
                                 enforced_coherent(fb, true), unregister_noncoherent({1})});
  else CHECK(asked().empty());
  CHECK(w.noncoherent() == !TestType::updates_coherency_on_noent);
  CHECK(w.end() == std::vector{1, 3, 2});
  CHECK(w.always.broken() == "");
}

// Random calls against a list and "is any noncoherent": every answer, every call at the boundary
// that is about coherency, and the order of the files, at each step.
TEMPLATE_TEST_CASE("Random sequences", "", linux_7_3, linux_6_12, linux_6_1) {
  constexpr int file_count = 6;
  for (const unsigned seed : {1u, 2u, 3u, 20u}) {
    std::mt19937 random(seed);
    journal log;
    recording_symbols vfio(log);
    recording_iommu iommu(log);
    std::vector<int> reference;  // file numbers
    bool told = false;
    bool coherent[file_count + 1] = {};
    for (int f = 1; f <= file_count; ++f) {
      coherent[f] = random() % 2 != 0;
      vfio.make({.coherent = coherent[f]});
    }
    device dev(vfio, null_lock{}, iommu, vm_id{1}, TestType{});
    for (int step = 0; step < 400; ++step) {
      const int f = 1 + static_cast<int>(random() % file_count);
      const auto action = random() % 5;
      const auto at = std::find(reference.begin(), reference.end(), f);
      const bool tracked = at != reference.end();
      INFO("seed " << seed << ", step " << step << ", action " << action << ", file " << f);
      log.clear();
      bool updates = false;
      if (action < 2) {
        REQUIRE(dev.add({f}) == (tracked ? errc::exists : errc::ok));
        updates = !tracked;
        if (!tracked) reference.push_back(f);
      } else if (action < 4) {
        REQUIRE(dev.del({f}) == (tracked ? errc::ok : errc::noent));
        updates = tracked || TestType::updates_coherency_on_noent;
        if (tracked) reference.erase(at);
      } else {
        coherent[f] = !coherent[f];
        vfio.answers({f}).coherent = coherent[f];
      }
      std::vector<event> expected;
      if (updates) {
        const auto first = std::find_if(reference.begin(), reference.end(),
                                        [&](int file) { return !coherent[file]; });
        for (auto i = reference.begin(); i != first; ++i)
          expected.push_back(events::enforced_coherent({*i}, true));
        const bool any = first != reference.end();
        if (any) expected.push_back(events::enforced_coherent({*first}, false));
        if (any != told)
          expected.push_back(any ? events::register_noncoherent({1})
                                 : events::unregister_noncoherent({1}));
        told = any;
      }
      std::vector<event> seen;
      for (const event& e : log.calls())
        if (e.what == call::enforced_coherent || e.what == call::register_noncoherent ||
            e.what == call::unregister_noncoherent)
          seen.push_back(e);
      REQUIRE(seen == expected);
      REQUIRE(dev.noncoherent() == told);
      REQUIRE(iommu.registered() == (told ? 1 : 0));
      REQUIRE(iommu.assigned() ==
              (TestType::counts_assignments ? static_cast<int>(reference.size()) : 0));
      std::vector<int> order;
      dev.for_each([&order](const file_id& file) { order.push_back(file.number); });
      REQUIRE(order == reference);
      REQUIRE(dev.size() == reference.size());
      for (int i = 1; i <= file_count; ++i)
        REQUIRE(vfio.vm_of({i}).number == std::count(reference.begin(), reference.end(), i));
    }
  }
}

TEST_CASE("The edge detector") {
  coherency c;
  CHECK_FALSE(c.noncoherent());
  CHECK(c.update(false) == coherency_edge::none);
  CHECK(c.update(true) == coherency_edge::to_noncoherent);
  CHECK(c.noncoherent());
  CHECK(c.update(true) == coherency_edge::none);
  CHECK(c.update(false) == coherency_edge::to_coherent);
  CHECK_FALSE(c.noncoherent());
}

}  // namespace
}  // namespace tests
