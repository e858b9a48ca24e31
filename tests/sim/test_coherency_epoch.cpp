// SPDX-License-Identifier: BSL-1.0
// The simulator's coherency epoch: what it saves, and that it never changes an outcome.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

/// Counts what kvm-vfio asks of VFIO.
struct counting_symbols : sim::symbols {
  using sim::symbols::symbols;
  bool file_enforced_coherent(const file& f) noexcept {
    ++asked;
    return sim::symbols::file_enforced_coherent(f);
  }
  std::size_t asked = 0;
};
static_assert(kvm_vfio::epoch_symbol_provider<counting_symbols>);

std::size_t asked_for_plugging(int files) {
  machine_under_test<> m(many(2 * files, 1));
  device_beside<counting_symbols, kvm_vfio::linux_7_3> p(m.world);
  for (int g = 0; g < 2 * files; g += 2)
    REQUIRE(p.dev.add(m.task.file_of(m.open(("/dev/vfio/" + std::to_string(g)).c_str()))) ==
            errc::ok);
  CHECK(p.vm.noncoherent() == 0);
  return p.vfio.asked;
}

}  // namespace

TEST_CASE("plugging begins no epoch, so each file is asked once") {
  CHECK(asked_for_plugging(50) == 50);
  CHECK(asked_for_plugging(500) == 500);
}

TEST_CASE("the epoch changes with VFIO's module, once each time") {
  sim::world world(two_groups());
  sim::symbols vfio(world);
  const auto first = vfio.coherency_epoch();
  vfio.load(true);
  CHECK(vfio.coherency_epoch() == first);
  vfio.load(false);
  const auto second = vfio.coherency_epoch();
  CHECK(second != first);
  vfio.load(true);
  CHECK(vfio.coherency_epoch() != first);
  CHECK(vfio.coherency_epoch() != second);
}

TEMPLATE_TEST_CASE("containers begin an epoch where they answer for their groups", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  machine_under_test<TestType> m;
  sim::symbols vfio(m.world);
  const bool counts = m.world.release().coherency_of_container;
  CHECK(counts == std::is_same_v<TestType, kvm_vfio::linux_6_1>);
  auto epoch = vfio.coherency_epoch();
  const auto began = [&] {
    const auto before = std::exchange(epoch, vfio.coherency_epoch());
    return epoch != before;
  };
  const int g1 = m.open("/dev/vfio/1");
  const int g2 = m.open("/dev/vfio/2");
  const int c = m.open("/dev/vfio/vfio");
  CHECK_FALSE(began());
  CHECK(m.set_container(g1, c) == errc::ok);
  CHECK(began() == counts);
  CHECK(m.set_container(g1, c) != errc::ok);
  CHECK_FALSE(began());
  CHECK(m.set_iommu(c) == errc::ok);
  CHECK(began() == counts);
  CHECK(m.set_iommu(c) != errc::ok);
  CHECK_FALSE(began());
  CHECK(m.set_container(g2, c) == errc::ok);
  CHECK(began() == counts);
  CHECK(m.ioctl(g1, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
  CHECK(began() == counts);
  CHECK(m.task.close(g2));
  CHECK(began() == counts);
}

// Two devices over one world, one with the epoch and one without, take the same random steps.
TEMPLATE_TEST_CASE("with the epoch and without it KVM hears the same", "", kvm_vfio::linux_6_1,
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  constexpr int groups = 6;
  constexpr int steps = 20000;
  std::mt19937 random(1);
  machine_under_test<TestType> m(many(groups, 1));
  with_and_without_epoch<counting_symbols, TestType> both(m.world);
  int containers[2] = {m.open("/dev/vfio/vfio"), m.open("/dev/vfio/vfio")};
  std::optional<int> fds[groups];
  bool tracked[groups] = {};
  int edges = 0;
  int mismatches = 0;
  const auto del = [&](int g) {
    const auto file = m.task.file_of(*fds[g]);
    const auto [with, without] = both.del(file);
    mismatches += with != without;
    tracked[g] = false;
  };
  for (int i = 0; i < steps; ++i) {
    const int g = static_cast<int>(random() % groups);
    int& container = containers[random() % 2];
    const int noncoherent = both.with.vm.noncoherent();
    switch (random() % 8) {
      case 0:
        if (fds[g]) (void)m.set_container(*fds[g], container);
        break;
      case 1: (void)m.set_iommu(container); break;
      case 2:
        if (fds[g]) (void)m.ioctl(*fds[g], VFIO_GROUP_UNSET_CONTAINER);
        break;
      case 3:
        if (!fds[g]) {
          fds[g] = m.open(("/dev/vfio/" + std::to_string(g)).c_str());
        } else if (random() % 8 == 0) {
          if (tracked[g]) del(g);
          REQUIRE(m.task.close(*fds[g]));
          fds[g].reset();
        }
        break;
      case 4:
        if (random() % 16 == 0) both.load(random() % 4 != 0);
        break;
      case 5:
        if (fds[g]) del(g);
        break;
      default:
        if (fds[g]) {
          const auto file = m.task.file_of(*fds[g]);
          const auto [with, without] = both.add(file);
          mismatches += with != without;
          tracked[g] |= with == errc::ok;
        }
    }
    edges += both.with.vm.noncoherent() != noncoherent;
    mismatches += !both.same();
  }
  CHECK(mismatches == 0);
  CHECK(edges > steps / 100);
  CHECK(both.with.vfio.asked < both.without.vfio.asked);
  for (int g = 0; g < groups; ++g)
    if (tracked[g]) del(g);
}
