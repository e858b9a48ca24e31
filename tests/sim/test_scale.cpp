// SPDX-License-Identifier: BSL-1.0
// Many groups, and many threads. Counts operations; nothing depends on time.
#include "fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <kvm_vfio/trace/checker.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace {
/// Counts the calls by kind of answer.
struct counter final : trace::call_observer {
  void called(const trace::call& c) override { ++(c.error == errc::ok ? ok : failed); }
  std::size_t ok = 0;
  std::size_t failed = 0;
};
}  // namespace

TEST_CASE("1,000 groups with 4,000 devices: plugged, seen, unplugged") {
  constexpr int groups = 1000;
  constexpr int devices = 4;
  const auto start = std::chrono::steady_clock::now();
  machine_under_test<> m(many(groups, devices));
  counter calls;
  trace::checker check;
  m.task.observe(calls);
  m.task.observe(check);
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int container = m.open("/dev/vfio/vfio");
  std::vector<int> group_fds;
  std::vector<int> device_fds;
  for (int g = 0; g < groups; ++g) {
    group_fds.push_back(m.open(("/dev/vfio/" + std::to_string(g)).c_str()));
    REQUIRE(m.set_container(group_fds.back(), container) == errc::ok);
    if (g == 0) REQUIRE(m.set_iommu(container) == errc::ok);
    REQUIRE(m.add(dev, group_fds.back()) == errc::ok);
    for (int d = 0; d < devices; ++d)
      device_fds.push_back(m.device_fd(group_fds.back(), name_of_many(g, d).c_str()).value());
  }
  const sim::snapshot s = m.kernel.look();
  CHECK(s.vms.at(0).tracked.size() == groups);
  CHECK(s.vms[0].tracked[999].name == "/dev/vfio/999");
  CHECK(s.vms[0].noncoherent == 1);
  CHECK(s.vms[0].users == 2 + groups * devices);
  CHECK(s.containers.at(0).domains.size() == 2);

  for (const int d : device_fds) REQUIRE(m.task.close(d));
  for (const int g : group_fds) {
    REQUIRE(m.del(dev, g) == errc::ok);
    REQUIRE(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
    REQUIRE(m.task.close(g));
  }
  REQUIRE(m.task.close(dev));
  CHECK(m.kernel.vm(0).noncoherent() == 0);
  CHECK(m.kernel.vm(0).users() == 1);
  // /dev/kvm, the VM, its device, the container with its IOMMU: 5 and a close; a group: six calls;
  // a device: two.
  CHECK(calls.ok == 6 + groups * (6 + devices * 2));
  CHECK(calls.failed == 0);
  INFO(check.text());
  CHECK(check.reports().empty());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("1000 groups, 4000 devices, %zu calls: %.3f s\n", calls.ok, took.count());
}

TEST_CASE("threads plug and unplug beside each other, each a group of one VM and one container") {
  constexpr int threads = 4;
  constexpr int rounds = 50;
  machine_under_test<> m(many(threads + 1, 2));
  const int dev = m.create_kvm_vfio(m.create_vm());
  int container = -1;
  REQUIRE(m.group_with_iommu(("/dev/vfio/" + std::to_string(threads)).c_str(), &container) >= 0);
  const std::size_t before = m.task.descriptors();
  int failures[threads] = {};
  const auto plug = [&](int t) {
    for (int i = 0; i < rounds; ++i) {
      const sim::answer g = m.task.open(("/dev/vfio/" + std::to_string(t)).c_str());
      if (!g) {
        ++failures[t];
        continue;
      }
      const int fd = static_cast<int>(*g);
      failures[t] += m.set_container(fd, container) != errc::ok;
      failures[t] += m.add(dev, fd) != errc::ok;
      const auto d = m.device_fd(fd, name_of_many(t, i % 2).c_str());
      failures[t] += !d || !m.task.close(static_cast<int>(*d));
      failures[t] += m.del(dev, fd) != errc::ok;
      failures[t] += !m.task.close(fd);
    }
  };
  support::on_threads(threads, plug, [&] {
    for (int i = 0; i < rounds; ++i) (void)m.kernel.look();  // and someone looks on
  });
  for (const int f : failures) CHECK(f == 0);
  CHECK(m.task.descriptors() == before);
  CHECK(m.kernel.vm(0).noncoherent() == 0);
  CHECK(m.kernel.vms().at(0).tracked.empty());
  CHECK(m.kernel.look().containers.at(0).groups == std::vector{threads});
}
