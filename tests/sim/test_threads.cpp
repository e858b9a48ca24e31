// SPDX-License-Identifier: BSL-1.0
// Threads on one simulated VFIO: that a coherency epoch misses nothing, and that onlookers disturb
// nobody.
#include "fixture.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

#include <kvm_vfio/sim/system/memory_file.hpp>
#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/iommufd_tables.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace u = kvm_vfio::uapi;

std::string path_of(int group) { return "/dev/vfio/" + std::to_string(group); }

}  // namespace

// Each thread has groups of its own that it adds, deletes, closes and opens; all of them move
// whichever group they like between the containers.
TEMPLATE_TEST_CASE("threads move groups: with the epoch and without it KVM hears the same at rest",
                   "", kvm_vfio::linux_6_1, kvm_vfio::linux_7_3) {
  constexpr int groups = 48, threads = 4, rounds = 12, steps = 400;
  machine_under_test<TestType> m(many(groups + 1, 1));
  with_and_without_epoch<sim::symbols, TestType, sim::mutex> both(m.world);
  std::array<int, 4> containers{};
  for (int& c : containers) c = m.open("/dev/vfio/vfio");
  std::array<std::atomic<int>, groups> fds{};
  for (int g = 0; g < groups; ++g) fds[static_cast<std::size_t>(g)] = m.open(path_of(g).c_str());
  const auto spare = m.task.file_of(m.open(path_of(groups).c_str()));
  std::array<std::atomic<int>, 2> moved{};  // into a container, out of one
  int heard[2] = {};
  std::size_t most = 0;
  for (int round = 0; round < rounds; ++round) {
    support::on_threads(threads, [&](int t) {
      std::minstd_rand random(static_cast<unsigned>(round * threads + t + 1));
      for (int i = 0; i < steps; ++i) {
        const auto any = static_cast<int>(random() % groups);
        const int fd = fds[static_cast<std::size_t>(any)];
        const int own = any - any % threads + t;
        std::atomic<int>& own_fd = fds[static_cast<std::size_t>(own)];
        const int container = containers[random() % containers.size()];
        switch (random() % 10) {
          case 0:
          case 1:
            if (fd >= 0 && m.set_container(fd, container) == errc::ok) ++moved[0];
            break;
          case 2:
            if (fd >= 0 && m.ioctl(fd, VFIO_GROUP_UNSET_CONTAINER) == errc::ok) ++moved[1];
            break;
          case 3: (void)m.set_iommu(container); break;
          case 4:
            if (t == 0 && random() % 4 == 0) {
              both.load(random() % 4 != 0);
            } else if (t == 1) {
              (void)sim::snapshot_of(m.world);
            }
            break;
          case 5:
            if (own_fd < 0) {
              // Busy for as long as somebody's call still has the file.
              if (const sim::answer a = m.task.open(path_of(own).c_str()))
                own_fd = static_cast<int>(*a);
            } else if (random() % 8 == 0) {
              (void)both.del(m.task.file_of(own_fd));
              (void)m.task.close(own_fd.exchange(-1));
            }
            break;
          case 6:
            if (own_fd >= 0) (void)both.del(m.task.file_of(own_fd));
            break;
          default:
            if (own_fd >= 0) (void)both.add(m.task.file_of(own_fd));
        }
      }
    });
    // VFIO may have gone between the two ADDs of a file.
    both.load(true);
    for (const auto& fd : fds) {
      if (fd < 0) continue;
      const auto [a, b] = both.add(m.task.file_of(fd));
      CHECK((a == errc::ok || a == errc::exists));
      CHECK((b == errc::ok || b == errc::exists));
    }
    // Answers may have changed after the last update.
    for (int again = 0; again < 2; ++again) {
      CHECK(both.add(spare) == std::pair(errc::ok, errc::ok));
      CHECK(both.same());
      CHECK(both.del(spare) == std::pair(errc::ok, errc::ok));
      CHECK(both.same());
    }
    most = std::max(most, both.with.dev.size());
    ++heard[both.with.dev.noncoherent()];
    // Half of the rounds begin with nothing in a container, and with coherent groups only.
    for (int g = 0; g < groups && round % 2 == 0; ++g) {
      const int fd = fds[static_cast<std::size_t>(g)];
      if (fd < 0) continue;
      (void)m.ioctl(fd, VFIO_GROUP_UNSET_CONTAINER);
      if (g % 2 == 0) continue;
      CHECK(both.del(m.task.file_of(fd)) == std::pair(errc::ok, errc::ok));
    }
    if (round % 2 == 0) {
      CHECK(both.same());
      ++heard[both.with.dev.noncoherent()];
    }
  }
  CHECK(moved[0] > 0);
  CHECK(moved[1] > 0);
  CHECK(heard[false] > 0);
  CHECK(heard[true] > 0);
  CHECK(most > 16);
}

// A file that is looked at is closed by its last close all the same.
TEST_CASE("onlookers do not keep files open") {
  constexpr int threads = 2, rounds = 200;
  machine_under_test<> m(many(threads + 20, 1));
  const int dev = m.create_kvm_vfio(m.create_vm());
  for (int g = threads; g < threads + 20; ++g)
    REQUIRE(m.add(dev, m.open(path_of(g).c_str())) == errc::ok);
  std::atomic<int> working = threads;
  std::array<int, threads> failures{};
  std::size_t looks = 0;
  int surprises = 0;
  support::on_threads(threads + 1, [&](int t) {
    if (t == threads) {
      do {
        const std::vector<sim::vm_state> seen = m.kernel.vms();
        surprises += seen.size() != 1 || seen[0].tracked.size() < 20;
        for (const sim::file_state& f : seen[0].tracked)
          surprises += f.name.rfind("/dev/vfio/", 0) != 0;
        ++looks;
      } while (working > 0);
      return;
    }
    int& failed = failures[static_cast<std::size_t>(t)];
    for (int i = 0; i < rounds; ++i) {
      const sim::answer fd = m.task.open(path_of(t).c_str());
      if (!fd) {
        ++failed;
        continue;
      }
      failed += m.add(dev, static_cast<int>(*fd)) != errc::ok;
      failed += m.del(dev, static_cast<int>(*fd)) != errc::ok;
      failed += !m.task.close(static_cast<int>(*fd));
    }
    --working;
  });
  for (const int f : failures) CHECK(f == 0);
  CHECK(surprises == 0);
  CHECK(looks > 0);
  const std::vector<sim::vm_state> seen = m.kernel.vms();
  CHECK(seen.at(0).tracked.size() == 20);
  // A descriptor's reference and the device's.
  for (const sim::file_state& f : seen[0].tracked) CHECK(f.references == 2);
}

TEST_CASE("a kvm-vfio goes while its VM is looked at") {
  machine_under_test<> m(many(20, 1));
  const int vm = m.create_vm();
  std::array<int, 20> fds{};
  for (int g = 0; g < 20; ++g) fds[static_cast<std::size_t>(g)] = m.open(path_of(g).c_str());
  std::atomic<bool> working = true;
  int failed = 0, surprises = 0;
  support::on_threads(2, [&](int t) {
    if (t == 0) {
      for (int i = 0; i < 100; ++i) {
        const int dev = m.create_kvm_vfio(vm);
        for (const int fd : fds) failed += m.add(dev, fd) != errc::ok;
        failed += !m.task.close(dev);
      }
      working = false;
      return;
    }
    do {
      const std::vector<sim::vm_state> seen = m.kernel.vms();
      surprises += seen[0].tracked.size() > (seen[0].has_device ? fds.size() : 0);
    } while (working);
  });
  CHECK(failed == 0);
  CHECK(surprises == 0);
  CHECK_FALSE(m.kernel.vms().at(0).has_device);
  for (const int fd : fds) CHECK(m.task.file_of(fd)->references() == 1);
}

namespace {
// Which descriptors are open, as far as an observer was told; counts what cannot be.
class open_descriptors final : public trace::call_observer {
 public:
  void called(const trace::call& c) override {
    if (c.error != errc::ok) return;
    const kvm_vfio::guard held(mutex_);
    if (c.kind == trace::call_kind::open) impossible += !open_.insert(c.made).second;
    if (c.kind == trace::call_kind::close) impossible += open_.erase(c.fd) == 0;
  }
  int impossible = 0;

 private:
  sim::mutex mutex_;
  std::set<int> open_;
};
}  // namespace

TEST_CASE("observers hear of a close before they hear of the next file of that number") {
  machine_under_test<> m(many(1, 1));
  open_descriptors seen;
  m.task.observe(seen);
  support::on_threads(4, [&](int) {
    for (int i = 0; i < 2000; ++i)
      (void)m.task.close(static_cast<int>(m.task.open("/dev/vfio/vfio").value()));
  });
  CHECK(seen.impossible == 0);
  CHECK(m.task.descriptors() == 0);
  // One after the other, the lowest number is given again.
  const int fd = m.open("/dev/vfio/vfio");
  CHECK(m.task.close(fd));
  CHECK(m.open("/dev/vfio/vfio") == fd);
}

TEST_CASE("threads map and unmap a BAR: each fault is met once, and no mapping is left") {
  constexpr int threads = 4, steps = 300;
  constexpr std::size_t faults = 40;
  machine_under_test<> m;
  const int device = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  for (std::size_t i = 1; i <= faults; ++i)
    m.task.fail({.kind = trace::call_kind::mmap, .nth = 20 * i, .error = errc::nomem});
  const std::uint64_t before = m.task.calls();
  std::atomic<std::size_t> refused = 0, left = 0;
  support::on_threads(threads, [&](int t) {
    const std::size_t size = static_cast<std::size_t>(t + 1) * sim::process::page_size;
    for (int i = 0; i < steps; ++i) {
      const sim::answer at = m.task.mmap(size, PROT_READ, device, 0);
      refused += at.error() == errc::nomem;
      if (at && !m.task.munmap(reinterpret_cast<void*>(static_cast<std::uintptr_t>(*at)), size))
        ++left;
    }
  });
  CHECK(refused == faults);
  CHECK(left == 0);
  CHECK(m.task.faults_left() == 0);
  CHECK(m.task.mappings() == 0);
  CHECK(m.task.calls() - before == 2 * threads * steps - faults);
}

TEST_CASE("a process ends while other threads use it, and onlookers count") {
  constexpr int threads = 3, rounds = 100;
  machine_under_test<> m(many(4, 1));
  std::atomic<int> working = threads;
  std::atomic<bool> seen = false;
  support::on_threads(threads + 2, [&](int t) {
    if (t == threads) {
      // Otherwise, the process might have nothing whenever the onlooker looks.
      while (!seen) std::this_thread::yield();
      do {
        m.task.exit();
        std::this_thread::yield();
      } while (working > 0);
      return;
    }
    if (t > threads) {
      do {
        const std::size_t open = m.task.descriptors() + m.task.mappings();
        if (open > 0 && m.world.containers() + m.world.iommufds() > 0) seen = true;
      } while (working > 0 || !seen);
      return;
    }
    for (int i = 0; i < rounds; ++i) {
      // Any of these fails if the process has ended in between.
      const sim::answer container = m.task.open(t == 0 ? "/dev/iommu" : "/dev/vfio/vfio");
      const sim::answer group = m.task.open(path_of(t).c_str());
      if (!container || !group) continue;
      (void)m.set_container(static_cast<int>(*group), static_cast<int>(*container));
      m.task.limit(1000);
      (void)m.task.dup(static_cast<int>(*group), 10);
      (void)m.task.close(static_cast<int>(*group));
    }
    --working;
  });
  m.task.exit();
  CHECK(m.task.descriptors() == 0);
  CHECK(m.world.containers() == 0);
  CHECK(m.world.iommufds() == 0);
}

TEST_CASE("threads never see a fault queue whose making fails") {
  constexpr int rounds = 5000;
  sim::topology t = two_groups();
  t.iommus[0].name = "dmar0";
  for (sim::group_spec& g : t.groups) g.iommu = "dmar0";
  machine_under_test<> m(t);
  const int iommufd = m.open("/dev/iommu");
  const std::uint32_t space = m.alloc_ioas(iommufd);
  const int device = m.open("/dev/vfio/devices/vfio0");
  u::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = iommufd, .out_devid = 0};
  REQUIRE(m.ioctl_at(device, u::request_bind_iommufd, bind) == errc::ok);
  alignas(4) static u::iommu_fault_alloc queue{16, 0, 0, 0};
  m.memory.forbid(&queue, sizeof queue, /*readable=*/true);
  std::atomic<bool> ended = false;
  std::atomic<int> made = 0, seen = 0;
  support::on_threads(2, [&](int thread) {
    if (thread == 0) {
      for (int i = 0; i < rounds; ++i)
        made += m.ioctl_at(iommufd, u::request_fault_queue_alloc, queue) == errc::ok;
      ended = true;
      return;
    }
    do {
      u::iommu_hwpt_alloc c{};
      c.size = sizeof c;
      c.flags = u::hwpt_fault_id_valid;
      c.dev_id = bind.out_devid;
      c.pt_id = space;
      c.fault_id = bind.out_devid + 1;  // the number that a queue would get
      seen += m.ioctl_at(iommufd, u::request_hwpt_alloc, c) != errc::noent;
    } while (!ended);
  });
  CHECK(made == 0);
  CHECK(seen == 0);
}

namespace {

// Makes random calls of a process, most of them on descriptors and objects that exist. The sequence
// depends on the seed and on what other threads do.
class random_calls {
 public:
  random_calls(sim::process& task, unsigned seed) : task_(task), random_(seed) {}

  void call() {
    static constexpr void (random_calls::* all[])() = {
        &random_calls::opens,   &random_calls::closes,     &random_calls::closes,
        &random_calls::groups,  &random_calls::kvm_vfio,   &random_calls::objects,
        &random_calls::devices, &random_calls::mappings,   &random_calls::mappings,
        &random_calls::files,   &random_calls::interrupts, &random_calls::destroys};
    (this->*all[number(std::size(all))])();
  }

 private:
  unsigned number(std::size_t below) { return static_cast<unsigned>(random_() % below); }
  int fd() { return static_cast<int>(number(24)); }
  std::uint32_t id() { return 1 + number(6); }
  std::uint64_t iova() { return 0x1000 * std::uint64_t{number(64)}; }
  template <class T>
  void on_any(unsigned long request, T argument) {
    argument.size = sizeof argument;
    (void)task_.ioctl(fd(), request, support::address_of(argument));
  }
  template <class T>
  void on_device(unsigned long request, T argument) {
    argument.argsz = sizeof argument;
    (void)task_.ioctl(fd(), request, support::address_of(argument));
  }

  void opens() {
    static constexpr const char* paths[] = {
        "/dev/vfio/1", "/dev/vfio/vfio",          "/dev/iommu",
        "/dev/iommu",  "/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio2",
        "/dev/kvm"};
    (void)task_.open(paths[number(std::size(paths))]);
  }
  void closes() { (void)task_.close(fd()); }
  void groups() {
    const std::int32_t container = fd();
    const int on = fd();
    (void)task_.ioctl(on, VFIO_GROUP_SET_CONTAINER, support::address_of(container));
    (void)task_.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
    (void)task_.ioctl(on, VFIO_GROUP_GET_DEVICE_FD,
                      reinterpret_cast<std::uintptr_t>("0000:00:04.0"));
    if (number(2) == 0) (void)task_.ioctl(on, VFIO_GROUP_UNSET_CONTAINER, 0);
  }
  void kvm_vfio() {
    (void)task_.ioctl(fd(), KVM_CREATE_VM, 0);
    kvm_create_device create{.type = KVM_DEV_TYPE_VFIO, .fd = 0, .flags = 0};
    (void)task_.ioctl(fd(), KVM_CREATE_DEVICE, support::address_of(create));
    const std::int32_t file = fd();
    const kvm_device_attr attr{.flags = 0,
                               .group = u::dev_vfio_file,
                               .attr = 1 + std::uint64_t{number(2)},
                               .addr = support::address_of(file)};
    (void)task_.ioctl(fd(), KVM_SET_DEVICE_ATTR, support::address_of(attr));
  }
  void objects() {
    on_any(u::request_ioas_alloc, u::iommu_ioas_alloc{});
    on_any(u::request_fault_queue_alloc, u::iommu_fault_alloc{});
    u::iommu_hwpt_alloc table{};
    table.dev_id = id();
    table.pt_id = id();
    table.flags = number(2) == 0 ? 0 : u::hwpt_fault_id_valid;
    table.fault_id = id();
    on_any(u::request_hwpt_alloc, table);
  }
  void devices() {
    on_device(u::request_bind_iommufd, u::device_bind_iommufd{0, 0, fd(), 0});
    on_device(u::request_attach_iommufd_pt, u::device_attach_iommufd_pt{0, 0, id()});
    if (number(3) == 0) on_device(u::request_detach_iommufd_pt, u::device_detach_iommufd_pt{});
  }
  void mappings() {
    u::iommu_ioas_map map{};
    map.flags = u::map_readable | u::map_fixed_iova;
    map.ioas_id = id();
    map.user_va = 0x100000;
    map.length = 0x1000;
    map.iova = iova();
    on_any(u::request_ioas_map, map);
    u::iommu_ioas_copy copy{};
    copy.flags = u::map_readable;
    copy.dst_ioas_id = id();
    copy.src_ioas_id = id();
    copy.length = 0x1000;
    copy.src_iova = map.iova;
    on_any(u::request_ioas_copy, copy);
    u::iommu_ioas_unmap unmap{};
    unmap.ioas_id = id();
    unmap.length = number(2) == 0 ? ~std::uint64_t{0} : 0x1000;
    unmap.iova = unmap.length == 0x1000 ? iova() : 0;
    on_any(u::request_ioas_unmap, unmap);
  }
  void files() {
    if (number(4) == 0) (void)task_.insert(sim::file_ref(new sim::memory_file(0x10000)));
    u::iommu_ioas_map_file map{};
    map.flags = u::map_readable | (number(2) == 0 ? 0 : u::map_fixed_iova);
    map.ioas_id = id();
    map.fd = fd();
    map.length = 0x1000;
    map.iova = iova();
    on_any(u::request_ioas_map_file, map);
    on_any(u::request_ioas_change_process, u::iommu_ioas_change_process{});
  }
  void interrupts() {
    (void)task_.eventfd();
    struct irqs {
      std::uint32_t argsz, flags, index, start, count;
      std::int32_t fd;
    };
    on_device(VFIO_DEVICE_SET_IRQS, irqs{0, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                         number(3), 0, 1, fd()});
    (void)task_.ioctl(fd(), KVM_CREATE_IRQCHIP, 0);
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(fd());
    irqfd.gsi = 5;
    (void)task_.ioctl(fd(), KVM_IRQFD, support::address_of(irqfd));
  }
  void destroys() { on_any(u::request_destroy, u::iommu_destroy{.size = 0, .id = id()}); }

  sim::process& task_;
  std::minstd_rand random_;
};

}  // namespace

TEST_CASE("threads make random calls on two processes, while another one looks and ends one") {
  constexpr int threads = 4, rounds = 1000;
  sim::topology t = two_groups();
  t.iommus[0].name = "dmar0";
  for (sim::group_spec& g : t.groups) g.iommu = "dmar0";
  const bool ends = GENERATE(false, true);
  trace::checker check;
  machine_under_test<> m(t);
  sim::memory memory;
  sim::process second(m.kernel, memory, 2);
  for (sim::process* const p : {&m.task, &second}) {
    p->observe(check);
    p->limit(22);
  }
  std::atomic<int> working = threads;
  std::size_t seen = 0;
  support::on_threads(
      threads,
      [&](int thread) {
        random_calls calls(thread % 2 == 0 ? m.task : second, static_cast<unsigned>(thread) + 1);
        for (int i = 0; i < rounds; ++i) calls.call();
        --working;
      },
      [&] {
        do {
          seen += m.kernel.look().groups.size() + m.task.descriptors() + m.task.mappings();
          seen += static_cast<std::size_t>(m.world.containers() + m.world.iommufds());
          seen += check.text().size();
          if (ends) m.task.exit();
        } while (working > 0);
      });
  CHECK(seen > 0);
  for (sim::process* const p : {&m.task, &second}) {
    p->exit();
    CHECK(p->descriptors() == 0);
  }
}
