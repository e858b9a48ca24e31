// SPDX-License-Identifier: BSL-1.0
// An iommufd as a container: iommufd's compatibility mode.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/sim/snapshot_difference.hpp>
#include <kvm_vfio/sim/snapshot_text.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace uapi = kvm_vfio::uapi;
constexpr std::uint64_t page = 4096;
constexpr const char* device_name = "0000:00:04.0";

struct compatible : machine_under_test<> {
  explicit compatible(const sim::topology& t = two_groups()) : machine_under_test(t) {}
  int fd = open("/dev/iommu");

  /// The error of an IOMMU_VFIO_IOAS, and the number that it wrote.
  errc vfio_ioas(std::uint16_t op, std::uint32_t& id) {
    uapi::iommu_vfio_ioas c{.size = sizeof c, .ioas_id = id, .op = op, .reserved = 0};
    const errc e = ioctl_at(fd, uapi::request_vfio_ioas, c);
    id = c.ioas_id;
    return e;
  }
  std::uint32_t new_ioas() {
    uapi::iommu_ioas_alloc c{.size = sizeof c, .flags = 0, .out_ioas_id = 0};
    REQUIRE(ioctl_at(fd, uapi::request_ioas_alloc, c) == errc::ok);
    return c.out_ioas_id;
  }
  /// The error of a VFIO_IOMMU_MAP_DMA.
  errc map(std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 3) {
    vfio_iommu_type1_dma_map m{
        .argsz = sizeof m, .flags = flags, .vaddr = 0x10000, .iova = iova, .size = size};
    return ioctl_at(fd, VFIO_IOMMU_MAP_DMA, m);
  }
  /// The error of a VFIO_IOMMU_UNMAP_DMA. `unmapped` gets the size that the call wrote.
  errc unmap(std::uint64_t iova, std::uint64_t size, std::uint32_t flags = 0) {
    alignas(8) unsigned char bytes[offsetof(vfio_iommu_type1_dma_unmap, data)] = {};
    const std::uint32_t head[] = {sizeof bytes, flags};
    const std::uint64_t range[] = {iova, size};
    __builtin_memcpy(bytes, head, sizeof head);
    __builtin_memcpy(bytes + sizeof head, range, sizeof range);
    const errc e = ioctl_at(fd, VFIO_IOMMU_UNMAP_DMA, bytes);
    __builtin_memcpy(&unmapped, bytes + 16, sizeof unmapped);
    return e;
  }
  std::uint64_t unmapped = 0;
  int extension(unsigned long n) {
    const sim::answer a = task.ioctl(fd, VFIO_CHECK_EXTENSION, n);
    return a ? static_cast<int>(*a) : -1;
  }
};

}  // namespace

TEST_CASE("an iommufd without an address space for VFIO answers only what needs none") {
  compatible m;
  CHECK(m.ioctl(m.fd, VFIO_GET_API_VERSION) == errc::ok);
  CHECK(m.extension(VFIO_TYPE1_IOMMU) == 1);
  CHECK(m.extension(VFIO_TYPE1v2_IOMMU) == 1);
  CHECK(m.extension(uapi::unmap_all_extension) == 1);
  CHECK(m.extension(VFIO_SPAPR_TCE_IOMMU) == 0);
  CHECK(m.ioctl(m.fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU) == errc::nodev);
  CHECK(m.set_iommu(m.fd) == errc::nodev);
  CHECK(m.set_iommu(m.fd, VFIO_SPAPR_TCE_IOMMU) == errc::inval);
  CHECK(m.map(page, page) == errc::nodev);
  CHECK(m.unmap(page, page) == errc::nodev);
  CHECK(m.ioctl(m.fd, VFIO_IOMMU_DIRTY_PAGES) == errc::notty);
}

TEST_CASE("IOMMU_VFIO_IOAS gets, sets and clears the address space for VFIO") {
  compatible m;
  std::uint32_t id = 0;
  CHECK(m.vfio_ioas(uapi::vfio_ioas_get, id) == errc::nodev);
  CHECK(m.vfio_ioas(uapi::vfio_ioas_clear, id) == errc::ok);
  id = m.new_ioas();
  CHECK(m.vfio_ioas(uapi::vfio_ioas_set, id) == errc::ok);
  std::uint32_t got = 0;
  CHECK(m.vfio_ioas(uapi::vfio_ioas_get, got) == errc::ok);
  CHECK(got == id);
  CHECK(m.extension(VFIO_DMA_CC_IOMMU) == 1);
  std::uint32_t none = 77;
  CHECK(m.vfio_ioas(uapi::vfio_ioas_set, none) == errc::noent);
  CHECK(m.vfio_ioas(3, none) == errc::opnotsupp);
  CHECK(to_text(m.kernel.look()).find("IOAS 1: 0 mappings, for VFIO") != std::string::npos);

  uapi::iommu_destroy destroy{.size = sizeof destroy, .id = id};
  CHECK(m.ioctl_at(m.fd, uapi::request_destroy, destroy) == errc::ok);
  CHECK(m.vfio_ioas(uapi::vfio_ioas_get, got) == errc::nodev);
}

TEST_CASE("a group uses an iommufd as its container") {
  compatible m;
  const sim::snapshot before = m.kernel.look();
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  CHECK(m.set_container(group, m.fd) == errc::inval);
  CHECK(m.kernel.look().groups[0].iommufd == 0);
  CHECK(m.kernel.look().iommufds[0].vfio_ioas == 1);
  const int device = m.device_fd(group, device_name).value();
  CHECK(m.kernel.look().groups[0].devices[0].iommufd == 0);
  CHECK(m.set_iommu(m.fd) == errc::ok);
  CHECK(m.map(0x100000, 4 * page) == errc::ok);
  CHECK(m.map(0x100000, page) == errc::exists);
  CHECK(m.map(0xfee00000, page) == errc::inval);
  CHECK(m.map(0x200000, page, 0) == errc::inval);
  CHECK(to_text(m.kernel.look()).find("group 1: open, in iommufd 0") != std::string::npos);

  // The group leaves, and its device stays bound to the iommufd.
  CHECK(m.unset_container(group) == errc::ok);
  const int container = m.open("/dev/vfio/vfio");
  CHECK(m.set_container(group, container) == errc::perm);
  CHECK_FALSE(m.kernel.look().groups[0].viable);
  CHECK(m.close(device) == errc::ok);
  CHECK(m.set_container(group, container) == errc::ok);
  CHECK(m.close(container) == errc::ok);
  CHECK(m.close(group) == errc::ok);
  CHECK(m.unmap(0, 0, uapi::dma_unmap_all) == errc::ok);
  CHECK(m.unmapped == 4 * page);
  CHECK(difference(before, m.kernel.look()) == "+ iommufd: IOAS 1, for VFIO: no devices\n");
}

TEST_CASE("a device of a group in an iommufd keeps neither the group nor its number open") {
  compatible m;
  int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  const int device = m.device_fd(group, device_name).value();
  CHECK(m.close(group) == errc::ok);
  group = m.open("/dev/vfio/1");
  CHECK(m.set_container(group, m.fd) == errc::ok);
  const int again = m.device_fd(group, device_name).value();
  CHECK(m.kernel.look().groups[0].devices[0].open_count == 2);
  CHECK(m.close(device) == errc::ok);
  CHECK(m.close(m.fd) == errc::ok);
  CHECK(m.close(group) == errc::ok);
  CHECK(m.kernel.look().iommufds.size() == 1);
  CHECK(m.close(again) == errc::ok);
  CHECK(m.kernel.look().iommufds.empty());
}

TEST_CASE("the device of a group opens only if the iommufd has an address space for VFIO") {
  compatible m;
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  REQUIRE(m.map(0x100800, 0x800) == errc::ok);
  CHECK(m.device_fd(group, device_name).error() == errc::addrinuse);
  REQUIRE(m.unmap(0x100800, 0x800) == errc::ok);
  REQUIRE(m.map(0x100000, page, 0) == errc::ok);
  CHECK(m.device_fd(group, device_name).error() == errc::inval);
  std::uint32_t id = 0;
  REQUIRE(m.vfio_ioas(uapi::vfio_ioas_clear, id) == errc::ok);
  CHECK(m.device_fd(group, device_name).error() == errc::nodev);
  CHECK(m.kernel.look().iommufds[0].devices.empty());
  CHECK(m.kernel.look().groups[0].devices[0].open_count == 0);
}

TEST_CASE("version 1 cuts a mapping, and version 2 does not") {
  compatible m;
  std::uint32_t id = m.new_ioas();
  REQUIRE(m.vfio_ioas(uapi::vfio_ioas_set, id) == errc::ok);
  REQUIRE(m.map(0x100000, 4 * page) == errc::ok);
  CHECK(m.set_iommu(m.fd) == errc::ok);
  CHECK(m.unmap(0x101000, page) == errc::noent);
  CHECK(m.unmap(0x200000, page) == errc::ok);
  CHECK(m.unmapped == 0);
  CHECK(m.unmap(0x200000, 0) == errc::inval);
  CHECK(m.set_iommu(m.fd, VFIO_TYPE1_IOMMU) == errc::ok);
  CHECK(m.unmap(0x101800, page) == errc::inval);
  CHECK(m.unmap(0x101000, page) == errc::ok);
  CHECK(m.unmapped == page);
  CHECK(m.unmap(0x100000, 4 * page) == errc::ok);
  CHECK(m.unmapped == 3 * page);
  CHECK(m.map(0x100800, 0x800) == errc::inval);
}

TEST_CASE("version 1 is refused as long as a mapping may use large pages") {
  compatible m;
  std::uint32_t id = m.new_ioas();
  REQUIRE(m.vfio_ioas(uapi::vfio_ioas_set, id) == errc::ok);
  REQUIRE(m.map(0x100800, 0x800) == errc::ok);
  CHECK(m.set_iommu(m.fd, VFIO_TYPE1_IOMMU) == errc::addrinuse);
  REQUIRE(m.unmap(0x100800, 0x800) == errc::ok);
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  REQUIRE(m.device_fd(group, device_name));
  REQUIRE(m.map(0x100000, page) == errc::ok);
  CHECK(m.set_iommu(m.fd, VFIO_TYPE1_IOMMU) == errc::inval);
}

TEST_CASE("GET_INFO of an iommufd writes each capability that fits") {
  compatible m;
  std::uint32_t id = m.new_ioas();
  REQUIRE(m.vfio_ioas(uapi::vfio_ioas_set, id) == errc::ok);
  const auto info = [&](std::uint32_t argsz) {
    std::vector<std::uint32_t> words(32, 0xa5a5a5a5);
    words[0] = argsz;
    CHECK(m.ioctl(m.fd, VFIO_IOMMU_GET_INFO, reinterpret_cast<std::uintptr_t>(words.data())) ==
          errc::ok);
    return words;
  };
  const auto whole = info(72);
  CHECK(whole[0] == 72);
  CHECK(whole[4] == 24);
  CHECK(whole[6] == 0x10003);
  CHECK(whole[7] == 40);
  CHECK(whole[9] == 0xa5a5a5a5);
  CHECK(whole[10] == 0x10001);
  CHECK(whole[12] == 1);
  const auto half = info(40);
  CHECK(half[0] == 72);
  CHECK(half[4] == 0);
  CHECK(half[6] == 0x10003);
  CHECK(half[10] == 0xa5a5a5a5);
  CHECK(info(16)[4] == 0xa5a5a5a5);

  // A range is written when it fits, the header of the ranges when all of them fit.
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  REQUIRE(m.device_fd(group, device_name));
  const auto several = info(128);
  REQUIRE(several[12] >= 2);
  const auto one = info(72);
  CHECK(one[4] == 0);
  CHECK(one[10] == 0xa5a5a5a5);
  CHECK(one[16] == several[16]);
  CHECK(one[18] == 0xa5a5a5a5);
}

TEST_CASE("GET_INFO of an iommufd writes each range that fits") {
  compatible m;
  const int group = m.open("/dev/vfio/1");
  REQUIRE(m.set_container(group, m.fd) == errc::ok);
  REQUIRE(m.device_fd(group, device_name));  // the interrupt range of x86 leaves two ranges
  std::vector<std::uint32_t> words(32, 0xa5a5a5a5);
  words[0] = 87;
  REQUIRE(m.ioctl(m.fd, VFIO_IOMMU_GET_INFO, reinterpret_cast<std::uintptr_t>(words.data())) ==
          errc::ok);
  CHECK(words[0] == 88);
  CHECK(words[4] == 0);
  CHECK(words[10] == 0xa5a5a5a5);  // the header of the ranges
  CHECK(words[14] == 0);
  CHECK(words[16] == 0xfedfffff);
  CHECK(words[18] == 0xa5a5a5a5);  // the second range
}

TEST_CASE("a page table of an iommufd restricts its address space before a device is attached") {
  compatible m;
  const std::uint32_t id = m.new_ioas();
  const int device = m.open("/dev/vfio/devices/vfio0");
  uapi::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = m.fd, .out_devid = 0};
  REQUIRE(m.ioctl_at(device, uapi::request_bind_iommufd, bind) == errc::ok);
  uapi::iommu_hwpt_alloc alloc{};
  alloc.size = sizeof alloc;
  alloc.dev_id = bind.out_devid;
  alloc.pt_id = id;
  uapi::iommu_ioas_map map{};
  map.size = sizeof map;
  map.ioas_id = id;
  map.user_va = 0x10000;
  map.length = page;
  map.flags = uapi::map_fixed_iova | uapi::map_readable;
  map.iova = std::uint64_t{1} << 50;
  REQUIRE(m.ioctl_at(m.fd, uapi::request_ioas_map, map) == errc::ok);
  CHECK(m.ioctl_at(m.fd, uapi::request_hwpt_alloc, alloc) == errc::addrinuse);
  uapi::iommu_ioas_unmap unmap{.size = sizeof unmap, .ioas_id = id, .iova = 0, .length = ~0ULL};
  REQUIRE(m.ioctl_at(m.fd, uapi::request_ioas_unmap, unmap) == errc::ok);
  REQUIRE(m.ioctl_at(m.fd, uapi::request_hwpt_alloc, alloc) == errc::ok);
  CHECK(m.ioctl_at(m.fd, uapi::request_ioas_map, map) == errc::inval);
  // Reserved regions count only from the first attached device on.
  map.iova = 0xfee00000;
  CHECK(m.ioctl_at(m.fd, uapi::request_ioas_map, map) == errc::ok);
}

namespace {

/// IOMMU_GET_HW_INFO of the device of an Intel IOMMU: its capabilities and its registers.
template <class Profile>
std::pair<uapi::iommu_hw_info, uapi::iommu_hw_info_vtd> hw_info(
    const std::vector<sim::capability_spec>& capabilities) {
  sim::topology host = two_groups();
  for (sim::iommu_spec& i : host.iommus) i.name.insert(0, "dmar");
  for (sim::group_spec& g : host.groups) {
    g.iommu.insert(0, "dmar");
    for (sim::device_spec& d : g.devices) {
      d.pci.express = !capabilities.empty();
      d.pci.msi_vectors = d.pci.msix_vectors = 0;
      d.pci.capabilities = capabilities;
    }
  }
  machine_under_test<Profile> m(host);
  const int fd = m.open("/dev/iommu");
  const int device = m.open("/dev/vfio/devices/vfio0");
  uapi::device_bind_iommufd bind{.argsz = sizeof bind, .flags = 0, .iommufd = fd, .out_devid = 0};
  REQUIRE(m.ioctl_at(device, uapi::request_bind_iommufd, bind) == errc::ok);
  uapi::iommu_hw_info info{.size = sizeof info,
                           .flags = 0,
                           .dev_id = bind.out_devid,
                           .data_len = sizeof(uapi::iommu_hw_info_vtd),
                           .data_uptr = 0,
                           .out_data_type = 0,
                           .reserved = 0,
                           .out_capabilities = 77};
  uapi::iommu_hw_info_vtd registers{};
  info.data_uptr = reinterpret_cast<std::uintptr_t>(&registers);
  REQUIRE(m.ioctl_at(fd, uapi::request_get_hw_info, info) == errc::ok);
  return {info, registers};
}

TEST_CASE("an UNMAP_DMA that cannot take an address away changes no byte of its argument") {
  machine_under_test<> m;
  int container = -1;
  REQUIRE(m.group_with_iommu("/dev/vfio/1", &container) >= 0);
  vfio_iommu_type1_dma_map map{};
  map.argsz = sizeof map;
  map.flags = VFIO_DMA_MAP_FLAG_READ;
  map.vaddr = 0x10000;
  map.size = 0x2000;
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_MAP_DMA, map) == errc::ok);
  vfio_iommu_type1_dma_unmap unmap{};
  unmap.argsz = offsetof(vfio_iommu_type1_dma_unmap, data);
  unmap.flags = kvm_vfio::uapi::dma_unmap_vaddr;
  unmap.size = 0x4000;
  REQUIRE(m.ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, unmap) == errc::ok);
  CHECK(unmap.size == 0x2000);
  unmap.size = 0x4000;
  CHECK(m.ioctl_at(container, VFIO_IOMMU_UNMAP_DMA, unmap) == errc::inval);
  CHECK(unmap.size == 0x4000);
}

}  // namespace

TEST_CASE("IOMMU_GET_HW_INFO has the registers of an Intel IOMMU") {
  const auto [info, registers] = hw_info<kvm_vfio::linux_7_3>({});
  CHECK(info.out_data_type == uapi::hw_info_type_intel_vtd);
  CHECK(registers.flags == uapi::hw_info_vtd_errata_772415_spr17);
  CHECK(registers.cap_reg == 0xc002f0406);  // addresses of 48 bits, pages of 2 MiB and 1 GiB
  CHECK(registers.ecap_reg == uapi::vtd_ecap_snoop_control);
}

TEST_CASE("IOMMU_GET_HW_INFO says which devices have no ATS, since Linux 7.3") {
  const std::vector<sim::capability_spec> with{
      {.id = 0x10, .offset = 0x40},  // PCI Express
      {.id = 0x0f, .offset = 0x100, .version = 1, .bytes = {0, 0, 0, 0}}};
  CHECK(hw_info<kvm_vfio::linux_7_3>({}).first.out_capabilities ==
        uapi::hw_cap_pci_ats_not_supported);
  CHECK(hw_info<kvm_vfio::linux_7_3>(with).first.out_capabilities == 0);
  CHECK(hw_info<kvm_vfio::linux_6_12>({}).first.out_capabilities == 0);
}
