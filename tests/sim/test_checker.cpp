// SPDX-License-Identifier: BSL-1.0
// Every rule of the checker, the mistakes that VMMs have made, and a VMM that makes none.
#include "fixture.hpp"
#include "support/catch.hpp"
#include "watched.hpp"

#include <kvm_vfio/sim/process_ref.hpp>
#include <kvm_vfio/trace/checker.hpp>
#include <kvm_vfio/trace/timeline.hpp>
#include <kvm_vfio/trace/watched_endpoint.hpp>
#include <kvm_vfio/trace/watched_system.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

using trace::rule;

TEST_CASE("a VMM that does everything in order is not reported") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  int container = -1;
  const int g = m.group_with_iommu("/dev/vfio/1", &container);
  REQUIRE(m.add(dev, g) == errc::ok);
  const int d = m.device_fd(g, device_name).value();
  const int event = static_cast<int>(m.task.eventfd().value());
  auto on = arm(VFIO_PCI_MSI_IRQ_INDEX, event);
  REQUIRE(m.ioctl_at(d, VFIO_DEVICE_SET_IRQS, on) == errc::ok);
  auto off = disarm(VFIO_PCI_MSI_IRQ_INDEX);
  REQUIRE(m.ioctl_at(d, VFIO_DEVICE_SET_IRQS, off) == errc::ok);
  REQUIRE(m.task.close(d));
  REQUIRE(m.del(dev, g) == errc::ok);
  REQUIRE(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
  REQUIRE(m.task.close(g));
  REQUIRE(m.task.close(container));
  INFO(m.check.text());
  CHECK(m.check.reports().empty());
}

TEST_CASE("add-before-iommu: no container, and one without an IOMMU") {
  watched<kvm_vfio::linux_6_1> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g1 = m.open("/dev/vfio/1");
  REQUIRE(m.add(dev, g1) == errc::ok);
  const int g2 = m.open("/dev/vfio/2");
  REQUIRE(m.set_container(g2, m.open("/dev/vfio/vfio")) == errc::ok);
  REQUIRE(m.add(dev, g2) == errc::ok);
  CHECK(m.broken() == rules{rule::add_before_iommu, rule::add_before_iommu});
  CHECK(m.check.reports()[1].about == "/dev/vfio/2");
}

TEST_CASE("open-before-add") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.device_fd(g, device_name));
  CHECK(m.broken() == rules{rule::open_before_add});
  CHECK(m.add(dev, g) == errc::ok);
  REQUIRE(m.device_fd(g, device_name));
  CHECK(m.broken().size() == 1);
}

TEST_CASE("a program without a VM may open devices as it likes") {
  watched<> m;
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.device_fd(g, device_name));
  CHECK(m.broken().empty());
}

TEST_CASE("bind-before-add") {
  namespace u = kvm_vfio::uapi;
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int fd = m.open("/dev/iommu");
  u::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = fd, .out_devid = 0};
  const int d0 = m.open("/dev/vfio/devices/vfio0");
  REQUIRE(m.ioctl_at(d0, u::request_bind_iommufd, bind) == errc::ok);
  CHECK(m.broken() == rules{rule::bind_before_add});
  const int d1 = m.open("/dev/vfio/devices/vfio1");
  REQUIRE(m.add(dev, d1) == errc::ok);
  REQUIRE(m.ioctl_at(d1, u::request_bind_iommufd, bind) == errc::ok);
  CHECK(m.broken().size() == 1);
}

TEST_CASE("add-repeated, through a dup as well") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  CHECK(m.add(dev, static_cast<int>(m.task.dup(g).value())) == errc::exists);
  CHECK(m.broken() == rules{rule::add_repeated});
}

TEST_CASE("del-untracked") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  CHECK(m.del(dev, m.open("/dev/vfio/1")) == errc::noent);
  CHECK(m.broken() == rules{rule::del_untracked});
}

TEST_CASE("file-in-two-vms, and moving it properly is fine") {
  watched<> m;
  const int dev0 = m.create_kvm_vfio(m.create_vm());
  const int dev1 = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev0, g) == errc::ok);
  REQUIRE(m.add(dev1, g) == errc::ok);
  CHECK(m.broken() == rules{rule::file_in_two_vms});
  REQUIRE(m.del(dev0, g) == errc::ok);
  REQUIRE(m.del(dev1, g) == errc::ok);
  REQUIRE(m.add(dev0, g) == errc::ok);
  REQUIRE(m.task.close(dev0));
  REQUIRE(m.add(dev1, g) == errc::ok);
  CHECK(m.broken().size() == 1);
}

TEST_CASE("left-in-container") {
  watched<> m;
  const int g = m.group_with_iommu("/dev/vfio/1");
  const int copy = static_cast<int>(m.task.dup(g).value());
  REQUIRE(m.task.close(g));
  CHECK(m.broken().empty());
  REQUIRE(m.task.close(copy));
  CHECK(m.broken() == rules{rule::left_in_container});
  CHECK(trace::is_note(rule::left_in_container));
  CHECK_FALSE(trace::is_note(rule::close_without_del));
  CHECK(m.check.text().find("  note: left-in-container: ") != std::string::npos);
}

TEST_CASE("irqs-armed: MSI, and the request interrupt") {
  const std::uint32_t index = GENERATE(VFIO_PCI_MSI_IRQ_INDEX + 0U, VFIO_PCI_REQ_IRQ_INDEX + 0U);
  const bool disarms = GENERATE(false, true);
  watched<> m;
  const int g = m.group_with_iommu("/dev/vfio/1");
  const int d = m.device_fd(g, device_name).value();
  auto on = arm(index, static_cast<int>(m.task.eventfd().value()));
  REQUIRE(m.ioctl_at(d, VFIO_DEVICE_SET_IRQS, on) == errc::ok);
  if (disarms) {
    auto off = index == VFIO_PCI_REQ_IRQ_INDEX ? arm(index, -1) : disarm(index);
    REQUIRE(m.ioctl_at(d, VFIO_DEVICE_SET_IRQS, off) == errc::ok);
  }
  REQUIRE(m.task.close(d));
  CHECK(m.broken() == (disarms ? rules{} : rules{rule::irqs_armed}));
}

// What VMMs have done, as published in their own histories.

TEST_CASE("published: one kvm-vfio per device instead of one per VM") {
  watched<> m;
  const int vm = m.create_vm();
  const int dev = m.create_kvm_vfio(vm);
  const int g1 = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g1) == errc::ok);
  REQUIRE(m.client::create_kvm_vfio(vm).error() == errc::busy);
  const int second = -1;  // the error is overlooked
  const int g2 = m.group_with_iommu("/dev/vfio/2");
  CHECK(m.add(second, g2) == errc::badf);
  CHECK(m.broken() == rules{rule::second_kvm_vfio});
  CHECK(m.kernel.vms().at(0).tracked.size() == 1);
}

TEST_CASE("published: a failing BIND skips FILE_DEL, and the file stays tracked") {
  namespace u = kvm_vfio::uapi;
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int d = m.open("/dev/vfio/devices/vfio0");
  REQUIRE(m.add(dev, d) == errc::ok);
  u::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = dev, .out_devid = 0};
  REQUIRE(m.ioctl_at(d, u::request_bind_iommufd, bind) == errc::badfd);
  REQUIRE(m.task.close(d));
  CHECK(m.broken() == rules{rule::close_without_del});
  CHECK(m.kernel.vms().at(0).tracked.size() == 1);
}

TEST_CASE("published: the fd of a test create is owned, and standard input is closed") {
  watched<> m;
  REQUIRE(m.open("/dev/kvm") == 0);  // stands for standard input
  const int vm = m.create_vm();
  kvm_create_device test = support::create_argument(KVM_CREATE_DEVICE_TEST);
  REQUIRE(m.ioctl_at(vm, KVM_CREATE_DEVICE, test) == errc::ok);
  CHECK(m.task.close(static_cast<int>(test.fd)));
  CHECK(m.broken() == rules{rule::test_create_closed});
}

TEST_CASE("a number that came anew after a test create may be closed") {
  watched<> m;
  const int vm = m.create_vm();
  kvm_create_device test = support::create_argument(KVM_CREATE_DEVICE_TEST);
  test.fd = 9;
  REQUIRE(m.ioctl_at(vm, KVM_CREATE_DEVICE, test) == errc::ok);
  while (m.open("/dev/kvm") != 9) {
  }
  CHECK(m.task.close(9));
  CHECK(m.broken().empty());
}

TEST_CASE("published: close without DEL, and the next plug fails with EBUSY") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.ioctl(g, VFIO_GROUP_UNSET_CONTAINER) == errc::ok);
  REQUIRE(m.task.close(g));
  CHECK(m.task.open("/dev/vfio/1").error() == errc::busy);
  CHECK(m.broken() == rules{rule::close_without_del, rule::reopen_while_tracked});
  REQUIRE(m.task.close(dev));
  CHECK(m.task.open("/dev/vfio/1"));
  CHECK(m.broken().size() == 2);
}

TEST_CASE("a report names the call, the rule and the fix") {
  watched<> m;
  const int dev = m.create_kvm_vfio(m.create_vm());
  (void)m.del(dev, m.open("/dev/vfio/1"));
  const std::string text = m.check.text();
  CHECK(text.find("FILE_DEL fd 3) = ENOENT [/dev/vfio/1]") != std::string::npos);
  CHECK(text.find("\n  del-untracked: ") != std::string::npos);
  CHECK(text.find("\n  fix: ") != std::string::npos);
}

TEST_CASE("every rule has an id of its own, a text and a fix") {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < trace::rule_count; ++i) {
    const trace::rule_text t = text_of(static_cast<rule>(i));
    CHECK(*t.what != 0);
    CHECK(*t.fix != 0);
    ids.emplace_back(t.id);
  }
  CHECK(*text_of(static_cast<rule>(trace::rule_count)).id == 0);  // rule_count counts all rules
  std::sort(ids.begin(), ids.end());
  CHECK(std::unique(ids.begin(), ids.end()) == ids.end());
  CHECK_FALSE(ids.front().empty());
}

namespace {
/// An endpoint over a simulated process: what stands for the kernel's own.
struct process_endpoint {
  sim::process& task;
  int fd;
  errc set_attr(const kvm_device_attr& a) noexcept {
    return task.ioctl(fd, KVM_SET_DEVICE_ATTR, reinterpret_cast<std::uintptr_t>(&a)).error();
  }
  errc has_attr(const kvm_device_attr& a) noexcept {
    return task.ioctl(fd, KVM_HAS_DEVICE_ATTR, reinterpret_cast<std::uintptr_t>(&a)).error();
  }
  errc ioctl(unsigned long request, void* a) noexcept {
    return task.ioctl(fd, request, reinterpret_cast<std::uintptr_t>(a)).error();
  }
};
static_assert(kvm_vfio::endpoint<process_endpoint>);
static_assert(kvm_vfio::endpoint<trace::watched_endpoint<process_endpoint>>);
}  // namespace

TEST_CASE("an endpoint is watched by wrapping it") {
  machine_under_test<> m;
  trace::checker check;
  process_endpoint kernel_device{m.task, m.create_kvm_vfio(m.create_vm())};
  trace::watched_endpoint device(kernel_device, check, kernel_device.fd);
  const int g = m.group_with_iommu("/dev/vfio/1");
  CHECK(kvm_vfio::file_add(device, g) == errc::ok);
  CHECK(kvm_vfio::file_add(device, g) == errc::exists);
  CHECK(kvm_vfio::file_del(device, g) == errc::ok);
  CHECK(kvm_vfio::file_del(device, g) == errc::noent);
  CHECK(check.count(rule::add_repeated) == 1);
  CHECK(check.count(rule::del_untracked) == 1);
  REQUIRE(check.reports().size() == 2);
  CHECK(check.reports()[0].about == "fd " + std::to_string(g));
}

TEST_CASE("an observer of an endpoint that throws does not change the answer") {
  struct throwing final : trace::call_observer {
    bool without_memory = false;
    void called(const trace::call&) override {
      if (without_memory) throw std::bad_alloc();
    }
  } observer;
  machine_under_test<> m;
  process_endpoint kernel_device{m.task, m.create_kvm_vfio(m.create_vm())};
  trace::watched_endpoint device(kernel_device, observer, kernel_device.fd);
  observer.without_memory = true;
  const int g = m.group_with_iommu("/dev/vfio/1");
  CHECK(kvm_vfio::file_add(device, g) == errc::ok);
  CHECK(kvm_vfio::file_add(device, g) == errc::exists);
}

TEST_CASE("a system is watched by wrapping it") {
  machine_under_test<> m;
  trace::checker check;
  trace::timeline log;
  const trace::watched_system system(sim::process_ref(m.task), check);
  m.task.observe(log);
  const int group = system.open("/dev/vfio/1", O_RDWR).value();
  const int container = system.open("/dev/vfio/vfio", O_RDWR).value();
  const std::int32_t fd = container;
  REQUIRE(system.ioctl(group, VFIO_GROUP_SET_CONTAINER, reinterpret_cast<std::uintptr_t>(&fd)));
  REQUIRE(system.close(group) == errc::ok);
  CHECK(check.count(rule::left_in_container) == 1);
  CHECK(log.text() ==
        "1  open(\"/dev/vfio/1\") = 0\n"
        "2  open(\"/dev/vfio/vfio\") = 1\n"
        "3  ioctl(0, SET_CONTAINER fd 1) = 0\n"
        "4  close(0) = 0\n");
}
