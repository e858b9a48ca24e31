// SPDX-License-Identifier: BSL-1.0
// The checker accuses no right VMM: numbers that threads use again, processes that share an address
// space, forks, and descriptors that are replaced.
#include "support/catch.hpp"
#include "watched.hpp"

#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/trace/timeline.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <sys/mman.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace {

using trace::rule;

// A VMM with a device, in a process of its own.
struct vmm_process : support::vmm<support::sim_system> {
  using client = support::vmm<support::sim_system>;
  vmm_process(machine_under_test<>& m, sim::memory& memory, int space, trace::call_observer& check)
      : client(support::sim_system(task)), task(m.kernel, memory, space) {
    task.observe(check);
  }
  void plug(const char* group_path, const char* device) {
    vm = create_vm(open("/dev/kvm").value()).value();
    dev = create_kvm_vfio(vm).value();
    group = open(group_path).value();
    container = open("/dev/vfio/vfio").value();
    REQUIRE(set_container(group, container) == errc::ok);
    REQUIRE(set_iommu(container) == errc::ok);
    REQUIRE(add(dev, group) == errc::ok);
    fd = device_fd(group, device).value();
  }
  void unplug() {
    REQUIRE(close(fd) == errc::ok);
    REQUIRE(del(dev, group) == errc::ok);
    REQUIRE(unset_container(group) == errc::ok);
    for (const int each : {group, container, dev, vm}) REQUIRE(close(each) == errc::ok);
  }
  sim::process task;
  int vm = -1, dev = -1, group = -1, container = -1, fd = -1;
};

}  // namespace

TEST_CASE("two processes of one address space have different descriptors") {
  machine_under_test<> m;
  trace::checker check;
  vmm_process first(m, m.memory, 5, check);
  vmm_process second(m, m.memory, 5, check);
  first.plug("/dev/vfio/1", device_name);
  second.plug("/dev/vfio/2", "0000:00:05.0");
  CHECK(first.fd == second.fd);
  SECTION("both unplug") {
    second.unplug();
    first.unplug();
    CHECK(check.text().empty());
  }
  SECTION("one of them ends") {
    first.task.exit();
    second.unplug();
    CHECK(check.text().empty());
  }
  SECTION("a mistake of the second one is reported, with the number of the process") {
    REQUIRE(second.close(second.fd) == errc::ok);
    REQUIRE(second.close(second.group) == errc::ok);
    const std::vector<trace::report> all = check.reports();
    REQUIRE_FALSE(all.empty());
    CHECK(all[0].broken == rule::close_without_del);
    for (const trace::report& r : all) CHECK(r.by.process == 5);
    first.unplug();
    CHECK(check.reports().size() == all.size());
  }
  SECTION("a child of the second one") {
    sim::process child(m.kernel, m.memory, 6);
    child.observe(check);
    second.task.fork_into(child);
    second.task.exit();
    CHECK(check.text().empty());
    REQUIRE(child.close(second.fd));
    REQUIRE(child.close(second.group));
    CHECK(check.count(rule::close_without_del) == 1);
    first.unplug();
  }
}

TEST_CASE(
    "a process of the same address space opens another group at the number of the first one") {
  machine_under_test<> m;
  trace::checker check;
  vmm_process first(m, m.memory, 5, check);
  vmm_process second(m, m.memory, 5, check);
  const int vm = first.create_vm(first.open("/dev/kvm").value()).value();
  const int dev = first.create_kvm_vfio(vm).value();
  const int group = first.open("/dev/vfio/1").value();
  const int container = first.open("/dev/vfio/vfio").value();
  REQUIRE(first.set_container(group, container) == errc::ok);
  REQUIRE(first.set_iommu(container) == errc::ok);
  const int other_vm = second.create_vm(second.open("/dev/kvm").value()).value();
  REQUIRE(second.create_kvm_vfio(other_vm).value() == dev);
  REQUIRE(second.open("/dev/vfio/2").value() == group);
  REQUIRE(first.add(dev, group) == errc::ok);
  CHECK(check.text().empty());
}

TEST_CASE("a child that inherits descriptors and closes them changes nothing for its parent") {
  machine_under_test<> m;
  trace::checker check;
  vmm_process parent(m, m.memory, 5, check);
  parent.plug("/dev/vfio/1", device_name);
  sim::memory other;
  sim::process child(m.kernel, other, 6);
  child.observe(check);
  parent.task.fork_into(child);
  for (const int fd : {parent.fd, parent.group, parent.container, parent.dev, parent.vm})
    REQUIRE(child.close(fd));
  for (int i = 0; i < 5; ++i) REQUIRE(child.eventfd());  // the numbers are used again
  child.exit();
  parent.unplug();
  CHECK(check.text().empty());
}

TEST_CASE("dup2 over a descriptor, and onto the descriptor itself") {
  machine_under_test<> m;
  trace::checker check;
  vmm_process vmm(m, m.memory, 5, check);
  vmm.plug("/dev/vfio/1", device_name);
  const auto dup2 = [&](int from, int to) {
    sim::file* const f = vmm.task.file_of(from);
    f->get();
    REQUIRE(vmm.task.install_at(to, f));
  };
  dup2(vmm.group, vmm.group);
  dup2(vmm.dev, vmm.dev);
  dup2(vmm.fd, vmm.fd);
  CHECK(vmm.task.file_of(vmm.group)->references() == 3);  // kvm-vfio and the device have one each
  dup2(vmm.group, 40);
  dup2(vmm.group, 40);
  dup2(vmm.fd, 40);
  CHECK(vmm.task.file_of(vmm.group)->references() == 3);
  REQUIRE(vmm.close(40) == errc::ok);
  CHECK(vmm.add(vmm.dev, vmm.group) == errc::exists);
  CHECK(check.count(rule::add_repeated) == 1);
  vmm.unplug();
  CHECK(check.reports().size() == 1);
}

TEST_CASE("add-before-iommu: the last group has left the container, and with it the IOMMU driver") {
  watched<kvm_vfio::linux_6_1> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  int container = -1;
  const int g = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.del(dev, g) == errc::ok);
  SECTION("by UNSET_CONTAINER") {
    REQUIRE(m.unset_container(g) == errc::ok);
    REQUIRE(m.set_container(g, container) == errc::ok);
    REQUIRE(m.add(dev, g) == errc::ok);
  }
  SECTION("by the close of its file, for another group") {
    REQUIRE(m.unset_container(g) == errc::ok);
    REQUIRE(m.close(g) == errc::ok);
    const int other = m.open("/dev/vfio/2");
    REQUIRE(m.set_container(other, container) == errc::ok);
    REQUIRE(m.add(dev, other) == errc::ok);
  }
  CHECK(m.broken() == rules{rule::add_before_iommu});
}

TEST_CASE("an attribute of another device of KVM is not FILE_ADD") {
  trace::checker check;
  const auto tell = [&](trace::call c) { check.called(c); };
  tell({.kind = trace::call_kind::open, .text = "/dev/vfio/1", .error = errc::noent, .value = -1});
  // A vCPU has attributes with the numbers of FILE_ADD and FILE_DEL. What they point to can be any
  // number, also a negative one.
  for (const std::uint64_t attribute : {std::uint64_t{1}, std::uint64_t{2}})
    tell({.kind = trace::call_kind::ioctl,
          .fd = 9,
          .request = KVM_SET_DEVICE_ATTR,
          .attribute = attribute,
          .subject = -1,
          .error = errc::nxio,
          .value = -1});
  CHECK(check.text().empty());
}

namespace {

// A system in which another thread gets each number as soon as it is free.
struct busy_system : sim::process_ref {
  [[nodiscard]] kvm_vfio::result<int> open(const char*, int) const noexcept { return 5; }
  errc close(int) const noexcept { return freed(trace::call_kind::open); }
  [[nodiscard]] kvm_vfio::result<void*> mmap(std::size_t, int, int, std::uint64_t) const noexcept {
    return reinterpret_cast<void*>(0x10000);
  }
  errc munmap(void*, std::size_t) const noexcept { return freed(trace::call_kind::mmap); }
  errc freed(trace::call_kind next) const noexcept {
    (*use)(next);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return errc::ok;
  }
  const std::function<void(trace::call_kind)>* use = nullptr;
};

}  // namespace

TEST_CASE("a watched system tells of a close before another thread's open of the same number") {
  trace::timeline all;
  std::vector<std::thread> threads;
  std::function<void(trace::call_kind)> use;
  busy_system system;
  system.use = &use;
  const trace::watched_system<busy_system> watched(system, all);
  use = [&](trace::call_kind kind) {
    threads.emplace_back([&watched, kind] {
      if (kind == trace::call_kind::open) (void)watched.open("/dev/vfio/1", 0);
      else (void)watched.mmap(4096, PROT_READ, 5, 0);
    });
  };
  const int fd = watched.open("/dev/vfio/1", 0).value();
  CHECK(watched.close(fd) == errc::ok);
  void* const at = watched.mmap(4096, PROT_READ, fd, 0).value();
  CHECK(watched.munmap(at, 4096) == errc::ok);
  for (std::thread& t : threads) t.join();
  std::vector<trace::call_kind> kinds;
  for (const trace::call& c : all.calls()) kinds.push_back(c.kind);
  using kind = trace::call_kind;
  const auto position = [&](kind wanted, int nth) {
    for (std::size_t i = 0; i < kinds.size(); ++i)
      if (kinds[i] == wanted && nth-- == 0) return i;
    return kinds.size();
  };
  REQUIRE(kinds.size() == 6);
  CHECK(position(kind::close, 0) < position(kind::open, 1));
  CHECK(position(kind::munmap, 0) < position(kind::mmap, 1));
}
