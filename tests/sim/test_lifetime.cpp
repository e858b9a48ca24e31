// SPDX-License-Identifier: BSL-1.0
// Objects that go while others still name them: VMs of a kernel that ends, and observers that are
// added by observers.
#include "support/catch.hpp"
#include "watched.hpp"

#include <kvm_vfio/trace/timeline.hpp>

#include <memory>
#include <vector>

namespace u = kvm_vfio::uapi;

namespace {

// A process that uses the files of a world without a KVM.
struct vmm_without_kvm : support::vmm<support::sim_system> {
  explicit vmm_without_kvm(sim::world& world)
      : support::vmm<support::sim_system>(support::sim_system(task)), task(world, memory, 2) {}
  sim::memory memory;
  sim::process task;
};

// A kernel with one process.
struct kernel_with_vmm {
  explicit kernel_with_vmm(sim::world_of<kvm_vfio::linux_7_3>& world)
      : kernel(world), task(kernel, memory), vmm(support::sim_system(task)) {}
  sim::kernel<> kernel;
  sim::memory memory;
  sim::process task;
  support::vmm<support::sim_system> vmm;
};

}  // namespace

TEST_CASE("a kernel ends while VFIO is unloaded: no file names one of its VMs any more") {
  sim::world_of<kvm_vfio::linux_7_3> world(two_groups());
  vmm_without_kvm other(world);
  const int group = other.open("/dev/vfio/1").value();
  const int container = other.open("/dev/vfio/vfio").value();
  REQUIRE(other.set_container(group, container) == errc::ok);
  REQUIRE(other.set_iommu(container) == errc::ok);
  const int cdev = other.open("/dev/vfio/devices/vfio1").value();
  const int device_file = other.open("/dev/vfio/devices/vfio2").value();
  const int iommufd = other.open("/dev/iommu").value();
  int device = -1;
  {
    auto first = std::make_unique<kernel_with_vmm>(world);
    const int vm = first->vmm.create_vm(first->vmm.open("/dev/kvm").value()).value();
    const int dev = first->vmm.create_kvm_vfio(vm).value();
    for (const int fd : {group, cdev, device_file}) {
      sim::file* const f = other.task.file_of(fd);
      f->get();
      const int passed = static_cast<int>(first->task.install_at(50 + fd, f).value());
      REQUIRE(first->vmm.add(dev, passed) == errc::ok);
    }
    device = other.device_fd(group, "0000:00:04.0").value();
    u::device_bind_iommufd bind{
        .argsz = sizeof bind, .flags = 0, .iommufd = iommufd, .out_devid = 0};
    REQUIRE(other.ioctl_at(cdev, u::request_bind_iommufd, bind) == errc::ok);
    CHECK(sim::snapshot_of(world).groups.at(0).vm == "vm0");
    first->kernel.vfio.load(false);
    // First the process ends, then the kernel.
  }
  const sim::snapshot s = sim::snapshot_of(world);
  for (const sim::group_state& g : s.groups) {
    CHECK(g.vm.empty());
    for (const sim::device_state& d : g.devices) {
      CHECK(d.vm.empty());
      CHECK_FALSE(d.holds_vm);
    }
  }
  for (const int fd : {group, cdev, device_file})
    CHECK(sim::state_of(world, *other.task.file_of(fd)).vm.empty());
  CHECK(other.close(device) == errc::ok);
  CHECK(other.device_fd(group, "0000:00:04.0"));
  u::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = iommufd, .out_devid = 0};
  CHECK(other.ioctl_at(device_file, u::request_bind_iommufd, bind) == errc::ok);
}

namespace {

// A file in memory that counts its ends.
class counted final : public sim::file {
 public:
  explicit counted(int& ends) noexcept : file(sim::file_kind::other), ends_(ends) {}
  [[nodiscard]] const char* name() const noexcept override { return "counted"; }

 private:
  ~counted() override { ++ends_; }
  int& ends_;
};

// IOMMU_IOAS_MAP_FILE of a page at an address.
template <class Vmm>
errc map_file(Vmm& vmm, int iommufd, int fd, std::uint64_t iova) {
  u::iommu_ioas_map_file c{};
  c.size = sizeof c;
  c.flags = u::map_readable | u::map_fixed_iova;
  c.ioas_id = 1;
  c.fd = fd;
  c.length = 4096;
  c.iova = iova;
  return vmm.ioctl_at(iommufd, u::request_ioas_map_file, c);
}
template <class Vmm>
int iommufd_with_space(Vmm& vmm) {
  const int iommufd = vmm.open("/dev/iommu").value();
  u::iommu_ioas_alloc c{};
  c.size = sizeof c;
  REQUIRE(vmm.ioctl_at(iommufd, u::request_ioas_alloc, c) == errc::ok);
  REQUIRE(c.out_ioas_id == 1);
  return iommufd;
}

}  // namespace

// As in Linux no close ends such an iommufd.
TEST_CASE("an iommufd that maps itself, or its device, ends with the world") {
  int ends = 0;
  {
    sim::world_of<kvm_vfio::linux_7_3> world(two_groups());
    kernel_with_vmm v(world);
    const int iommufd = iommufd_with_space(v.vmm), second = iommufd_with_space(v.vmm);
    const int file = static_cast<int>(v.task.insert(sim::file_ref(new counted(ends))).value());
    int mapped = iommufd;
    SECTION("itself") {}
    SECTION("the device that is bound to it, while a VM uses the device") {
      const int vm = v.vmm.create_vm(v.vmm.open("/dev/kvm").value()).value();
      const int dev = v.vmm.create_kvm_vfio(vm).value();
      mapped = v.vmm.open("/dev/vfio/devices/vfio1").value();
      REQUIRE(v.vmm.add(dev, mapped) == errc::ok);
      u::device_bind_iommufd b{.argsz = sizeof b, .flags = 0, .iommufd = iommufd, .out_devid = 0};
      REQUIRE(v.vmm.ioctl_at(mapped, u::request_bind_iommufd, b) == errc::ok);
    }
    SECTION("an iommufd that maps it") {
      mapped = second;
      REQUIRE(map_file(v.vmm, second, iommufd, 0x10000) == errc::ok);
    }
    REQUIRE(map_file(v.vmm, iommufd, mapped, 0x10000) == errc::ok);
    REQUIRE(map_file(v.vmm, iommufd, file, 0x20000) == errc::ok);
    v.task.exit();
    CHECK(world.iommufds() != 0);
    CHECK(ends == 0);
  }
  CHECK(ends == 1);
}
TEST_CASE("a kernel ends while an iommufd of another process maps one of its VMs") {
  sim::world_of<kvm_vfio::linux_7_3> world(two_groups());
  vmm_without_kvm other(world);
  const int iommufd = iommufd_with_space(other);
  const int kept = other.open("/dev/vfio/1").value();
  REQUIRE(map_file(other, iommufd, kept, 0x10000) == errc::ok);
  {
    kernel_with_vmm v(world);
    const int kvm = v.vmm.open("/dev/kvm").value();
    const int vm = v.vmm.create_vm(kvm).value();
    const int dev = v.vmm.create_kvm_vfio(vm).value();
    std::uint64_t iova = 0x20000;
    for (const int fd : {kvm, vm, dev}) {
      sim::file* const f = v.task.file_of(fd);
      f->get();
      const int passed = static_cast<int>(other.task.install_at(50 + fd, f).value());
      REQUIRE(map_file(other, iommufd, passed, iova += 0x1000) == errc::ok);
      REQUIRE(other.close(passed) == errc::ok);
    }
    CHECK(sim::snapshot_of(world).iommufds[0].spaces[0].mappings.size() == 4);
  }
  CHECK(sim::snapshot_of(world).iommufds[0].spaces[0].mappings.size() == 1);
}
TEST_CASE("an iommufd that maps itself and a VM ends before the kernel") {
  int ends = 0;
  {
    sim::kernel<> kernel(two_groups());  // with a world of its own
    sim::memory memory;
    sim::process task(kernel, memory);
    support::vmm<support::sim_system> vmm{support::sim_system(task)};
    const int iommufd = iommufd_with_space(vmm);
    const int vm = vmm.create_vm(vmm.open("/dev/kvm").value()).value();
    const int dev = vmm.create_kvm_vfio(vm).value();
    const int file = static_cast<int>(task.insert(sim::file_ref(new counted(ends))).value());
    for (const int fd : {iommufd, vm, dev, file})
      REQUIRE(map_file(vmm, iommufd, fd, 0x10000U + 0x1000U * static_cast<unsigned>(fd)) ==
              errc::ok);
  }
  CHECK(ends == 1);
}

namespace {

// Adds observers to a process while it is told of calls.
class adds_observers final : public trace::call_observer {
 public:
  explicit adds_observers(sim::process& task) noexcept : task_(task) {}
  void called(const trace::call&) override {
    if (added_.size() == 20) return;
    added_.push_back(std::make_unique<trace::timeline>());
    task_.observe(*added_.back());
  }
  [[nodiscard]] std::size_t heard(std::size_t i) const { return added_.at(i)->size(); }

 private:
  sim::process& task_;
  std::vector<std::unique_ptr<trace::timeline>> added_;
};

}  // namespace

TEST_CASE("an observer adds observers while it is told of a call") {
  machine_under_test<> m;
  adds_observers adds(m.task);
  trace::timeline last;
  m.task.observe(adds);
  m.task.observe(last);
  for (int i = 0; i < 20; ++i) (void)m.open("/dev/vfio/vfio");
  CHECK(last.size() == 20);
  CHECK(adds.heard(0) == 19);  // a new observer is told of the next call
  CHECK(adds.heard(19) == 0);
  sim::process child(m.kernel, m.memory, 2);
  child.observe(adds);
  m.task.fork_into(child);
  CHECK(child.descriptors() == 20);
  child.exit();
  m.task.exit();
}
