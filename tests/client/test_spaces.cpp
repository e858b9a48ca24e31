// SPDX-License-Identifier: BSL-1.0
// Containers and address spaces: devices that share them, their mappings, and who outlives whom.
#include "machine.hpp"
#include "support/catch.hpp"

namespace {

TEST_CASE("Two devices of one group: the group goes with the last one") {
  const bool first_goes_first = GENERATE(true, false);
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto first = must(m.attach(2, c, files).open_device(second_device));
  auto second = must(group_of(first).open_device(third_device));
  CHECK(group_of(second).view().fd() == group_of(first).view().fd());
  CHECK(files.size() == 1);
  m.forget_calls();
  CHECK((first_goes_first ? first : second).close() == errc::ok);
  CHECK(m.calls() == (first_goes_first ? "close(3) = 0\n" : "close(4) = 0\n"));
  CHECK(files.size() == 1);
  CHECK((first_goes_first ? second : first).close() == errc::ok);
  CHECK(m.calls() == std::string(first_goes_first ? "close(4) = 0\n" : "close(3) = 0\n") +
                         "ioctl(0, FILE_DEL fd 2) = 0\n"
                         "ioctl(2, UNSET_CONTAINER) = 0\n"
                         "close(2) = 0\n");
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("The group of a further device is found by its number") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  std::vector<device> devices(2);  // empty ones
  CHECK_FALSE(client::find_group(devices.data(), devices.size(), 2));
  devices.push_back(m.plug(0, s, files));
  devices.push_back(must(m.attach(2, c, files).open_device(second_device)));
  auto group = client::find_group(devices.data(), devices.size(), 2);
  REQUIRE(group);
  CHECK(group.number() == 2);
  devices.push_back(must(group.open_device(third_device)));
  CHECK(files.size() == 2);
  CHECK_FALSE(client::find_group(devices.data(), devices.size(), 1));
  CHECK_FALSE(client::find_group(devices.data(), devices.size(), -1));
  CHECK_FALSE(client::find_group(devices.data(), 0, 2));
  CHECK(attached_group().number() == -1);
  struct slot {
    int number;
    device plugged;
  };
  std::vector<slot> slots;
  for (device& d : devices) slots.push_back({.number = 0, .plugged = std::move(d)});
  const auto plugged = [](const slot& of) -> const device& { return of.plugged; };
  CHECK(client::find_group(slots.begin(), slots.end(), 2, plugged).number() == 2);
  CHECK_FALSE(client::find_group(slots.begin(), slots.end(), 1, plugged));
  slots.clear();
  group = {};
  devices.clear();
  CHECK(files.size() == 0);
  c = {};
  s = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Two groups in one container: SET_IOMMU once, and every mapping again after the last") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto low = must(c.map(memory_at(0)));
  auto high = must(c.map(memory_at(0x100000)));
  CHECK(low.what().iova == 0);
  m.forget_calls();
  auto first = m.attach(1, c, files);
  CHECK(m.calls() ==
        "open(\"/dev/vfio/1\") = 2\n"
        "ioctl(2, SET_CONTAINER fd 1) = 0\n"
        "ioctl(1, SET_IOMMU) = 0\n"
        "ioctl(1, MAP_DMA) = 0\n"
        "ioctl(1, MAP_DMA) = 0\n"
        "ioctl(0, FILE_ADD fd 2) = 0\n");
  auto second = m.attach(2, c, files);
  CHECK(m.calls() ==
        "open(\"/dev/vfio/2\") = 3\n"
        "ioctl(3, SET_CONTAINER fd 1) = 0\n"
        "ioctl(0, FILE_ADD fd 3) = 0\n");
  CHECK(c.groups() == 2);
  auto late = must(c.map(memory_at(0x200000)));  // at once, because there is a driver
  CHECK(m.calls() == "ioctl(1, MAP_DMA) = 0\n");
  CHECK(first.close() == errc::ok);
  CHECK(c.has_iommu());
  CHECK(m.look().containers.at(0).mappings.size() == 3);
  CHECK(high.unmap() == errc::ok);
  CHECK(second.close() == errc::ok);
  CHECK(c.groups() == 0);
  CHECK_FALSE(c.has_iommu());
  CHECK(m.look().containers.at(0).mappings.empty());
  m.forget_calls();
  {
    auto kept = must(c.map(memory_at(0x300000)));
    CHECK(m.calls().empty());  // no driver: kept, and removed without a call
  }
  CHECK(m.calls().empty());
  first = m.attach(1, c, files);
  CHECK(m.calls() ==
        "open(\"/dev/vfio/1\") = 2\n"
        "ioctl(2, SET_CONTAINER fd 1) = 0\n"
        "ioctl(1, SET_IOMMU) = 0\n"
        "ioctl(1, MAP_DMA) = 0\n"
        "ioctl(1, MAP_DMA) = 0\n"
        "ioctl(0, FILE_ADD fd 2) = 0\n");
  low = {};
  CHECK(m.look().containers.at(0).mappings.size() == 1);
  late.release();  // the mapping stays until the group leaves
  CHECK(m.look().containers.at(0).mappings.size() == 1);
  CHECK(first.close() == errc::ok);
  m.forget_calls();
  first = m.attach(1, c, files);
  CHECK(m.look().containers.at(0).mappings.empty());  // and does not come again
  first = {};
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A mapping that the new driver refuses fails the step, which can be tried again") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto good = must(c.map(memory_at(0)));
  auto bad = must(c.map(memory_at(0xfee00000)));  // the interrupts of x86
  auto later = must(c.map(memory_at(0x100000)));
  auto joined = must(must(group_file::open(1, m.system)).join(c));
  CHECK(std::move(joined).set_iommu().error() == errc::inval);
  CHECK(c.has_iommu());  // the container keeps the driver and the earlier mappings
  CHECK(must(c.refused()).iova == 0xfee00000);
  CHECK(m.look().containers.at(0).mappings.size() == 1);
  SECTION("without the mapping") {
    bad = {};
    m.forget_calls();
    auto ready = must(std::move(joined).set_iommu());
    CHECK(m.calls() == "ioctl(1, MAP_DMA) = 0\n");  // neither SET_IOMMU nor the first one again
    CHECK(m.look().containers.at(0).mappings.size() == 2);
    CHECK(c.refused().error() == errc::noent);
  }
  SECTION("another group meets it, too") {
    auto second = must(must(group_file::open(2, m.system)).join(c));
    CHECK(std::move(second).set_iommu().error() == errc::inval);
    CHECK(c.groups() == 2);
  }
  SECTION("a mapping that overlaps is refused at once if there is a driver") {
    CHECK(c.map(memory_at(0, 2 * page)).error() == errc::exists);
    CHECK(c.map(memory_at(0xfee00000)).error() == errc::inval);
    CHECK(m.look().containers.at(0).mappings.size() == 1);
  }
  joined = {};
  good = {};
  bad = {};
  later = {};
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A group cannot leave while a descriptor of its device is open elsewhere") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto memory = must(c.map(memory_at(0)));
  auto removed = must(c.map(memory_at(page)));
  auto d = must(m.attach(1, c, files).open_device(first_device));
  const int elsewhere = must(m.system.dup(d.view().fd()));
  CHECK(d.close() == errc::busy);
  CHECK(c.groups() == 0);
  m.forget_calls();
  SECTION("the container has its driver and the mappings still") {
    removed = {};
    auto group = m.attach(2, c, files);
    CHECK(m.calls() ==
          "ioctl(1, UNMAP_DMA) = 0\n"
          "open(\"/dev/vfio/2\") = 2\n"
          "ioctl(2, SET_CONTAINER fd 1) = 0\n"
          "ioctl(1, SET_IOMMU) = EINVAL\n"
          "ioctl(0, FILE_ADD fd 2) = 0\n");
    CHECK(m.look().containers.at(0).mappings.size() == 1);
    CHECK(m.process().close(elsewhere));
    CHECK(memory.unmap() == errc::ok);
    CHECK(m.look().containers.at(0).mappings.empty());
  }
  SECTION("the descriptor is closed, and the driver is a new one") {
    CHECK(m.process().close(elsewhere));
    removed = {};
    auto group = m.attach(2, c, files);
    CHECK(m.look().containers.at(0).mappings.size() == 1);
  }
  CHECK(c.groups() == 0);
  CHECK_FALSE(c.has_iommu());
  auto group = m.attach(1, c, files);
  CHECK(must(group.open_device(first_device)));
}

TEST_CASE("A group that asks for another IOMMU driver than the container has is refused") {
  vmm_machine<> m;
  auto c = must(container::open(m.system));
  CHECK(c.refused().error() == errc::noent);
  CHECK(container().refused().error() == errc::badf);
  auto first = m.with_iommu(1, c);
  auto second = must(must(group_file::open(2, m.system)).join(c));
  m.forget_calls();
  CHECK(std::move(second).set_iommu(VFIO_TYPE1_IOMMU).error() == errc::busy);
  CHECK(m.calls().empty());
  SECTION("the step can be tried again") {
    auto ready = must(std::move(second).set_iommu());
    CHECK(m.calls().empty());
  }
  SECTION("the container has no driver any more") {
    CHECK(first.close() == errc::ok);
    CHECK(std::move(second).set_iommu(VFIO_TYPE1_IOMMU).error() == errc::busy);
    CHECK(second.close() == errc::ok);
    auto ready =
        must(must(must(group_file::open(2, m.system)).join(c)).set_iommu(VFIO_TYPE1_IOMMU));
    CHECK(c.has_iommu());
  }
  SECTION("a released container") {
    const int fd = c.release().fd();
    CHECK(std::move(second).set_iommu(VFIO_TYPE1_IOMMU).error() == errc::busy);
    CHECK(std::move(second).set_iommu());
    CHECK(m.system.close(fd) == errc::ok);
  }
}

TEST_CASE("A space that is needed cannot be closed") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  SECTION("a device and a group") {
    auto d = m.plug(0, s, files);
    auto group = must(must(group_file::open(2, m.system)).join(c));
    m.forget_calls();
    CHECK(s.close() == errc::busy);
    CHECK(c.close() == errc::busy);
    CHECK(m.calls().empty());
    CHECK(d.close() == errc::ok);
    CHECK(group.close() == errc::ok);
  }
  SECTION("mappings") {
    auto in_space = must(s.map(memory_at(0)));
    auto in_container = must(c.map(memory_at(0)));
    CHECK(s.close() == errc::busy);
    CHECK(c.close() == errc::busy);
  }
  SECTION("a device of another program") {
    auto other = must(native::vfio::basic_device_ref<sys>::open(0, m.system));
    REQUIRE(other.bind_iommufd(s.view()));
    REQUIRE(other.attach_iommufd_pt(s.id()) == errc::ok);
    CHECK(s.close() == errc::busy);
    CHECK(s);
    REQUIRE(other.detach_iommufd_pt() == errc::ok);
  }
  const int space = s.view().fd();
  const int in = c.view().fd();
  m.forget_calls();
  CHECK(s.close() == errc::ok);
  CHECK(c.close() == errc::ok);
  CHECK(m.calls() == "ioctl(" + std::to_string(space) + ", IOMMU_DESTROY) = 0\nclose(" +
                         std::to_string(space) + ") = 0\nclose(" + std::to_string(in) + ") = 0\n");
  CHECK_FALSE(s);
  CHECK(s.close() == errc::ok);
  CHECK(c.close() == errc::ok);
  files = {};
}

TEST_CASE("More memory than RLIMIT_MEMLOCK allows fails the step") {
  vmm_machine<> m;
  auto c = must(container::open(m.system));
  auto first = must(c.map(memory_at(0)));
  auto second = must(c.map(memory_at(page)));
  auto joined = must(must(group_file::open(1, m.system)).join(c));
  m.fail_ioctl(VFIO_IOMMU_MAP_DMA, 2, errc::nomem);
  CHECK(std::move(joined).set_iommu().error() == errc::nomem);
  CHECK(m.look().containers.at(0).mappings.size() == 1);
  auto ready = must(std::move(joined).set_iommu());
  CHECK(m.look().containers.at(0).mappings.size() == 2);
  m.fail_ioctl(VFIO_IOMMU_MAP_DMA, 1, errc::nomem);
  CHECK(c.map(memory_at(2 * page)).error() == errc::nomem);
  m.fail_ioctl(VFIO_IOMMU_UNMAP_DMA, 1, errc::inval);
  CHECK(first.unmap() == errc::inval);
  CHECK(first);  // still mapped
  CHECK(first.unmap() == errc::ok);
  CHECK_FALSE(first);
  CHECK(first.unmap() == errc::ok);
  ready = {};
  second = {};
  c = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A group that its container refuses is in no container") {
  sim::topology t = two_groups();
  t.iommus.push_back(t.iommus[0]);
  t.iommus[1].name = "iommu1";
  t.iommus[1].reserved.push_back({0x100000, 0x1fffff, sim::region_type::reserved});
  t.groups[1].iommu = "iommu1";
  vmm_machine<> m(t);
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto memory = must(c.map(memory_at(0x100000)));
  auto first = m.attach(1, c, files);
  auto open = must(group_file::open(2, m.system));
  CHECK(std::move(open).join(c).error() == errc::inval);
  CHECK(c.groups() == 1);
  CHECK(first.close() == errc::ok);
  // The other order: the driver takes the group, but not the mapping.
  auto joined = must(std::move(open).join(c));
  CHECK(std::move(joined).set_iommu().error() == errc::inval);
  joined = {};
  memory = {};
  c = {};
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("A mapping keeps its space open only while it exists") {
  vmm_machine<> m;
  auto c = must(container::open(m.system));
  auto s = must(address_space::open(m.system));
  auto in_container = must(c.map(memory_at(0)));
  auto in_space = must(s.map(memory_at(0)));
  c = {};
  s = {};
  m.forget_calls();
  SECTION("unmap") {
    CHECK(in_container.unmap() == errc::ok);
    CHECK(in_space.unmap() == errc::ok);
  }
  SECTION("release") {
    in_container.release();
    in_space.release();
  }
  SECTION("assignment") {
    in_container = {};
    in_space = {};
  }
  CHECK(m.process().descriptors() == 0);
  CHECK(m.finish() == "");
}

TEST_CASE("release() of a container: groups leave it, mappings stay") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto c = must(container::open(m.system));
  auto memory = must(c.map(memory_at(0)));
  auto kept = must(c.map(memory_at(page)));
  auto joined = must(must(group_file::open(2, m.system)).join(c));
  auto group = m.attach(1, c, files);
  m.forget_calls();
  const auto given = c.release();
  CHECK(given.fd() == 1);
  CHECK_FALSE(c);
  CHECK(c.groups() == 0);
  CHECK(c.map(memory_at(0x10000)).error() == errc::badf);
  CHECK(memory);
  CHECK(memory.unmap() == errc::ok);
  kept = {};
  CHECK(m.calls().empty());
  CHECK(m.look().containers.at(0).mappings.size() == 2);
  auto ready = must(std::move(joined).set_iommu());  // the container has its driver
  CHECK(m.calls().empty());
  auto d = must(group.open_device(first_device));
  group = {};
  CHECK(d.close() == errc::ok);
  ready = {};
  CHECK(m.look().containers.at(0).mappings.empty());
  CHECK(m.process().close(1));
  files = {};
  CHECK(m.finish() == "");

  SECTION("without a driver, the step of a group says badf") {
    vmm_machine<> n;
    auto other = must(container::open(n.system));
    auto in = must(must(group_file::open(1, n.system)).join(other));
    const int fd = other.release().fd();
    CHECK(std::move(in).set_iommu().error() == errc::badf);
    in = {};
    CHECK(n.process().close(fd));
    CHECK(n.finish() == "");
  }
}

TEST_CASE("release() of an address space: devices leave it, mappings stay") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto s = must(address_space::open(m.system));
  auto memory = must(s.map(memory_at(0)));
  auto d = m.plug(0, s, files);
  auto bound = must(must(must(device_file::open(1, m.system)).attach(files)).bind(s));
  const auto id = s.id();
  m.forget_calls();
  const auto given = s.release();
  CHECK(given.fd() == 1);
  CHECK_FALSE(s);
  CHECK(s.map(memory_at(page)).error() == errc::badf);
  CHECK(memory.unmap() == errc::ok);
  CHECK(m.calls().empty());
  auto second = must(std::move(bound).attach_to_space());
  d = {};
  second = {};
  CHECK(m.calls().find("DESTROY") == std::string::npos);
  CHECK(must(given.unmap(id, 0, page)) == page);
  CHECK(given.destroy(id) == errc::ok);
  CHECK(m.process().close(1));
  files = {};
  CHECK(m.finish() == "");
}

TEST_CASE("Devices of one address space share its mappings") {
  vmm_machine<> m;
  auto files = m.make_files();
  auto s = must(address_space::open(m.system));
  auto memory = must(s.map(memory_at(0)));
  auto first = m.plug(0, s, files);
  auto second = m.plug(1, s, files);
  CHECK(s.map(memory_at(0)).error() == errc::exists);
  CHECK(m.tracked("vm0").size() == 2);
  CHECK(first.close() == errc::ok);
  auto again = m.plug(0, s, files);
  CHECK(memory.unmap() == errc::ok);  // while devices use the space
  again = {};
  second = {};
  s = {};
  files = {};
  CHECK(m.finish() == "");
}

}  // namespace
