// SPDX-License-Identifier: BSL-1.0
// The world at one moment as text, JSON and Graphviz.
#include "fixture.hpp"
#include "support/catch.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/sim/topology/quotes.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>
#include <vector>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

TEST_CASE("the dumps say what is there, and why") {
  machine_under_test<> m(two_groups(/*snoop_control=*/false));
  const int dev = m.create_kvm_vfio(m.create_vm());
  const int g = m.group_with_iommu("/dev/vfio/1");
  REQUIRE(m.add(dev, g) == errc::ok);
  REQUIRE(m.device_fd(g, "0000:00:04.0"));
  const sim::snapshot s = m.kernel.look();
  CHECK(to_text(s) ==
        "Linux 7.3\n"
        "vm0: 3 users, noncoherent DMA\n"
        "  /dev/vfio/1 (vm0): noncoherent, a device of the group cannot be enforced coherent\n"
        "container 0: groups 1, type1v2, 0 mappings\n"
        "  domain of groups 1: not enforced\n"
        "group 1: open, in container 0, of vm0\n"
        "  0000:00:04.0: opened 1 times, of vm0, holds it\n");
  const std::string dot = to_dot(s);
  CHECK(dot.find("\"vm0\" -> \"/dev/vfio/1\" [label=1, color=red];") != std::string::npos);
  CHECK(dot.find("\"/dev/vfio/1\" -> \"container 0\";") != std::string::npos);
#if __has_include(<nlohmann/json.hpp>)
  const auto json = nlohmann::json::parse(to_json(s));
  CHECK(json["vms"][0]["tracked"][0]["coherent"] == false);
  CHECK(json["groups"][0]["devices"][0]["holds_vm"] == true);
  CHECK(json["groups"][1]["container"] == -1);
  CHECK(json["containers"][0]["domains"][0]["groups"] == std::vector{1});
#endif
}

TEST_CASE("a container and an address space without a group are in the snapshot") {
  machine_under_test<> m(two_groups());
  const sim::snapshot before = m.kernel.look();
  CHECK(before == m.kernel.look());
  CHECK(difference(before, m.kernel.look()).empty());
  const int c = m.open("/dev/vfio/vfio");
  const int i = m.open("/dev/iommu");
  kvm_vfio::uapi::iommu_ioas_alloc alloc{};
  alloc.size = sizeof alloc;
  REQUIRE(m.task.ioctl(i, kvm_vfio::uapi::request_ioas_alloc,
                       reinterpret_cast<std::uintptr_t>(&alloc)));
  kvm_vfio::uapi::iommu_ioas_map map{};
  map.size = sizeof map;
  map.flags = kvm_vfio::uapi::map_readable | kvm_vfio::uapi::map_fixed_iova;
  map.ioas_id = alloc.out_ioas_id;
  map.user_va = 0x7000;
  map.length = 0x2000;
  map.iova = 0x10000;
  REQUIRE(
      m.task.ioctl(i, kvm_vfio::uapi::request_ioas_map, reinterpret_cast<std::uintptr_t>(&map)));
  const sim::snapshot s = m.kernel.look();
  CHECK_FALSE(s == before);
  REQUIRE(s.containers.size() == 1);
  CHECK(s.containers[0] == sim::container_state{});
  REQUIRE(s.iommufds.size() == 1);
  REQUIRE(s.iommufds[0].spaces.size() == 1);
  CHECK(s.iommufds[0].spaces[0].mappings ==
        std::vector<sim::mapping_state>{{0x10000, 0x2000, 0x7000, map.flags}});
  CHECK(to_text(s) ==
        "Linux 7.3\n"
        "container 0: no groups, no IOMMU, 0 mappings\n"
        "iommufd 0: no devices\n"
        "  IOAS 1: 1 mappings\n"
        "    0x10000 to 0x11fff: memory 0x7000, flags 0x5\n");
  CHECK(to_dot(s).find("\"iommufd 0\" -> \"iommufd 0 IOAS 1\";") != std::string::npos);
  CHECK(to_dot(s).find("\"container 0\" [label=\"container 0 (no IOMMU)\"];") != std::string::npos);
  CHECK(difference(before, s) ==
        "+ container without groups: no IOMMU\n"
        "+ iommufd: no devices\n"
        "+ iommufd: IOAS 1: no devices\n"
        "+ iommufd: IOAS 1: mapping 0x10000 to 0x11fff: memory 0x7000, flags 0x5\n");
#if __has_include(<nlohmann/json.hpp>)
  const auto json = nlohmann::json::parse(to_json(s));
  CHECK(json["iommufds"][0]["spaces"][0]["mappings"][0]["iova"] == 0x10000);
  CHECK(json["containers"][0]["open"] == true);
#endif
  REQUIRE(m.close(c) == errc::ok);
  REQUIRE(m.close(i) == errc::ok);
  CHECK(before == m.kernel.look());
}

TEST_CASE("equal states are equal, whatever came and went, and in whatever order") {
  machine_under_test<> a(two_groups());
  machine_under_test<> b(two_groups());
  const int gone = b.create_vm();
  REQUIRE(a.open("/dev/kvm") >= 0);
  (void)a.create_vm();
  (void)b.create_vm();
  REQUIRE(b.close(gone) == errc::ok);
  CHECK(b.kernel.look().vms.at(0).name == "vm1");
  CHECK(a.kernel.look() == b.kernel.look());
  CHECK(difference(a.kernel.look(), b.kernel.look()).empty());
  // The containers of the two groups, made in the other order.
  REQUIRE(a.group_with_iommu("/dev/vfio/1") >= 0);
  REQUIRE(a.group_with_iommu("/dev/vfio/2") >= 0);
  REQUIRE(b.group_with_iommu("/dev/vfio/2") >= 0);
  CHECK(difference(a.kernel.look(), b.kernel.look()) ==
        "- group 1: open, in a container, no VM\n"
        "- container of group 1: groups 1, type1v2\n"
        "- container of group 1: domain of groups 1, coherency enforced\n"
        "+ group 1: closed, no VM\n");
  REQUIRE(b.group_with_iommu("/dev/vfio/1") >= 0);
  CHECK(a.kernel.look().groups[0].container != b.kernel.look().groups[0].container);
  CHECK(a.kernel.look() == b.kernel.look());
}

TEST_CASE("the mappings and the armed interrupts are in the snapshot") {
  machine_under_test<> m(two_groups());
  int c = -1;
  const int g = m.group_with_iommu("/dev/vfio/1", &c);
  const int device = static_cast<int>(m.device_fd(g, "0000:00:04.0").value());
  const sim::snapshot before = m.kernel.look();
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ;
  map.vaddr = 0x7000;
  map.iova = 0x1000;
  map.size = 0x1000;
  REQUIRE(m.task.ioctl(c, VFIO_IOMMU_MAP_DMA, reinterpret_cast<std::uintptr_t>(&map)));
  const auto event = static_cast<std::int32_t>(m.task.eventfd().value());
  struct {
    std::uint32_t head[5];
    std::int32_t fds[3];
  } irqs{{sizeof irqs, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
          VFIO_PCI_MSIX_IRQ_INDEX, 0, 3},
         {event, -1, event}};
  REQUIRE(m.task.ioctl(device, VFIO_DEVICE_SET_IRQS, reinterpret_cast<std::uintptr_t>(&irqs)));
  const sim::snapshot s = m.kernel.look();
  CHECK(s.containers.at(0).mappings ==
        std::vector<sim::mapping_state>{{0x1000, 0x1000, 0x7000, VFIO_DMA_MAP_FLAG_READ}});
  CHECK(s.groups.at(0).devices.at(0).interrupts ==
        std::vector<sim::interrupt_state>{{VFIO_PCI_MSIX_IRQ_INDEX, {0, 2}}});
  CHECK(to_text(s).find("    armed: MSI-X (vectors 0 2)\n") != std::string::npos);
  CHECK(to_text(s).find("    0x1000 to 0x1fff: memory 0x7000, flags 0x1\n") != std::string::npos);
  CHECK(to_dot(s).find("MSI-X (vectors 0 2)") != std::string::npos);
  CHECK(to_json(s).find("\"interrupts\":[{\"index\":2,\"vectors\":[0,2],\"masked\":false}]") !=
        std::string::npos);
  CHECK(difference(before, s) ==
        "+ device 0000:00:04.0: armed interrupt MSI-X (vectors 0 2)\n"
        "+ container of group 1: mapping 0x1000 to 0x1fff: memory 0x7000, flags 0x1\n");
  CHECK(difference(s, before).substr(0, 2) == "- ");
}

TEST_CASE("names with quotes and control characters stay valid JSON") {
  CHECK(sim::detail::in_quotes("a\"b\\c\n") == "\"a\\\"b\\\\c\\u000a\"");
}
