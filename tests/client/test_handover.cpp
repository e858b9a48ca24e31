// SPDX-License-Identifier: BSL-1.0
// A live update: the old process gives every descriptor away, and the new process makes the objects
// of the later steps from them. Also what adopt refuses.
#include "machine.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/unique_fd.hpp>
#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/uapi/kvm.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

namespace {

namespace vfio = native::vfio;
using vfio::ioas_id;

/// An owner of a descriptor of a process.
template <class Owner>
Owner owner(const sys& of, int fd) {
  return Owner(native::basic_unique_fd<sys>(fd, of));
}
native::basic_kvm_vfio_device<sys> kvm_vfio_at(const sys& of, int fd) {
  return owner<native::basic_kvm_vfio_device<sys>>(of, fd);
}
vfio::basic_group<sys> group_at(const sys& of, int fd) {
  return owner<vfio::basic_group<sys>>(of, fd);
}
vfio::basic_device<sys> device_at(const sys& of, int fd) {
  return owner<vfio::basic_device<sys>>(of, fd);
}
vfio::basic_container<sys> container_at(const sys& of, int fd) {
  return owner<vfio::basic_container<sys>>(of, fd);
}
vfio::basic_iommufd<sys> iommufd_at(const sys& of, int fd) {
  return owner<vfio::basic_iommufd<sys>>(of, fd);
}

/// What a process passes to the next one, as numbers.
struct passed {
  int files = -1;
  int container = -1;
  int group = -1;
  int device = -1;  // of the group, or with a file of its own
  int iommufd = -1;
  ioas_id ioas{};
  int event = -1;
};

/// A VM with a device of a group, and one mapping. The old process.
template <class Profile>
passed plug_group(vmm_machine<Profile>& m) {
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto memory = must(c.map(memory_at(0)));
  auto d = must(m.attach(1, c, files).open_device(first_device));
  auto event = must(native::basic_event_ref<sys>::make(m.system));
  const int fd = event.fd();
  REQUIRE(d.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, &fd, 1) == errc::ok);
  m.forget_calls();
  auto group = group_of(d);
  passed out;
  out.device = d.release().fd();
  out.group = group.release().fd();
  out.container = c.release().fd();
  out.files = files.release().fd();
  out.event = event.release().fd();
  memory = {};  // its container was released: makes no call
  CHECK(m.calls().empty());
  return out;
}
/// A VM with a device that has a file of its own.
template <class Profile>
passed plug_device_file(vmm_machine<Profile>& m) {
  auto files = m.make_files();
  auto s = must(address_space::open(m.system));
  auto memory = must(s.map(memory_at(0)));
  auto d = m.plug(0, s, files);
  auto event = must(native::basic_event_ref<sys>::make(m.system));
  const int fd = event.fd();
  REQUIRE(d.arm(VFIO_PCI_MSIX_IRQ_INDEX, 0, &fd, 1) == errc::ok);
  m.forget_calls();
  passed out;
  out.ioas = s.id();
  out.device = d.release().fd();
  out.iommufd = s.release().fd();
  out.files = files.release().fd();
  out.event = event.release().fd();
  memory = {};
  CHECK(m.calls().empty());
  return out;
}

/// The objects of the new process.
struct of_group {
  of_group(const sys& in, const passed& p)
      : event(p.event, in),
        files(must(vm_files::adopt(kvm_vfio_at(in, p.files)))),
        c(must(container::adopt(container_at(in, p.container), VFIO_TYPE1v2_IOMMU))),
        memory(must(c.adopt_mapping(memory_at(0)))),
        group(must(attached_group::adopt(group_at(in, p.group), c, files, 1))),
        d(must(device::adopt(device_at(in, p.device), group))) {}
  native::basic_unique_fd<sys> event;
  vm_files files;
  container c;
  mapping memory;
  attached_group group;
  device d;
};
struct of_device_file {
  of_device_file(const sys& in, const passed& p)
      : event(p.event, in),
        files(must(vm_files::adopt(kvm_vfio_at(in, p.files)))),
        s(must(address_space::adopt(iommufd_at(in, p.iommufd), p.ioas))),
        memory(must(s.adopt_mapping(memory_at(0)))),
        d(must(device::adopt(device_at(in, p.device), s, files))) {}
  native::basic_unique_fd<sys> event;
  vm_files files;
  address_space s;
  mapping memory;
  device d;
};

/// The new program after execve(2).
template <class Profile>
struct next_process {
  explicit next_process(vmm_machine<Profile>& m) : task(m.exec_process(m.process())) {
    m.forget_calls();
  }
  [[nodiscard]] vm_owner make_vm() const {
    return must(must(native::basic_kvm_ref<sys>::open("/dev/kvm", system)).create_vm());
  }
  sim::process& task;
  sys system{task};
};

TEMPLATE_TEST_CASE("A management program passes a group: adopt, then unplug", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  vmm_machine<TestType> m;
  const sim::snapshot before = m.look();
  {
    const passed p = plug_group(m);
    const sim::snapshot plugged = m.look();
    of_group v(m.system, p);
    CHECK(difference(plugged, m.look()) == "");
    CHECK(m.calls() ==
          "ioctl(0, KVM_HAS_DEVICE_ATTR) = 0\n"
          "ioctl(1, IOMMU_GET_INFO) = 0\n"
          "ioctl(2, GET_STATUS) = 0\n"
          "ioctl(3, DEVICE_GET_INFO) = 0\n");
    CHECK(v.files.size() == 1);
    CHECK(v.c.groups() == 1);
    CHECK(v.c.has_iommu());
    CHECK(v.group.close() == errc::busy);
    CHECK(v.group.number() == 1);
    CHECK(client::find_group(&v.d, 1, 1));
    CHECK(v.memory.unmap() == errc::ok);
    v.group = {};
    m.forget_calls();
    CHECK(v.d.close() == errc::ok);
    CHECK(m.calls() ==
          "ioctl(3, SET_IRQS) = EINVAL\n"  // of INTx
          "ioctl(3, SET_IRQS) = 0\n"
          "ioctl(3, SET_IRQS) = EINVAL\n"
          "ioctl(3, SET_IRQS) = EINVAL\n"
          "ioctl(3, SET_IRQS) = EINVAL\n"
          "close(3) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "ioctl(2, UNSET_CONTAINER) = 0\n"
          "close(2) = 0\n");
    CHECK_FALSE(v.c.has_iommu());
  }
  CHECK(difference(before, m.look()) == "");
  CHECK(m.finish() == "");
}

TEMPLATE_TEST_CASE("A management program passes a device file: adopt, then unplug", "",
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  vmm_machine<TestType> m;
  const sim::snapshot before = m.look();
  {
    const passed p = plug_device_file(m);
    const sim::snapshot plugged = m.look();
    of_device_file v(m.system, p);
    CHECK(difference(plugged, m.look()) == "");
    CHECK(v.files.size() == 1);
    m.forget_calls();
    CHECK(v.d.disarm(VFIO_PCI_MSIX_IRQ_INDEX) == errc::ok);
    CHECK(v.d.close() == errc::ok);
    v.memory = {};
    v.s = {};
    CHECK(m.calls() ==
          "ioctl(2, SET_IRQS) = 0\n"
          "ioctl(2, SET_IRQS) = EINVAL\n"
          "ioctl(2, SET_IRQS) = EINVAL\n"
          "ioctl(2, SET_IRQS) = EINVAL\n"
          "ioctl(2, SET_IRQS) = EINVAL\n"
          "ioctl(2, DETACH_IOMMUFD_PT) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "close(2) = 0\n"
          "ioctl(1, IOAS_UNMAP) = 0\n"
          "ioctl(1, IOMMU_DESTROY) = 0\n"
          "close(1) = 0\n");
  }
  CHECK(difference(before, m.look()) == "");
  CHECK(m.finish() == "");
}

TEMPLATE_TEST_CASE("A live update with a group: release, exec, adopt, rebind, unplug", "",
                   kvm_vfio::linux_6_1, kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  vmm_machine<TestType> m;
  const sim::snapshot before = m.look();
  const passed p = plug_group(m);
  next_process<TestType> next(m);
  {
    of_group v(next.system, p);
    CHECK(m.calls().substr(0, 36) == "ioctl(0, KVM_HAS_DEVICE_ATTR) = EIO\n");
    const vm_owner vm = next.make_vm();
    m.forget_calls();
    CHECK(v.files.rebind(vm) == errc::ok);
    CHECK(m.calls() ==
          "ioctl(6, KVM_CREATE_DEVICE) = 0, fd 5\n"
          "ioctl(0, FILE_DEL fd 2) = EIO\n"  // the old process made that VM
          "close(0) = 0\n"
          "ioctl(5, FILE_ADD fd 2) = 0\n");
    CHECK(v.files.size() == 1);
    CHECK(m.tracked("vm1") == names{"/dev/vfio/1"});
    v.group = {};
    CHECK(v.d.close() == errc::ok);
    CHECK(m.tracked("vm1").empty());
  }
  CHECK(difference(before, m.look()) == "");
  CHECK(m.finish() == "");
}

TEMPLATE_TEST_CASE("A live update with a device file: release, exec, adopt, rebind, unplug", "",
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  vmm_machine<TestType> m;
  const sim::snapshot before = m.look();
  const passed p = plug_device_file(m);
  next_process<TestType> next(m);
  {
    of_device_file v(next.system, p);
    const vm_owner vm = next.make_vm();
    CHECK(v.files.rebind(vm) == errc::ok);
    CHECK(m.tracked("vm1") == names{"0000:00:04.0"});
    CHECK(v.d.close() == errc::ok);
    CHECK(m.tracked("vm1").empty());
  }
  CHECK(difference(before, m.look()) == "");
  CHECK(m.finish() == "");
}

TEST_CASE("A live update in which the old process calls FILE_DEL, and the new one attaches again") {
  vmm_machine<> m;
  const sim::snapshot before = m.look();
  const passed p = plug_group(m);
  auto old_device = kvm_vfio_at(m.system, p.files);
  REQUIRE(kvm_vfio::file_del(old_device, p.group) == errc::ok);
  old_device = {};
  next_process<kvm_vfio::linux_7_3> next(m);
  {
    const native::basic_unique_fd<sys> event(p.event, next.system);
    auto c = must(container::adopt(container_at(next.system, p.container), VFIO_TYPE1v2_IOMMU));
    auto ready = must(group_with_iommu::adopt(group_at(next.system, p.group), c));
    auto files = must(vm_files::create(next.make_vm()));
    auto group = must(std::move(ready).attach(files));
    auto d = must(device::adopt(device_at(next.system, p.device), group));
    CHECK(m.tracked("vm1") == names{"/dev/vfio/1"});
  }
  CHECK(difference(before, m.look()) == "");
  CHECK(m.finish() == "");
}

TEST_CASE("After a live update an unplug without a rebind reports EIO") {
  vmm_machine<> m;
  const passed p = plug_group(m);
  next_process<kvm_vfio::linux_7_3> next(m);
  of_group v(next.system, p);
  v.group = {};
  CHECK(v.d.close() == errc::io);
  CHECK(m.tracked("vm0") == names{"/dev/vfio/1"});
  v.files = {};
  CHECK(m.tracked("vm0").empty());
}

TEST_CASE("Each step can be released and adopted") {
  vmm_machine<> m;
  const sim::snapshot before = m.look();
  {
    auto files = m.make_files();
    auto c = must(container::open(m.system));
    auto s = must(address_space::open(m.system));
    SECTION("groups") {
      auto open = must(group_file::open(1, m.system));
      open = must(group_file::adopt(group_at(m.system, open.release().fd())));
      auto joined = must(std::move(open).join(c));
      int fd = joined.release().fd();
      CHECK_FALSE(joined);
      CHECK(c.groups() == 0);
      joined = must(group_in_container::adopt(group_at(m.system, fd), c));
      CHECK(c.groups() == 1);
      auto ready = must(std::move(joined).set_iommu());
      // Adopted before the release: the container must not lose its last group and its driver.
      auto second = m.with_iommu(2, c);
      fd = ready.release().fd();
      ready = must(group_with_iommu::adopt(group_at(m.system, fd), c));
      auto attached = must(std::move(ready).attach(files));
      fd = attached.release().fd();
      CHECK(files.size() == 0);
      attached = must(attached_group::adopt(group_at(m.system, fd), c, files));
      CHECK(files.size() == 1);
      CHECK(c.groups() == 2);
      auto d = must(attached.open_device(first_device));
      fd = d.release().fd();
      d = must(device::adopt(device_at(m.system, fd), attached));
      attached = {};
      CHECK(group_of(d));
      CHECK(d.close() == errc::ok);
    }
    SECTION("device files") {
      auto open = must(device_file::open(0, m.system));
      open = must(device_file::adopt(device_at(m.system, open.release().fd())));
      auto attached = must(std::move(open).attach(files));
      int fd = attached.release().fd();
      CHECK(files.size() == 0);
      attached = must(attached_device_file::adopt(device_at(m.system, fd), files));
      CHECK(files.size() == 1);
      auto bound = must(std::move(attached).bind(s));
      const std::uint32_t id = bound.id();
      fd = bound.release().fd();
      bound = must(bound_device::adopt(device_at(m.system, fd), id, s, files));
      CHECK(bound.id() == id);
      auto d = must(std::move(bound).attach_to_space());
      fd = d.release().fd();
      d = must(device::adopt(device_at(m.system, fd), s, files));
      CHECK(files.size() == 1);
      CHECK(d.close() == errc::ok);
    }
    SECTION("device files without KVM") {
      auto bound = must(must(device_file::open(0, m.system)).without_kvm().bind(s));
      const std::uint32_t id = bound.id();
      int fd = bound.release().fd();
      bound = must(bound_device::adopt(device_at(m.system, fd), id, s));
      auto d = must(std::move(bound).attach_to_space());
      fd = d.release().fd();
      d = must(device::adopt(device_at(m.system, fd), s));
      CHECK(files.size() == 0);
      CHECK(d.close() == errc::ok);
    }
  }
  CHECK(difference(before, m.look()) == "");
}

TEST_CASE("Each step can be closed, and an empty one is closed already") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  const sim::snapshot before = m.look();
  const auto check = [&](auto step) {
    CHECK(step.close() == errc::ok);
    CHECK_FALSE(step);
    CHECK(step.close() == errc::ok);
    CHECK(step.release().fd() == -1);
    CHECK(difference(before, m.look()) == "");
  };
  check(must(group_file::open(1, m.system)));
  check(must(must(group_file::open(1, m.system)).join(c)));
  check(m.with_iommu(1, c));
  check(m.attach(1, c, files));
  check(must(device_file::open(0, m.system)));
  check(must(must(device_file::open(0, m.system)).attach(files)));
  check(must(must(must(device_file::open(0, m.system)).attach(files)).bind(s)));
  check(m.plug(0, s, files));
  auto joined = must(must(group_file::open(1, m.system)).join(c));
  m.fail_ioctl(VFIO_GROUP_UNSET_CONTAINER, 1, errc::inval);
  CHECK(joined.close() == errc::inval);
  CHECK_FALSE(joined);
}

TEST_CASE("What adopt refuses, and the owner keeps its descriptor") {
  vmm_machine<> m;
  {
    auto files = m.make_files();
    auto c = must(container::open(m.system));
    auto s = must(address_space::open(m.system));
    const vm_files no_files;
    const container no_container;
    const address_space no_space;
    const attached_group no_group;

    auto group = must(vfio::basic_group_ref<sys>::open(1, m.system));
    auto file = must(vfio::basic_device_ref<sys>::open(1, m.system));
    auto iommufd = must(vfio::basic_iommufd_ref<sys>::open("/dev/iommu", m.system));
    auto empty = must(vfio::basic_container_ref<sys>::open("/dev/vfio/vfio", m.system));
    vfio::basic_group<sys> bad_group;
    vfio::basic_device<sys> bad_device;
    vfio::basic_iommufd<sys> bad_iommufd;
    vfio::basic_container<sys> bad_container;
    bad_group = group_at(m.system, -1);
    bad_device = device_at(m.system, -1);
    bad_iommufd = iommufd_at(m.system, -1);
    bad_container = container_at(m.system, -1);
    auto bad_files = kvm_vfio_at(m.system, -1);
    auto not_files = kvm_vfio_at(m.system, must(m.system.dup(empty.fd())));
    constexpr unsigned long type = VFIO_TYPE1v2_IOMMU;

    const sim::snapshot before = m.look();
    struct row {
      const char* what;
      errc got;
      errc want;
    };
    const row rows[] = {
        {"no descriptor", vm_files::adopt(std::move(bad_files)).error(), errc::badf},
        {"a container as a kvm-vfio device", vm_files::adopt(std::move(not_files)).error(),
         errc::inval},
        {"no descriptor", container::adopt(std::move(bad_container), type).error(), errc::badf},
        {"no driver", container::adopt(std::move(empty), type).error(), errc::inval},
        {"no descriptor", address_space::adopt(std::move(bad_iommufd), s.id()).error(), errc::badf},
        {"no such IOAS", address_space::adopt(std::move(iommufd), ioas_id{77}).error(),
         errc::noent},
        {"no container", group_in_container::adopt(std::move(group), no_container).error(),
         errc::badf},
        {"no descriptor", group_in_container::adopt(std::move(bad_group), c).error(), errc::badf},
        {"in no container", group_in_container::adopt(std::move(group), c).error(), errc::inval},
        {"no container", group_with_iommu::adopt(std::move(group), no_container).error(),
         errc::badf},
        {"in no container", group_with_iommu::adopt(std::move(group), c).error(), errc::inval},
        {"no files", attached_group::adopt(std::move(group), c, no_files).error(), errc::badf},
        {"no container", attached_group::adopt(std::move(group), no_container, files).error(),
         errc::badf},
        {"in no container", attached_group::adopt(std::move(group), c, files).error(), errc::inval},
        {"no files", attached_device_file::adopt(std::move(file), no_files).error(), errc::badf},
        {"no descriptor", attached_device_file::adopt(std::move(bad_device), files).error(),
         errc::badf},
        {"no space", bound_device::adopt(std::move(file), 1, no_space, files).error(), errc::badf},
        {"no space", bound_device::adopt(std::move(file), 1, no_space).error(), errc::badf},
        {"no files", bound_device::adopt(std::move(file), 1, s, no_files).error(), errc::badf},
        {"not bound", bound_device::adopt(std::move(file), 1, s, files).error(), errc::inval},
        {"no space", device::adopt(std::move(file), no_space, files).error(), errc::badf},
        {"no space", device::adopt(std::move(file), no_space).error(), errc::badf},
        {"no files", device::adopt(std::move(file), s, no_files).error(), errc::badf},
        {"not bound", device::adopt(std::move(file), s, files).error(), errc::inval},
        {"no group", device::adopt(std::move(file), no_group).error(), errc::badf},
        {"no driver: no mapping", c.adopt_mapping(memory_at(0)).error(), errc::inval},
        {"no container: no mapping", no_container.adopt_mapping(memory_at(0)).error(), errc::badf},
    };
    for (const row& r : rows) {
      INFO(r.what << ", row " << &r - rows);
      CHECK(r.got == r.want);
    }
    CHECK(difference(before, m.look()) == "");
    for (const int fd : {group.fd(), file.fd(), iommufd.fd(), empty.fd(), not_files.fd()})
      CHECK(m.process().file_of(fd) != nullptr);
    CHECK(files.size() == 0);
    CHECK(c.groups() == 0);

    // A group in a container that has no driver, and a device that is bound already.
    REQUIRE(group.set_container(c.view()) == errc::ok);
    CHECK(group_with_iommu::adopt(std::move(group), c).error() == errc::inval);
    CHECK(attached_group::adopt(std::move(group), c, files).error() == errc::inval);
    const auto adopted = must(group_in_container::adopt(std::move(group), c));
    CHECK_FALSE(group);
    REQUIRE(file.bind_iommufd(s.view()));
    CHECK(attached_device_file::adopt(std::move(file), files).error() == errc::busy);
    const auto bound = must(bound_device::adopt(std::move(file), 1, s));
    CHECK_FALSE(file);
  }
  CHECK(m.finish().find("left") == std::string::npos);
}

TEST_CASE("A group that was given away keeps the mappings, and can be taken back") {
  vmm_machine<> m;
  vm_files files = m.make_files();
  container c = must(container::open(m.system));
  const auto empty = m.look();
  mapping memory = must(c.map(memory_at(0)));
  auto group = m.attach(1, c, files);
  const auto plugged = m.look();
  native::vfio::basic_group<sys> away{native::basic_unique_fd<sys>(group.release().fd(), m.system)};
  CHECK(c.groups() == 0);
  m.forget_calls();
  SECTION("the memory is removed from the IOMMU") {
    CHECK(memory.unmap() == errc::ok);
    CHECK(m.calls() == "ioctl(1, UNMAP_DMA) = 0\n");
    CHECK(m.look() != plugged);
    group = must(attached_group::adopt(std::move(away), c, files, 1));
    CHECK(c.has_iommu());
  }
  SECTION("the hand-over failed") {
    group = must(attached_group::adopt(std::move(away), c, files, 1));
    CHECK(c.has_iommu());
    CHECK(c.groups() == 1);
    CHECK(m.look() == plugged);
    CHECK(memory.unmap() == errc::ok);
  }
  SECTION("the group is given away as a group in the container") {
    auto in = must(group_in_container::adopt(std::move(away), c, 1));
    auto with = must(std::move(in).set_iommu());
    CHECK(with.forecast().value().answer() == client::dma_coherency::coherent);
    CHECK(with.close() == errc::ok);
    CHECK(memory.unmap() == errc::ok);
    return;  // kvm-vfio still tracks the group, which the test gave away
  }
  CHECK(group.close() == errc::ok);
  CHECK(m.look() == empty);
}

TEST_CASE("No group is predicted as if a group that was given away had left") {
  sim::topology mixed = two_groups();
  vmm_machine<> m(mixed);
  vm_files files = m.make_files();
  container c = must(container::open(m.system));
  auto first = m.with_iommu(1, c);
  auto second = m.with_iommu(2, c);
  native::vfio::basic_group<sys> away{native::basic_unique_fd<sys>(first.release().fd(), m.system)};
  const auto forecast = second.forecast();
  REQUIRE(forecast);
  // The container answers for both groups: a group that is still in it is counted.
  CHECK((forecast->reason == client::coherency_reason::iommu_enforces ||
         forecast->answer() == client::dma_coherency::unknown));
  CHECK(away.unset_container() == errc::ok);
}

TEST_CASE("A container is not a device file that can be adopted") {
  vmm_machine<> m;
  vm_files files = m.make_files();
  auto file = must(native::vfio::basic_container_ref<sys>::open("/dev/vfio/vfio", m.system));
  native::vfio::basic_device<sys> wrong{
      native::basic_unique_fd<sys>(file.release().fd(), m.system)};
  CHECK(attached_device_file::adopt(std::move(wrong), files).error() == errc::badfd);
  CHECK(wrong.fd() >= 0);
}
}  // namespace
