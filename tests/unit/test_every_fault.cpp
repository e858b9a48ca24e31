// SPDX-License-Identifier: BSL-1.0
// The life of a device, in which each failure point fails in turn, and each pair of them. After
// each call, `world` compares the state with the one that the call's answer promises. At the end,
// all that was taken must have been given back.
#include "support/catch.hpp"
#include "world.hpp"

#include <string>

using namespace tests;

namespace {

// Makes every kind of call, also those that the kernel refuses.
template <class World>
void live(World& w) {
  const int coherent = w.file({.coherent = true}), noncoherent = w.file({.coherent = false});
  const int stranger = w.file({.kind = file_kind::other});
  if (w.create() != errc::ok) w.device_fd = -1;
  (void)w.has(uapi::dev_vfio_file, uapi::dev_vfio_file_add);
  (void)w.add(coherent);
  (void)w.add(noncoherent);
  (void)w.add(coherent);
  (void)w.add(stranger);
  if constexpr (requires { w.iommu.groups_put(); }) (void)w.set_spapr_tce(noncoherent, coherent);
  (void)w.del(noncoherent);
  (void)w.del(noncoherent);
  (void)w.add(noncoherent);
  if constexpr (requires { w.iommu.groups_put(); }) (void)w.set_spapr_tce(coherent, coherent);
  (void)w.del(coherent);
}

// Ends the process and the VM. Descriptors that the process never learned of are closed, too.
template <class World>
void end(World& w) {
  for (int fd = 1; fd < 16; ++fd)
    if (fd != w.vm_fd && w.task.file_of(fd)) (void)w.close(fd);
  w.device_fd = -1;
  (void)w.end();
}

struct outcome {
  bool struck;         // all faults have happened
  std::string broken;  // what was violated; empty: nothing
};
template <class World>
outcome run(int first, int second) {
  World w;
  w.plan.fail_use(first, errc::nomem);
  if (second != 0) w.plan.fail_use(second, errc::nomem);
  live(w);
  const bool struck = !w.plan.waiting();
  end(w);
  return {struck, std::string(w.always.broken())};
}

template <class World>
void every_fault() {
  int points = 0, pairs = 0;
  for (int first = 1;; ++first) {
    const auto one = run<World>(first, 0);
    INFO("the failure point " << first);
    REQUIRE(one.broken == "");
    if (!one.struck) break;
    ++points;
    for (int second = first + 1;; ++second) {
      const outcome two = run<World>(first, second);
      INFO("the second failure point " << second);
      REQUIRE(two.broken == "");
      if (!two.struck) break;
      ++pairs;
    }
  }
  CHECK(points > 40);
  CHECK(pairs > 800);
}

}  // namespace

TEMPLATE_TEST_CASE("Each failure point in a device's life, and each pair of them", "", linux_7_3,
                   linux_6_12, linux_6_1) {
  every_fault<world<TestType>>();
}

TEMPLATE_TEST_CASE("Each failure point in a device's life on POWER, and each pair of them", "",
                   linux_7_3, linux_6_12, linux_6_1) {
  every_fault<world<TestType, failing_spapr_iommu<recording_spapr_iommu>>>();
}
