// SPDX-License-Identifier: BSL-1.0
// The coherency epoch: what it leaves out, and that it changes nothing else.

#include <kvm_vfio/kvm_vfio.hpp>
#include <kvm_vfio/testing/epoch_symbols.hpp>
#include <kvm_vfio/testing/failing.hpp>
#include <kvm_vfio/testing/recording_iommu.hpp>
#include <kvm_vfio/testing/recording_symbols.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "calls.hpp"
#include "watched_device.hpp"

namespace tests {
namespace {

using namespace kvm_vfio;
using namespace kvm_vfio::testing;

// What a step asks of the provider: the files that it asks for coherency, in order.
std::vector<int> asked(const journal& log) {
  std::vector<int> files;
  for (const event& e : log.all())
    if (e.what == call::enforced_coherent) files.push_back(e.file.number);
  return files;
}
using numbers = std::vector<int>;

TEST_CASE("While an epoch lasts each file is asked once") {
  journal log;
  epoch_symbols vfio(log);
  recording_iommu iommu(log);
  device dev(vfio, null_lock{}, iommu, vm_id{1});
  static_assert(decltype(dev)::coherency_epoch && decltype(dev)::indexed);
  watched_device calls{dev, vfio, iommu, log};
  const file_id a = vfio.make(), b = vfio.make({.coherent = false}), c = vfio.make(),
                d = vfio.make({.coherent = false});
  const auto asks = [&](errc answer) {
    CHECK(answer == errc::ok);
    const numbers files = asked(log);
    log.clear();
    return files;
  };
  CHECK(asks(calls.add(a)) == numbers{1});
  CHECK(asks(calls.add(b)) == numbers{2});
  CHECK(dev.noncoherent());
  CHECK(asks(calls.add(c)) == numbers{});  // behind one that said no
  CHECK(asks(calls.add(d)) == numbers{});
  CHECK(asks(calls.del(a)) == numbers{});
  CHECK(asks(calls.del(b)) == numbers{3, 4});  // on from where it stood
  CHECK(dev.noncoherent());
  CHECK(asks(calls.del(c)) == numbers{});
  CHECK(asks(calls.del(d)) == numbers{});
  CHECK_FALSE(dev.noncoherent());
  CHECK(asks(calls.add(c)) == numbers{3});  // it was let go meanwhile
  CHECK(asks(calls.add(a)) == numbers{1});
  vfio.begin_epoch();
  CHECK(asks(calls.add(b)) == numbers{3, 1, 2});
  CHECK(asks(calls.del(b)) == numbers{});  // the second epoch lasts, too
  CHECK(asks(calls.add(b)) == numbers{2});
  vfio.answers(b).coherent = true;
  CHECK(asks(calls.add(d)) == numbers{3, 1, 2, 4});
  CHECK(dev.noncoherent());
  vfio.answers(d).coherent = true;
  CHECK(asks(calls.del(a)) == numbers{3, 2, 4});
  CHECK_FALSE(dev.noncoherent());
}

TEST_CASE("Without an epoch every file is asked each time, up to the first that says no") {
  journal log;
  recording_symbols vfio(log);
  recording_iommu iommu(log);
  device dev(vfio, null_lock{}, iommu, vm_id{1});
  static_assert(!decltype(dev)::coherency_epoch);
  const file_id a = vfio.make(), b = vfio.make({.coherent = false}), c = vfio.make();
  for (const file_id f : {a, b, c}) CHECK(dev.add(f) == errc::ok);
  CHECK(asked(log) == numbers{1, 1, 2, 1, 2});
}

// Two devices side by side, one of them with an epoch: random ADDs and DELs, faults and changing
// answers.
template <class Profile>
struct side_by_side {
  template <class Symbols>
  struct side {
    journal log;
    fault_plan plan;
    failing_symbols<Symbols> vfio{plan, log};
    recording_iommu iommu{log};
    device<failing_symbols<Symbols>, null_lock, recording_iommu, Profile, failing_storage<>> dev{
        vfio, iommu, vm_id{1}, Profile{}, failing_storage<>{plan, &log}};
    watched_device<decltype(dev), decltype(vfio), recording_iommu, Profile> calls{dev, vfio, iommu,
                                                                                  log, &plan};
  };
  side<recording_symbols> plain;
  side<epoch_symbols> epoch;

  constexpr errc on(auto step) {
    plain.log.clear();
    epoch.log.clear();
    const errc answer = step(plain);
    return step(epoch) == answer ? answer : errc::nxio;  // which no step here answers
  }
  // The calls but for what was asked about coherency, with its symbols.
  static constexpr std::vector<event> other_calls(const journal& log) {
    std::vector<event> others;
    for (const event& e : log.all()) {
      const bool symbol = e.what == call::symbol_get || e.what == call::symbol_put;
      if (e.what == call::enforced_coherent ||
          (symbol && e.value == static_cast<int>(symbol::file_enforced_coherent)))
        continue;
      others.push_back(e);
    }
    return others;
  }
  // Whether the epoch left calls out, but neither added nor reordered any.
  [[nodiscard]] constexpr bool same() const {
    const auto& more = plain.log.all();
    auto at = more.begin();
    for (const event& e : epoch.log.all()) {
      at = std::find(at, more.end(), e);
      if (at++ == more.end()) return false;
    }
    return other_calls(plain.log) == other_calls(epoch.log) &&
           plain.dev.noncoherent() == epoch.dev.noncoherent() &&
           plain.dev.size() == epoch.dev.size() &&
           plain.iommu.registered() == epoch.iommu.registered() && plain.calls.broken().empty() &&
           epoch.calls.broken().empty();
  }
};

template <class Profile>
constexpr bool epoch_only_leaves_out(int steps, int files) {
  side_by_side<Profile> pair;
  std::uint32_t state = 7;
  const auto random = [&state](int below) {
    state = state * 1664525 + 1013904223;
    return static_cast<int>((state >> 8) % static_cast<std::uint32_t>(below));
  };
  for (int f = 0; f < files; ++f) {
    (void)pair.plain.vfio.make({.coherent = f % 3 != 0});
    (void)pair.epoch.vfio.make({.coherent = f % 3 != 0});
  }
  constexpr fault faults[] = {fault::set_kvm, fault::allocate, missing(Profile::validity),
                              fault::symbol_set_kvm, fault::symbol_enforced_coherent};
  for (int i = 0; i < steps; ++i) {
    const file_id f{1 + random(files)};
    const fault at = faults[random(5)];
    const int kind = random(12);
    const int nth = 1 + random(3);
    const bool coherent = random(4) != 0;
    (void)pair.on([&](auto& side) {
      if (kind == 0) side.vfio.answers(f).coherent = coherent;
      if (kind == 1) side.plan.fail(at, nth, errc::nomem);
      if (kind == 2) side.plan.fail_always(at, errc::nomem);
      return errc::ok;
    });
    const bool adds = random(2) == 0;
    const errc answer = pair.on([&](auto& side) {
      const errc e = adds ? side.calls.add(f) : side.calls.del(f);
      side.plan.clear();
      return e;
    });
    if (answer == errc::nxio || !pair.same()) return false;
  }
  return true;
}

TEMPLATE_TEST_CASE("An epoch leaves calls out and changes nothing else", "", linux_7_3, linux_6_12,
                   linux_6_1) {
  CHECK(epoch_only_leaves_out<TestType>(3000, 12));
  CHECK(epoch_only_leaves_out<TestType>(3000, 120));
}
static_assert(epoch_only_leaves_out<linux_7_3>(60, 5));
static_assert(epoch_only_leaves_out<linux_6_1>(60, 5));

TEST_CASE("A missing symbol is a no for one update only") {
  journal log;
  fault_plan plan;
  failing_symbols<epoch_symbols> vfio(plan, log);
  recording_iommu iommu(log);
  device dev(vfio, null_lock{}, iommu, vm_id{1});
  const file_id a = vfio.make(), b = vfio.make();
  plan.fail(fault::symbol_enforced_coherent, 1, errc::noent);
  CHECK(dev.add(a) == errc::ok);
  CHECK(plan.struck() == 1);
  CHECK(dev.noncoherent());
  CHECK(dev.add(b) == errc::ok);
  CHECK_FALSE(dev.noncoherent());
  CHECK(asked(log) == numbers{1, 2});
}

}  // namespace
}  // namespace tests
