// SPDX-License-Identifier: BSL-1.0
// The requests of /dev/kvm and of a VM that only keep books. The expected answers are those of
// booted kernels.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace {

template <class Profile = kvm_vfio::linux_7_3>
struct with_vm : machine_under_test<Profile> {
  int kvm = this->open("/dev/kvm");
  int vm = this->create_vm();

  std::int64_t extension(int fd, unsigned long n) {
    return this->task.ioctl(fd, KVM_CHECK_EXTENSION, n).value();
  }
  errc memory(std::uint32_t slot, std::uint32_t flags, std::uint64_t guest, std::uint64_t size,
              std::uint64_t address = 0x100000) {
    kvm_userspace_memory_region r{.slot = slot,
                                  .flags = flags,
                                  .guest_phys_addr = guest,
                                  .memory_size = size,
                                  .userspace_addr = address};
    return this->ioctl_at(vm, KVM_SET_USER_MEMORY_REGION, r);
  }
  errc irqfd(int of, int fd, std::uint32_t gsi, std::uint32_t flags = 0, int resample = 0) {
    kvm_irqfd c{};
    c.fd = static_cast<std::uint32_t>(fd);
    c.gsi = gsi;
    c.flags = flags;
    c.resamplefd = static_cast<std::uint32_t>(resample);
    return this->ioctl_at(of, KVM_IRQFD, c);
  }
  errc ioeventfd(std::uint64_t match, std::uint64_t address, std::uint32_t length, int fd,
                 std::uint32_t flags = 0) {
    kvm_ioeventfd c{};
    c.datamatch = match;
    c.addr = address;
    c.len = length;
    c.fd = fd;
    c.flags = flags;
    return this->ioctl_at(vm, KVM_IOEVENTFD, c);
  }
  int event() { return static_cast<int>(this->task.eventfd().value()); }
};

}  // namespace

TEST_CASE("/dev/kvm answers what the library of a VMM asks before it makes a VM") {
  with_vm<> m;
  CHECK(m.task.ioctl(m.kvm, KVM_GET_API_VERSION, 0).value() == 12);
  CHECK(m.task.ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0).value() == 12288);
  CHECK(m.task.ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 1).error() == errc::inval);
  for (const int fd : {m.kvm, m.vm}) {
    CHECK(m.extension(fd, KVM_CAP_USER_MEMORY) == 1);
    CHECK(m.extension(fd, KVM_CAP_NR_MEMSLOTS) == 32764);
    CHECK(m.extension(fd, KVM_CAP_IRQFD) == 1);
    CHECK(m.extension(fd, KVM_CAP_DEVICE_CTRL) == 1);
    CHECK(m.extension(fd, KVM_CAP_NR_VCPUS) == 0);
  }
  with_vm<kvm_vfio::linux_6_1> old;
  CHECK(old.extension(old.kvm, KVM_CAP_DEVICE_CTRL) == 0);
  CHECK(m.ioctl(m.vm, KVM_CREATE_VCPU, 0) == errc::notty);
  CHECK(m.ioctl(m.kvm, KVM_SET_USER_MEMORY_REGION, 0) == errc::inval);
}

TEST_CASE("KVM_SET_USER_MEMORY_REGION makes, moves, changes and deletes slots") {
  with_vm<> m;
  CHECK(m.ioctl(m.vm, KVM_SET_USER_MEMORY_REGION, 0) == errc::fault);
  CHECK(m.memory(0, 0, 0, 0x10000) == errc::ok);
  CHECK(m.memory(0, 0, 0, 0x10000) == errc::ok);
  CHECK(m.memory(0, 0, 0, 0x8000) == errc::inval);
  CHECK(m.memory(0, 0, 0, 0x10000, 0x101000) == errc::inval);
  CHECK(m.memory(0, 0, 0x20000, 0x10000) == errc::ok);
  CHECK(m.memory(0, KVM_MEM_LOG_DIRTY_PAGES, 0x20000, 0x10000) == errc::ok);
  CHECK(m.memory(0, KVM_MEM_READONLY, 0x20000, 0x10000) == errc::inval);
  CHECK(m.memory(1, 0, 0x28000, 0x1000) == errc::exists);
  CHECK(m.memory(1, 0, 0x1f000, 0x1000) == errc::ok);
  CHECK(m.memory(2, 0, 0x1f000, 0x2000) == errc::exists);
  CHECK(m.memory(3, 0, 0x31001, 0x1000) == errc::inval);
  CHECK(m.memory(3, 0, 0x31000, 0x1001) == errc::inval);
  CHECK(m.memory(3, 0, 0x31000, 0x1000, 0x100001) == errc::inval);
  CHECK(m.memory(3, 0, 0x31000, 0) == errc::inval);
  CHECK(m.memory(3, 4, 0x31000, 0x1000) == errc::inval);
  CHECK(m.memory(3, 3, 0x40000, 0x1000) == errc::ok);
  CHECK(m.memory(32764, 0, 0x50000, 0x1000) == errc::inval);
  CHECK(m.memory(32763, 0, 0x50000, 0x1000) == errc::ok);
  CHECK(m.memory(0x20000, 0, 0x54000, 0x1000) == errc::inval);
  CHECK(m.memory(10, 0, ~std::uint64_t{0} - 0xfff, 0x1000) == errc::inval);
  CHECK(m.memory(10, 0, std::uint64_t{1} << 52, 0x1000) == errc::inval);
  CHECK(m.memory(10, 0, 0x62000, 0x1000, 0) == errc::ok);
  CHECK(m.memory(11, 0, 0x63000, 0x1000, 0xffff800000000000) == errc::inval);
  CHECK(m.memory(11, 0, 0x63000, 0x1000, 0x7ffffffff000) == errc::inval);
  CHECK(m.memory(11, 0, 0x200000000, 0x80000000000) == errc::inval);
  const sim::snapshot before = m.kernel.look();
  REQUIRE(before.vms[0].memory.size() == 5);
  CHECK(before.vms[0].memory[0] == sim::slot_state{0, 1, 0x20000, 0x10000, 0x100000});
  CHECK(m.memory(1, 0, 0, 0) == errc::ok);
  CHECK(m.memory(1, 0, 0, 0) == errc::inval);
  // The address of a slot that is removed has no meaning.
  CHECK(m.memory(12, 0, 0x70000, 0x1000) == errc::ok);
  CHECK(m.memory(12, 0, ~std::uint64_t{0} - 0xfff, 0) == errc::ok);
  CHECK(difference(before, m.kernel.look()) ==
        "- vm0: memory slot 1: 0x1f000 to 0x1ffff, memory 0x100000, flags 0x0\n");
}

TEST_CASE("an irqfd takes what is written to its eventfd, and the end of the irqfd sets it to 0") {
  with_vm<> m;
  const int e = m.event();
  std::uint64_t n = 2;
  const auto write = [&] { REQUIRE(m.task.write(e, &n, sizeof n)); };
  const auto read = [&] { return m.task.pread(e, &n, sizeof n, 0); };
  REQUIRE(m.ioctl(m.vm, KVM_CREATE_IRQCHIP) == errc::ok);
  write();
  REQUIRE(m.irqfd(m.vm, e, 1) == errc::ok);
  REQUIRE(read());  // what was written before stays
  CHECK(n == 2);
  write();
  CHECK(read().error() == errc::again);
  write();
  REQUIRE(m.irqfd(m.vm, e, 1, KVM_IRQFD_FLAG_DEASSIGN) == errc::ok);
  write();
  REQUIRE(read());
  CHECK(n == 2);
  write();
  REQUIRE(m.irqfd(m.vm, e, 1) == errc::ok);
  REQUIRE(m.irqfd(m.vm, e, 1, KVM_IRQFD_FLAG_DEASSIGN) == errc::ok);
  CHECK(read().error() == errc::again);
}

TEST_CASE("KVM_IRQFD needs an interrupt controller, and an eventfd has one irqfd") {
  with_vm<> m;
  const int e = m.event();
  const int other = m.event();
  CHECK(m.irqfd(m.vm, e, 1) == errc::inval);
  CHECK(m.irqfd(m.vm, -1, 1) == errc::inval);
  CHECK(m.irqfd(m.vm, e, 1, KVM_IRQFD_FLAG_DEASSIGN) == errc::ok);
  REQUIRE(m.ioctl(m.vm, KVM_CREATE_IRQCHIP) == errc::ok);
  CHECK(m.ioctl(m.vm, KVM_CREATE_IRQCHIP) == errc::exists);
  CHECK(m.irqfd(m.vm, e, 1) == errc::ok);
  CHECK(m.irqfd(m.vm, e, 2) == errc::busy);
  CHECK(m.irqfd(m.vm, other, 1) == errc::ok);
  CHECK(m.irqfd(m.vm, e, 1, 4) == errc::inval);
  CHECK(m.irqfd(m.vm, -1, 1) == errc::badf);
  CHECK(m.irqfd(m.vm, m.kvm, 1) == errc::inval);
  CHECK(m.irqfd(m.vm, e, 2, KVM_IRQFD_FLAG_DEASSIGN) == errc::ok);
  CHECK(m.kernel.look().vms[0].irqfds == std::vector{1, 1});
  CHECK(m.irqfd(m.vm, e, 1, KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE, -1) == errc::ok);
  CHECK(m.kernel.look().vms[0].irqfds == std::vector{1});
  CHECK(m.irqfd(m.vm, e, 9, KVM_IRQFD_FLAG_RESAMPLE, 77) == errc::badf);
  CHECK(m.irqfd(m.vm, e, 9, KVM_IRQFD_FLAG_RESAMPLE, m.kvm) == errc::inval);
  CHECK(m.irqfd(m.vm, e, 9, KVM_IRQFD_FLAG_RESAMPLE, e) == errc::ok);
  CHECK(to_text(m.kernel.look()).find("irqfd of GSI 9") != std::string::npos);
  // The close of the eventfd ends the irqfd.
  CHECK(m.close(e) == errc::ok);
  CHECK(m.kernel.look().vms[0].irqfds == std::vector{1});
}

TEMPLATE_TEST_CASE("irqfds of one eventfd in two VMs", "", kvm_vfio::linux_6_12,
                   kvm_vfio::linux_7_3) {
  constexpr bool exclusive = std::is_same_v<TestType, kvm_vfio::linux_7_3>;
  with_vm<TestType> m;
  const int second = m.create_vm();
  REQUIRE(m.ioctl(m.vm, KVM_CREATE_IRQCHIP) == errc::ok);
  REQUIRE(m.ioctl(second, KVM_CREATE_IRQCHIP) == errc::ok);
  const int e = m.event();
  CHECK(m.irqfd(m.vm, e, 1) == errc::ok);
  CHECK(m.irqfd(second, e, 1) == (exclusive ? errc::busy : errc::ok));
  CHECK(m.irqfd(second, e, 1, KVM_IRQFD_FLAG_DEASSIGN) == errc::ok);
  CHECK(m.close(m.vm) == errc::ok);
  CHECK(m.irqfd(second, e, 1) == errc::ok);
}

TEST_CASE("KVM_IOEVENTFD refuses a second eventfd for the same writes") {
  with_vm<> m;
  const int e = m.event();
  const int other = m.event();
  constexpr std::uint32_t match = KVM_IOEVENTFD_FLAG_DATAMATCH;
  constexpr std::uint32_t port = KVM_IOEVENTFD_FLAG_PIO;
  constexpr std::uint32_t deassign = KVM_IOEVENTFD_FLAG_DEASSIGN;
  CHECK(m.ioctl(m.vm, KVM_IOEVENTFD, 0) == errc::fault);
  CHECK(m.ioeventfd(0, 0x1000, 4, e) == errc::ok);
  CHECK(m.ioeventfd(0, 0x1000, 4, other) == errc::exists);
  CHECK(m.ioeventfd(0, 0x1000, 2, other) == errc::ok);
  CHECK(m.ioeventfd(0, 0x1000, 0, other) == errc::exists);
  CHECK(m.ioeventfd(0, 0x1000, 4, e, port) == errc::ok);
  CHECK(m.ioeventfd(0, 0x1008, 3, 77) == errc::inval);
  CHECK(m.ioeventfd(0, 0x1008, 4, 77, 64) == errc::inval);
  CHECK(m.ioeventfd(0, 0x1008, 4, 77, 16) == errc::badf);
  CHECK(m.ioeventfd(5, 0x1008, 0, e, match) == errc::inval);
  CHECK(m.ioeventfd(0, ~std::uint64_t{0}, 1, e) == errc::inval);
  CHECK(m.ioeventfd(0, 0x1008, 8, 77) == errc::badf);
  CHECK(m.ioeventfd(0, 0x1008, 8, m.kvm) == errc::inval);
  CHECK(m.ioeventfd(5, 0x2000, 4, e, match) == errc::ok);
  CHECK(m.ioeventfd(6, 0x2000, 4, e, match) == errc::ok);
  CHECK(m.ioeventfd(5, 0x2000, 4, other, match) == errc::exists);
  CHECK(m.ioeventfd(5, 0x2000, 8, e, match) == errc::ok);
  CHECK(m.ioeventfd(0, 0x2000, 4, e) == errc::exists);
  CHECK(m.kernel.look().vms[0].ioeventfds == 6);
  CHECK(m.ioeventfd(0, 0x1000, 4, other, deassign) == errc::noent);
  CHECK(m.ioeventfd(0, 0x1000, 4, e, deassign | 64) == errc::ok);
  CHECK(m.ioeventfd(0, 0x1000, 4, e, deassign) == errc::noent);
  CHECK(m.ioeventfd(6, 0x2000, 4, e, deassign) == errc::noent);
  CHECK(m.ioeventfd(6, 0x2000, 4, e, deassign | match) == errc::ok);
  CHECK(m.ioeventfd(0, 0x1000, 4, 77, deassign) == errc::badf);
  CHECK(m.kernel.look().vms[0].ioeventfds == 4);
}
