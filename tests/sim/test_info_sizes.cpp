// SPDX-License-Identifier: BSL-1.0
// How much of an info struct VFIO writes. Booted kernels confirm it with every size: see
// tests/conformance/vfio/info_sizes.hpp.
#include "support/catch.hpp"

#include "sim/fixture.hpp"

#include <kvm_vfio/profile.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace {

constexpr unsigned char untouched = 0x5a;

/// Makes a request with a struct of `size` bytes, and returns where the bytes end that it wrote.
template <class Machine>
std::size_t written(Machine& m, int fd, unsigned long request, std::uint32_t size) {
  alignas(8) unsigned char bytes[256];
  std::memset(bytes, untouched, sizeof bytes);
  std::memcpy(bytes, &size, sizeof size);
  REQUIRE(m.ioctl_at(fd, request, bytes) == errc::ok);
  std::size_t end = sizeof bytes;
  while (end > 0 && bytes[end - 1] == untouched) --end;
  return end;
}

struct expected {
  std::uint32_t size;
  std::size_t end_6_1, end_later;
};
constexpr expected sizes[] = {{16, 16, 16}, {17, 16, 17}, {19, 16, 19}, {20, 20, 20},
                              {21, 20, 21}, {23, 20, 23}, {24, 20, 24}, {39, 20, 24}};

template <class Profile>
void check_ends(std::size_t expected::* end) {
  machine_under_test<Profile> m;
  int container = -1;
  const int group = m.group_with_iommu("/dev/vfio/1", &container);
  const int device = m.device_fd(group, "0000:00:04.0").value();
  for (const expected& e : sizes) {
    INFO("argsz " << e.size);
    CHECK(written(m, container, VFIO_IOMMU_GET_INFO, e.size) == e.*end);
    CHECK(written(m, device, VFIO_DEVICE_GET_INFO, e.size) == e.*end);
  }
}

}  // namespace

TEST_CASE("Linux 6.1 writes the first 16 or 20 bytes of an info struct") {
  check_ends<kvm_vfio::linux_6_1>(&expected::end_6_1);
}

TEST_CASE("later releases write as much of an info struct as there is room for") {
  check_ends<kvm_vfio::linux_6_12>(&expected::end_later);
  check_ends<kvm_vfio::linux_7_3>(&expected::end_later);
}

TEST_CASE("a region without capabilities leaves the caller's offset of the first one") {
  machine_under_test<> m;
  const int device = m.device_fd(m.group_with_iommu("/dev/vfio/1"), "0000:00:04.0").value();
  vfio_region_info info{};
  info.argsz = sizeof info;
  info.index = VFIO_PCI_CONFIG_REGION_INDEX;
  info.cap_offset = 77;
  REQUIRE(m.ioctl_at(device, VFIO_DEVICE_GET_REGION_INFO, info) == errc::ok);
  CHECK(info.cap_offset == 77);
  info.index = 0;  // the region with the MSI-X table
  REQUIRE(m.ioctl_at(device, VFIO_DEVICE_GET_REGION_INFO, info) == errc::ok);
  CHECK(info.cap_offset == 0);
  CHECK(info.argsz > sizeof info);
}
