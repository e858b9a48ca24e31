// SPDX-License-Identifier: BSL-1.0
// The steps of the client layer: the exact calls of each way, steps that fail, objects that were
// moved from, close and release.
#include "machine.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/client/plug.hpp>
#include <kvm_vfio/native/event.hpp>
#include <kvm_vfio/native/host.hpp>
#include <kvm_vfio/testing/mock_system.hpp>

#include <type_traits>

namespace {

TEST_CASE("A group: from open to unplug") {
  vmm_machine<> m;
  vm_files files = m.make_files();
  CHECK(m.calls() ==
        "open(\"/dev/kvm\") = 0\n"
        "ioctl(0, request 44544) = 12\n"
        "ioctl(0, KVM_CREATE_VM) = 1\n"
        "close(0) = 0\n"
        "ioctl(1, KVM_CREATE_DEVICE) = 0, fd 0\n"
        "close(1) = 0\n");
  container c = must(container::open(m.system));
  mapping memory = must(c.map(memory_at(0)));
  auto attached = m.attach(1, c, files);
  CHECK(files.size() == 1);
  CHECK(c.groups() == 1);
  CHECK(c.has_iommu());
  device d = must(attached.open_device(first_device));
  CHECK(m.calls() ==
        "open(\"/dev/vfio/vfio\") = 1\n"
        "ioctl(1, GET_API_VERSION) = 0\n"
        "open(\"/dev/vfio/1\") = 2\n"
        "ioctl(2, SET_CONTAINER fd 1) = 0\n"
        "ioctl(1, SET_IOMMU) = 0\n"
        "ioctl(1, MAP_DMA) = 0\n"
        "ioctl(0, FILE_ADD fd 2) = 0\n"
        "ioctl(2, GET_DEVICE_FD \"0000:00:04.0\") = 3\n");
  CHECK(attached.close() == errc::busy);
  attached = {};  // the device keeps the group
  CHECK(m.calls().empty());

  auto event = must(native::basic_event_ref<sys>::make(m.system));
  const int fd = event.fd();
  REQUIRE(d.arm(VFIO_PCI_MSI_IRQ_INDEX, 0, &fd, 1) == errc::ok);
  m.forget_calls();
  CHECK(d.close() == errc::ok);
  CHECK_FALSE(d);
  CHECK(d.close() == errc::ok);
  CHECK(m.calls() ==
        "ioctl(3, SET_IRQS) = 0\n"
        "close(3) = 0\n"
        "ioctl(0, FILE_DEL fd 2) = 0\n"
        "ioctl(2, UNSET_CONTAINER) = 0\n"
        "close(2) = 0\n");
  CHECK_FALSE(c.has_iommu());
  memory = {};  // the container lost the mapping with its last group
  CHECK(m.calls().empty());
  c = {};
  files = {};
  event = {};
  CHECK(m.calls() ==
        "close(1) = 0\n"
        "close(0) = 0\n"
        "close(4) = 0\n");
  CHECK(m.finish() == "");
}

TEST_CASE("A device file: from open to unplug") {
  vmm_machine<> m;
  vm_files files = m.make_files();
  m.forget_calls();
  {
    address_space s = must(address_space::open(m.system));
    mapping memory = must(s.map(memory_at(0)));
    device d = m.plug(0, s, files);
    CHECK(m.calls() ==
          "open(\"/dev/iommu\") = 1\n"
          "ioctl(1, IOAS_ALLOC) = 0\n"
          "ioctl(1, IOAS_MAP) = 0\n"
          "open(\"/dev/vfio/devices/vfio0\") = 2\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n"
          "ioctl(2, BIND_IOMMUFD fd 1) = 0\n"
          "ioctl(2, ATTACH_IOMMUFD_PT) = 0\n");
    CHECK(files.size() == 1);
    CHECK_FALSE(group_of(d));
    CHECK(d.close() == errc::ok);
    CHECK(files.size() == 0);
    CHECK(m.calls() ==
          "ioctl(2, DETACH_IOMMUFD_PT) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "close(2) = 0\n");
  }
  CHECK(m.calls() ==
        "ioctl(1, IOAS_UNMAP) = 0\n"
        "ioctl(1, IOMMU_DESTROY) = 0\n"
        "close(1) = 0\n");
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Everything is undone in the right order whatever is destroyed first") {
  vmm_machine<> m;
  auto files = m.make_files();
  SECTION("a group: what is shared goes first") {
    auto c = must(container::open(m.system));
    auto memory = must(c.map(memory_at(0)));
    auto d = must(m.attach(1, c, files).open_device(first_device));
    m.forget_calls();
    files = {};
    c = {};
    CHECK(m.calls().empty());
    d = {};
    CHECK(m.calls() ==
          "close(3) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "close(0) = 0\n"
          "ioctl(2, UNSET_CONTAINER) = 0\n"
          "close(2) = 0\n");
    memory = {};
    CHECK(m.calls() == "close(1) = 0\n");
  }
  SECTION("a device file: what is shared goes first") {
    auto s = must(address_space::open(m.system));
    auto memory = must(s.map(memory_at(0)));
    auto d = m.plug(0, s, files);
    m.forget_calls();
    files = {};
    s = {};
    CHECK(memory.unmap() == errc::ok);
    CHECK(m.calls() == "ioctl(1, IOAS_UNMAP) = 0\n");
    d = {};
    CHECK(m.calls() ==
          "ioctl(2, DETACH_IOMMUFD_PT) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "close(0) = 0\n"
          "close(2) = 0\n"
          "ioctl(1, IOMMU_DESTROY) = 0\n"
          "close(1) = 0\n");
  }
  CHECK(m.finish() == "");
}

TEST_CASE("A step of a group that fails can be tried again") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto open = must(group_file::open(1, m.system));
  m.fail_ioctl(VFIO_GROUP_SET_CONTAINER, 1, errc::perm);
  CHECK(std::move(open).join(c).error() == errc::perm);
  CHECK(c.groups() == 0);
  auto joined = must(std::move(open).join(c));
  CHECK(c.groups() == 1);
  m.fail_ioctl(VFIO_SET_IOMMU, 1, errc::nodev);
  CHECK(std::move(joined).set_iommu().error() == errc::nodev);
  CHECK_FALSE(c.has_iommu());
  auto ready = must(std::move(joined).set_iommu());
  m.fail_ioctl(KVM_SET_DEVICE_ATTR, 1, errc::nomem);
  CHECK(std::move(ready).attach(files).error() == errc::nomem);
  CHECK(files.size() == 0);
  auto attached = must(std::move(ready).attach(files));
  m.fail_ioctl(VFIO_GROUP_GET_DEVICE_FD, 1, errc::mfile);
  CHECK(attached.open_device(first_device).error() == errc::mfile);
  CHECK(attached.open_device("0000:00:09.0").error() == errc::nodev);
  auto d = must(attached.open_device(first_device));
  CHECK(attached.close() == errc::busy);
  CHECK(d.close() == errc::ok);
  m.forget_calls();
  CHECK(attached.close() == errc::ok);
  CHECK(m.calls() ==
        "ioctl(0, FILE_DEL fd 2) = 0\n"
        "ioctl(2, UNSET_CONTAINER) = 0\n"
        "close(2) = 0\n");
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A step of a device file that fails can be tried again") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto s = must(address_space::open(m.system));
  auto open = must(device_file::open(1, m.system));
  m.fail_ioctl(KVM_SET_DEVICE_ATTR, 1, errc::inval);
  CHECK(std::move(open).attach(files).error() == errc::inval);
  auto attached = must(std::move(open).attach(files));
  CHECK(std::move(attached).bind({}).error() == errc::badf);
  m.fail_ioctl(kvm_vfio::uapi::request_bind_iommufd, 1, errc::busy);
  CHECK(std::move(attached).bind(s).error() == errc::busy);
  auto bound = must(std::move(attached).bind(s));
  m.fail_ioctl(kvm_vfio::uapi::request_attach_iommufd_pt, 1, errc::addrinuse);
  CHECK(std::move(bound).attach_to_space().error() == errc::addrinuse);
  auto d = must(std::move(bound).attach_to_space());
  CHECK(d);
  d = {};
  s = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A virtual function is bound with the token of its physical function") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].physical_function = second_device;
  vmm_machine<> m(t);
  {
    const vm_files files = m.make_files();
    const address_space space = must(address_space::open(m.system));
    const native::vfio::vf_token token{{0x0a, 0x1b}}, other{{1}};
    auto physical = must(must(device_file::open(1, m.system)).attach(files));
    auto open = must(std::move(physical).bind(space, token));
    auto function = must(must(device_file::open(0, m.system)).attach(files));
    CHECK(std::move(function).bind(space).error() == errc::access);
    CHECK(std::move(function).bind(space, other).error() == errc::access);
    CHECK(std::move(function).bind(address_space(), token).error() == errc::badf);
    const bound_device bound = must(std::move(function).bind(space, token));
    CHECK(bound);
  }
  CHECK(m.finish() == "");
}

TEST_CASE("Each step has a view of its descriptor, and tells whether it is empty") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  auto open = must(group_file::open(2, m.system));
  const int fd = open.view().fd();
  CHECK(must(open.view().viable()));
  auto joined = must(std::move(open).join(c));
  CHECK_FALSE(open);
  CHECK(joined);
  CHECK(joined.view().fd() == fd);
  auto ready = must(std::move(joined).set_iommu());
  CHECK_FALSE(joined);
  CHECK(joined.view().fd() == -1);
  CHECK(ready);
  CHECK(ready.view().fd() == fd);
  auto attached = must(std::move(ready).attach(files));
  CHECK_FALSE(ready);
  CHECK(ready.view().fd() == -1);
  CHECK(attached.view().fd() == fd);

  auto file = must(device_file::open(0, m.system));
  CHECK(file);
  const int file_fd = file.view().fd();
  auto with_vm = must(std::move(file).attach(files));
  CHECK_FALSE(file);
  CHECK(file.view().fd() == -1);
  CHECK(with_vm.view().fd() == file_fd);
  auto bound = must(std::move(with_vm).bind(s));
  CHECK_FALSE(with_vm);
  CHECK(with_vm.view().fd() == -1);
  CHECK(bound.view().fd() == file_fd);
  auto d = must(std::move(bound).attach_to_space());
  CHECK_FALSE(bound);
  CHECK(bound.view().fd() == -1);
  CHECK(d.view().fd() == file_fd);
}

TEST_CASE("The destructor of each step undoes what was done") {
  vmm_machine<> m;
  auto files = m.make_files();
  {
    auto c = must(container::open(m.system));
    m.forget_calls();
    {
      auto open = must(group_file::open(1, m.system));
    }
    CHECK(m.calls() == "open(\"/dev/vfio/1\") = 2\nclose(2) = 0\n");
    {
      auto joined = must(must(group_file::open(1, m.system)).join(c));
    }
    {
      auto ready = m.with_iommu(1, c);
    }
    m.forget_calls();
    {
      auto attached = m.attach(1, c, files);
    }
    CHECK(m.calls() ==
          "open(\"/dev/vfio/1\") = 2\n"
          "ioctl(2, SET_CONTAINER fd 1) = 0\n"
          "ioctl(1, SET_IOMMU) = 0\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "ioctl(2, UNSET_CONTAINER) = 0\n"
          "close(2) = 0\n");
  }
  {
    auto s = must(address_space::open(m.system));
    {
      auto open = must(device_file::open(0, m.system));
    }
    {
      auto attached = must(must(device_file::open(0, m.system)).attach(files));
    }
    m.forget_calls();
    {
      auto bound = must(must(must(device_file::open(0, m.system)).attach(files)).bind(s));
      CHECK(bound.id() != 0);
    }
    CHECK(m.calls() ==
          "open(\"/dev/vfio/devices/vfio0\") = 2\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n"
          "ioctl(2, BIND_IOMMUFD fd 1) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = 0\n"
          "close(2) = 0\n");
  }
  files = {};
  CHECK(m.finish() == "");
}

template <class T>
T moved_from(T& from) {
  return std::move(from);
}

TEST_CASE("An object that was moved from is empty") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  const vm_files no_files;
  const container no_container;
  const address_space no_space;

  auto open = must(group_file::open(1, m.system));
  CHECK(std::move(open).join(no_container).error() == errc::badf);
  auto joined = must(std::move(open).join(c));
  CHECK(std::move(open).join(c).error() == errc::badf);
  CHECK(open.view().fd() == -1);
  CHECK(open.release().fd() == -1);
  auto ready = must(std::move(joined).set_iommu());
  CHECK(std::move(joined).set_iommu().error() == errc::badf);
  CHECK(std::move(ready).attach(no_files).error() == errc::badf);
  auto attached = must(std::move(ready).attach(files));
  CHECK(std::move(ready).attach(files).error() == errc::badf);
  CHECK(ready.forecast().error() == errc::badf);
  CHECK_FALSE(std::move(ready).without_kvm());
  auto group = moved_from(attached);
  CHECK(group);
  CHECK_FALSE(attached);
  CHECK(attached.open_device(first_device).error() == errc::badf);
  CHECK(attached.set_spapr_tce(0) == errc::badf);
  CHECK(attached.close() == errc::ok);
  CHECK(attached.release().fd() == -1);
  CHECK(attached.view().fd() == -1);
  CHECK_FALSE(attached.share());

  auto d = must(group.open_device(first_device));
  auto moved = moved_from(d);
  const int fd = -1;
  CHECK_FALSE(d);
  CHECK(d.view().fd() == -1);
  CHECK(d.arm(0, 0, &fd, 1) == errc::badf);
  CHECK(d.disarm(0) == errc::badf);
  CHECK(d.map({}, 0, page).error() == errc::badf);
  CHECK(d.close() == errc::ok);
  CHECK(d.release().fd() == -1);
  CHECK_FALSE(group_of(d));
  CHECK(moved.view().fd() >= 0);

  auto file = must(device_file::open(1, m.system));
  auto with_vm = must(std::move(file).attach(files));
  CHECK(std::move(file).attach(files).error() == errc::badf);
  CHECK(file.release().fd() == -1);
  CHECK(std::move(std::move(file).without_kvm()).bind(s).error() == errc::badf);
  auto bound = must(std::move(with_vm).bind(s));
  CHECK(std::move(with_vm).bind(s).error() == errc::badf);
  auto second = must(std::move(bound).attach_to_space());
  CHECK(std::move(bound).attach_to_space().error() == errc::badf);

  auto memory = must(c.map(memory_at(0)));
  auto kept = moved_from(memory);
  CHECK_FALSE(memory);
  CHECK(memory.unmap() == errc::ok);
  memory.release();
  CHECK(kept.what().size == page);
  auto c2 = moved_from(c);
  CHECK_FALSE(c);
  CHECK(c.map(memory_at(page)).error() == errc::badf);
  CHECK(c.groups() == 0);
  CHECK_FALSE(c.has_iommu());
  CHECK(c.view().fd() == -1);
  CHECK(c.release().fd() == -1);
  auto s2 = moved_from(s);
  CHECK_FALSE(s);
  CHECK(s.map(memory_at(page)).error() == errc::badf);
  CHECK(s.view().fd() == -1);
  CHECK(s.id() == native::vfio::ioas_id{});
  CHECK(s.release().fd() == -1);
  auto files2 = moved_from(files);
  CHECK_FALSE(files);
  CHECK(files.size() == 0);
  CHECK(files.device().fd() == -1);
  CHECK(files.rebind(m.make_vm()) == errc::badf);
  CHECK(files.release().fd() == -1);
  CHECK(files2.size() == 2);

  SECTION("assignment undoes what the object had") {
    m.forget_calls();
    group = {};
    const int group_fd = group_of(moved).view().fd();
    moved = std::move(second);
    CHECK(m.calls().find("ioctl(0, FILE_DEL fd " + std::to_string(group_fd) + ") = 0\n") !=
          std::string::npos);
    CHECK(files2.size() == 1);
  }
  SECTION("an object may be assigned to itself") {
    auto& same = moved;
    moved = std::move(same);
    CHECK(moved);
    auto& same_mapping = kept;
    kept = std::move(same_mapping);
    CHECK(kept);
  }
  group = {};
  moved = {};
  second = {};
  kept = {};
  c2 = {};
  s2 = {};
  files2 = {};
  CHECK(m.finish() == "");
}

TEST_CASE("close() says busy while something is shared") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto group = m.attach(1, c, files);
  {
    const auto shared = group.share();
    CHECK(shared.view().fd() == group.view().fd());
    CHECK(group.close() == errc::busy);
    CHECK(group.release().fd() == -1);
    CHECK(group);
  }
  auto d = must(group.open_device(first_device));
  CHECK(group.close() == errc::busy);
  CHECK(d.close() == errc::ok);
  CHECK(group.close() == errc::ok);
  CHECK_FALSE(group);
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("close() reports the first error, and undoes the rest all the same") {
  vmm_machine<> m;
  auto files = m.make_files();
  SECTION("of a group without devices") {
    auto c = must(container::open(m.system));
    auto group = m.attach(1, c, files);
    m.fail_ioctl(VFIO_GROUP_UNSET_CONTAINER, 1, errc::io);
    CHECK(group.close() == errc::io);
    CHECK_FALSE(group);
    CHECK(files.size() == 0);
    CHECK(m.checker().count(trace::rule::left_in_container) == 1);
    CHECK(m.look().containers.at(0).groups.empty());  // the kernel took the group out
    CHECK_FALSE(c.has_iommu());
    CHECK(must(m.attach(1, c, files).open_device(first_device)));  // from SET_IOMMU on again
  }
  SECTION("of the group of the last device") {
    auto c = must(container::open(m.system));
    auto d = must(m.attach(1, c, files).open_device(first_device));
    m.fail_ioctl(KVM_SET_DEVICE_ATTR, 1, errc::io);
    m.forget_calls();
    CHECK(d.close() == errc::io);
    CHECK(m.calls() ==
          "close(3) = 0\n"
          "ioctl(0, FILE_DEL fd 2) = EIO\n"
          "ioctl(2, UNSET_CONTAINER) = 0\n"
          "close(2) = 0\n");
    CHECK(m.tracked("vm0") == names{"/dev/vfio/1"});
  }
  SECTION("of a device file") {
    auto s = must(address_space::open(m.system));
    auto d = m.plug(0, s, files);
    m.fail_ioctl(kvm_vfio::uapi::request_detach_iommufd_pt, 1, errc::nodev);
    CHECK(d.close() == errc::nodev);
    CHECK_FALSE(d);
  }
}

TEST_CASE("release() of each step gives the descriptor away and undoes nothing") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  m.forget_calls();
  SECTION("a group file") {
    auto open = must(group_file::open(1, m.system));
    CHECK(open.release().fd() == 3);
    CHECK(open.view().fd() == -1);
    CHECK(m.calls() == "open(\"/dev/vfio/1\") = 3\n");
    CHECK(m.process().close(3));
  }
  SECTION("an attached group") {
    auto group = m.attach(1, c, files);
    m.forget_calls();
    const auto given = group.release();
    CHECK(given.fd() == 3);
    CHECK_FALSE(group);
    CHECK(files.size() == 0);
    CHECK(c.groups() == 0);
    CHECK(m.calls().empty());
    CHECK(m.tracked("vm0") == names{"/dev/vfio/1"});
    auto device_view = files.device();
    CHECK(kvm_vfio::file_del(device_view, 3) == errc::ok);
    CHECK(given.unset_container() == errc::ok);
    CHECK(m.process().close(3));
  }
  SECTION("a device file") {
    auto open = must(device_file::open(0, m.system));
    CHECK(open.release().fd() == 3);
    CHECK(m.calls() == "open(\"/dev/vfio/devices/vfio0\") = 3\n");
    CHECK(m.process().close(3));
  }
  SECTION("a device with a file of its own") {
    auto d = m.plug(0, s, files);
    m.forget_calls();
    const auto given = d.release();
    CHECK(given.fd() == 3);
    CHECK_FALSE(d);
    CHECK(files.size() == 0);
    CHECK(m.calls().empty());
    CHECK(m.tracked("vm0") == names{"0000:00:04.0"});
    CHECK(given.detach_iommufd_pt() == errc::ok);
    auto device_view = files.device();
    CHECK(kvm_vfio::file_del(device_view, 3) == errc::ok);
    CHECK(m.process().close(3));
  }
  SECTION("a device of a group") {
    auto d = must(m.attach(1, c, files).open_device(first_device));
    m.forget_calls();
    CHECK(d.release().fd() == -1);  // nobody else would give the group back
    CHECK(d);
    auto group = group_of(d);
    const auto given = d.release();
    CHECK(given.fd() == 4);
    CHECK_FALSE(d);
    CHECK(m.calls().empty());
    CHECK(m.process().close(4));
    CHECK(group.close() == errc::ok);
  }
  SECTION("the files of a VM") {
    auto group = m.attach(1, c, files);
    m.forget_calls();
    const auto given = files.release();
    CHECK(given.fd() == 0);
    CHECK_FALSE(files);
    CHECK(files.size() == 0);
    CHECK(m.tracked("vm0") == names{"/dev/vfio/1"});
    CHECK(m.process().close(0));
    m.forget_calls();
    CHECK(group.close() == errc::ok);
    CHECK(m.calls() ==
          "ioctl(3, UNSET_CONTAINER) = 0\n"
          "close(3) = 0\n");
  }
  c = {};
  s = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Descriptors that another program passed are taken over") {
  vmm_machine<> m;
  auto vm = m.make_vm();
  auto files = must(vm_files::adopt(must(vm.create_kvm_vfio_device())));
  auto c = must(container::adopt(
      must(native::vfio::basic_container_ref<sys>::open("/dev/vfio/vfio", m.system))));
  auto s = must(address_space::adopt(
      must(native::vfio::basic_iommufd_ref<sys>::open("/dev/iommu", m.system))));
  {
    auto g = must(group_file::adopt(must(native::vfio::basic_group_ref<sys>::open(1, m.system))));
    auto d = must(
        must(must(must(std::move(g).join(c)).set_iommu()).attach(files)).open_device(first_device));
    auto f = must(device_file::adopt(must(native::vfio::basic_device_ref<sys>::open(1, m.system))));
    auto d2 = must(must(must(std::move(f).attach(files)).bind(s)).attach_to_space());
    CHECK(files.size() == 2);
  }
  // Files that the kvm-vfio device tracked before are not those of this object.
  auto other = must(native::vfio::basic_device_ref<sys>::open(0, m.system));
  auto device_view = files.device();
  REQUIRE(kvm_vfio::file_add(device_view, other.fd()) == errc::ok);
  CHECK(files.size() == 0);
  REQUIRE(kvm_vfio::file_del(device_view, other.fd()) == errc::ok);
  other = {};
  c = {};
  s = {};
  files = {};
  vm = {};
  CHECK(m.finish() == "");

  SECTION("if adopting fails, the descriptor is closed") {
    vmm_machine<> n;
    n.fail_ioctl(kvm_vfio::uapi::request_ioas_alloc, 1, errc::nomem);
    CHECK(address_space::open(n.system).error() == errc::nomem);
    CHECK(n.finish() == "");
  }
}

TEST_CASE("A program without a VM uses the steps without KVM") {
  vmm_machine<> m;
  {
    auto c = must(container::open(m.system));
    auto group = m.with_iommu(1, c).without_kvm();
    CHECK(group.set_spapr_tce(1) == errc::noent);
    auto d = must(group.open_device(first_device));
    group = {};
    auto s = must(address_space::open(m.system));
    auto d2 =
        must(must(must(device_file::open(1, m.system)).without_kvm().bind(s)).attach_to_space());
    m.forget_calls();
    CHECK(d2.close() == errc::ok);
    CHECK(d.close() == errc::ok);
    CHECK(m.calls() ==
          "ioctl(4, DETACH_IOMMUFD_PT) = 0\n"
          "close(4) = 0\n"
          "close(2) = 0\n"
          "ioctl(1, UNSET_CONTAINER) = 0\n"
          "close(1) = 0\n");
  }
  CHECK(m.finish() == "");
}

TEST_CASE("Several VMs of one process have their own files") {
  vmm_machine<> m;
  auto first = m.make_files();
  auto second = m.make_files();
  auto c1 = must(container::open(m.system));
  auto c2 = must(container::open(m.system));
  auto d1 = must(m.attach(1, c1, first).open_device(first_device));
  auto g2 = m.attach(2, c2, second);
  CHECK(m.tracked("vm0") == names{"/dev/vfio/1"});
  CHECK(m.tracked("vm1") == names{"/dev/vfio/2"});
  CHECK(d1.close() == errc::ok);
  CHECK(m.tracked("vm0").empty());
  CHECK(m.tracked("vm1") == names{"/dev/vfio/2"});
  d1 = must(m.attach(1, c1, second).open_device(first_device));
  CHECK(second.size() == 2);
  CHECK(first.size() == 0);
  d1 = {};
  g2 = {};
  c1 = {};
  c2 = {};
  first = {};
  second = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A VM has one object for its files") {
  vmm_machine<> m;
  auto vm = m.make_vm();
  auto files = must(vm_files::create(vm));
  CHECK(vm_files::create(vm).error() == errc::busy);
  CHECK(vm_files::create(vm_owner()).error() == errc::badf);
  CHECK(vm_files::create(native::basic_vm_ref<sys>(-1, m.system)).error() == errc::badf);
  CHECK(m.checker().count(trace::rule::second_kvm_vfio) == 1);
}

TEMPLATE_TEST_CASE("The view of an empty object answers EBADF on every system", "", sys,
                   native::host, kvm_vfio::testing::mock_system) {
  CHECK(client::device<TestType>().view().info().error() == errc::badf);
  CHECK(client::device<TestType>().view().disarm(0) == errc::badf);
  CHECK(client::group_file<TestType>().view().viable().error() == errc::badf);
  CHECK(client::container<TestType>().view().set_iommu() == errc::badf);
  CHECK(client::vm_files<TestType>().device().has_attr({}) == errc::badf);
}

TEST_CASE("A mapped region keeps its device and the group") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto d = must(m.attach(1, c, files).open_device(first_device));
  const auto bar = must(d.view().region(VFIO_PCI_BAR0_REGION_INDEX));
  auto mapped = must(d.map(bar, 0, page));
  REQUIRE(mapped);
  CHECK(mapped.size() == page);
  CHECK(d.close() == errc::busy);
  CHECK(d.release().fd() == -1);
  CHECK(d);
  m.forget_calls();
  d = {};
  CHECK(m.calls().empty());
  CHECK(files.size() == 1);
  *static_cast<volatile std::uint32_t*>(mapped.data()) = 7;
  CHECK(*static_cast<volatile std::uint32_t*>(mapped.data()) == 7);
  auto other = moved_from(mapped);
  CHECK_FALSE(mapped);
  CHECK(mapped.data() == nullptr);
  auto& same = other;
  other = std::move(same);
  CHECK(other);
  other = {};
  const std::string calls = m.calls();
  CHECK(calls.substr(0, 6) == "munmap");
  CHECK(calls.substr(calls.find('\n') + 1) ==
        "close(3) = 0\n"
        "ioctl(0, FILE_DEL fd 2) = 0\n"
        "ioctl(2, UNSET_CONTAINER) = 0\n"
        "close(2) = 0\n");
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEMPLATE_TEST_CASE("Plugging and unplugging leaves nothing on any release", "", kvm_vfio::linux_6_1,
                   kvm_vfio::linux_6_12, kvm_vfio::linux_7_3) {
  vmm_machine<TestType> m;
  const sim::snapshot before = m.look();
  {
    auto files = m.make_files();
    auto c = must(container::open(m.system));
    auto memory = must(c.map(memory_at(0)));
    auto first = must(m.attach(1, c, files).open_device(first_device));
    auto second = must(m.attach(2, c, files).open_device(second_device));
    CHECK(m.tracked("vm0").size() == 2);
    CHECK(device_file::open(0, m.system).error() ==
          (std::is_same_v<TestType, kvm_vfio::linux_6_1> ? errc::noent : errc::ok));
  }
  CHECK(m.look() == before);
  if (!std::is_same_v<TestType, kvm_vfio::linux_6_1>) {
    auto files = m.make_files();
    auto s = must(address_space::open(m.system));
    auto d = m.plug(0, s, files);
    CHECK(d.close() == errc::ok);
    d = m.plug(0, s, files);
  }
  CHECK(m.finish() == "");
}

TEST_CASE("What the host refuses is the error of the step") {
  sim::topology t = two_groups();
  t.groups[0].devices[0].needs_vm = true;
  t.groups[1].devices[1].bound = sim::driver::other;
  vmm_machine<> m(t);
  {
    auto files = m.make_files();
    auto c = must(container::open(m.system));
    auto s = must(address_space::open(m.system));
    CHECK(group_file::open(9, m.system).error() == errc::noent);
    CHECK(group_file::open(-1, m.system).error() == errc::inval);
    CHECK(device_file::open(9, m.system).error() == errc::noent);
    auto not_viable = must(group_file::open(2, m.system));
    CHECK(std::move(not_viable).join(c).error() == errc::perm);
    {
      auto group = m.with_iommu(1, c).without_kvm();
      CHECK(group_file::open(1, m.system).error() == errc::busy);
      CHECK(group.open_device(first_device).error() == errc::srch);
    }
    CHECK(must(m.attach(1, c, files).open_device(first_device)));
    auto file = must(device_file::open(0, m.system)).without_kvm();
    CHECK(std::move(file).bind(s).error() == errc::srch);
    auto d = m.plug(0, s, files);
    CHECK(group_file::open(1, m.system).error() == errc::busy);
  }
  CHECK(m.process().descriptors() == 0);
}

template <class T>
constexpr bool move_only =
    std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
    std::is_nothrow_default_constructible_v<T> && !std::is_copy_constructible_v<T> &&
    !std::is_copy_assignable_v<T>;
static_assert(move_only<vm_files> && move_only<container> && move_only<address_space> &&
              move_only<mapping> && move_only<group_file> && move_only<group_in_container> &&
              move_only<group_with_iommu> && move_only<device_file> &&
              move_only<attached_device_file> && move_only<bound_device> && move_only<device> &&
              move_only<client::mapped_region<sys>>);
static_assert(move_only<attached_group>);  // `share` says what it does, a copy would not

TEST_CASE("One call plugs the first device of a group, or a device file, as the steps do") {
  vmm_machine<> m;
  vm_files files = m.make_files();
  container c = must(container::open(m.system));
  const auto before = m.look();
  m.forget_calls();
  for (const auto request :
       {0UL, static_cast<unsigned long>(VFIO_GROUP_SET_CONTAINER),
        static_cast<unsigned long>(VFIO_SET_IOMMU), static_cast<unsigned long>(KVM_SET_DEVICE_ATTR),
        static_cast<unsigned long>(VFIO_GROUP_GET_DEVICE_FD)}) {
    if (request != 0) m.fail_ioctl(request, 1, errc::io);
    client::plug_report report;
    auto d = client::plug_from_group(1, first_device, c, files, request == 0 ? nullptr : &report);
    if (request != 0) {
      CHECK(std::string(native::name(report.step)) ==
            (request == VFIO_GROUP_SET_CONTAINER   ? "VFIO_GROUP_SET_CONTAINER"
             : request == VFIO_SET_IOMMU           ? "VFIO_SET_IOMMU"
             : request == VFIO_GROUP_GET_DEVICE_FD ? "VFIO_GROUP_GET_DEVICE_FD"
                                                   : "FILE_ADD"));
      const bool asked = request == KVM_SET_DEVICE_ATTR || request == VFIO_GROUP_GET_DEVICE_FD;
      CHECK(report.forecast.error() == (asked ? errc::ok : errc::again));
    }
    CHECK(d.error() == (request == 0 ? errc::ok : errc::io));
    CHECK(files.size() == (request == 0 ? 1 : 0));
    if (request != 0) continue;
    CHECK(m.calls() ==
          "open(\"/dev/vfio/1\") = 2\n"
          "ioctl(2, SET_CONTAINER fd 1) = 0\n"
          "ioctl(1, SET_IOMMU) = 0\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n"
          "ioctl(2, GET_DEVICE_FD \"0000:00:04.0\") = 3\n");
    CHECK(d->close() == errc::ok);
  }
  CHECK(m.look() == before);
  c = {};
  address_space space = must(address_space::open(m.system));
  const auto with_space = m.look();
  m.forget_calls();
  {
    client::plug_report report;
    CHECK(client::plug_device_file(0, space, files, &report).value().close() == errc::ok);
    CHECK(report.step == native::operation::attach_iommufd_pt);
    CHECK(report.forecast);
    CHECK(client::plug_device_file(77, space, files, &report).error() == errc::noent);
    CHECK(report.step == native::operation::open_device);
    m.forget_calls();
    auto d = client::plug_device_file(0, space, files);
    REQUIRE(d);
    CHECK(m.calls() ==
          "open(\"/dev/vfio/devices/vfio0\") = 2\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n"
          "ioctl(2, BIND_IOMMUFD fd 1) = 0\n"
          "ioctl(2, ATTACH_IOMMUFD_PT) = 0\n");
  }
  CHECK(m.look() == with_space);
  CHECK(client::plug_from_group(1, first_device, container(), files).error() == errc::badf);
  CHECK(client::plug_device_file(0, address_space(), files).error() == errc::badf);
  CHECK(m.checker().reports().empty());
}

}  // namespace
