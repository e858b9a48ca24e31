// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Requests for information with every size of the struct, on a booted kernel and on the simulator.

#include "support/system.hpp"
#include "support/vmm.hpp"

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

/// The device whose requests are made.
struct info_sizes_target {
  std::string group{}, device{};
  bool iommufd = false;
  bool spapr = false;
  bool hot_reset = false;  ///< the size decides only there; the simulator compares the hot reset
};

/// Makes each request with every `argsz` from 0 to a size with room for all capabilities. The bytes
/// that the kernel does not write keep a pattern, so a line shows each byte that the kernel wrote.
template <support::system System>
class info_sizes {
 public:
  explicit info_sizes(System sys) : vmm_(std::move(sys)) {}

  /// Returns what the calls answered and wrote, one line for each.
  std::vector<std::string> run(const info_sizes_target& t) {
    const int container = open("/dev/vfio/vfio");
    const int group = open(t.group);
    const std::uint64_t type = t.spapr ? VFIO_SPAPR_TCE_IOMMU : VFIO_TYPE1v2_IOMMU;
    if (vmm_.set_container(group, container) == errc::ok &&
        vmm_.set_iommu(container, type) == errc::ok) {
      if (t.spapr) sizes("SPAPR_TCE_GET_INFO", container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, 0, 64);
      else sizes("IOMMU_GET_INFO", container, VFIO_IOMMU_GET_INFO, 0, 160);
      of_device(group, t);
    }
    sizes("GROUP_GET_STATUS", group, VFIO_GROUP_GET_STATUS, 0, 16);
    (void)vmm_.unset_container(group);
    const int iommufd = t.iommufd ? open("/dev/iommu") : -1;
    if (iommufd >= 0 && vmm_.set_container(group, iommufd) == errc::ok) {
      const auto device = vmm_.device_fd(group, t.device.c_str());
      sizes("IOMMU_GET_INFO of an iommufd", iommufd, VFIO_IOMMU_GET_INFO, 0, 160);
      if (device) (void)vmm_.close(*device);
    }
    for (const int fd : {group, container, iommufd})
      if (fd >= 0) (void)vmm_.close(fd);
    return std::move(lines_);
  }

 private:
  using errc = kvm_vfio::errc;
  static constexpr std::size_t room = 256;
  static constexpr unsigned char untouched = 0x5a;

  int open(const std::string& path) {
    const auto fd = vmm_.open(path.c_str());
    return fd ? fd.value() : -1;
  }
  void of_device(int group, const info_sizes_target& t) {
    const auto device = vmm_.device_fd(group, t.device.c_str());
    if (!device) return;
    registers(*device);
    sizes("DEVICE_GET_INFO", *device, VFIO_DEVICE_GET_INFO, 0, 48);
    for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_REGIONS; ++i)
      sizes("GET_REGION_INFO " + std::to_string(i), *device, VFIO_DEVICE_GET_REGION_INFO, i, 96);
    for (std::uint32_t i = 0; i <= VFIO_PCI_NUM_IRQS; ++i)
      sizes("GET_IRQ_INFO " + std::to_string(i), *device, VFIO_DEVICE_GET_IRQ_INFO, i, 32);
    if (t.hot_reset)
      sizes("GET_PCI_HOT_RESET_INFO", *device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 0, 64);
    (void)vmm_.close(*device);
  }
  // All bytes behind the header of the configuration space.
  void registers(int device) {
    unsigned char bytes[PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF] = {};
    const std::uint64_t at =
        (std::uint64_t{VFIO_PCI_CONFIG_REGION_INDEX} << 40) + PCI_STD_HEADER_SIZEOF;
    std::string line =
        "registers: " + std::to_string(vmm_.system_calls().pread(device, bytes, sizeof bytes, at));
    for (std::size_t i = 0; i < sizeof bytes; ++i)
      if (bytes[i] != 0)
        line += ' ' + std::to_string(PCI_STD_HEADER_SIZEOF + i) + ':' + std::to_string(bytes[i]);
    lines_.push_back(std::move(line));
  }
  // The index of a region or of an interrupt is the third word of the struct.
  void sizes(const std::string& what, int fd, unsigned long request, std::uint32_t index,
             std::uint32_t most) {
    for (std::uint32_t size = 0; size <= most; ++size) {
      alignas(8) unsigned char bytes[room];
      std::memset(bytes, untouched, sizeof bytes);
      const std::uint32_t head[] = {size, 0, index};
      std::memcpy(bytes, head, sizeof head);
      unsigned char before[room];
      std::memcpy(before, bytes, sizeof bytes);
      const errc e = vmm_.ioctl_at(fd, request, bytes);
      std::string line = what + " of " + std::to_string(size) +
                         " bytes: " + std::to_string(kvm_vfio::kernel_return(e));
      for (std::size_t i = 0; i < sizeof bytes; ++i)
        if (bytes[i] != before[i]) line += ' ' + std::to_string(i) + ':' + std::to_string(bytes[i]);
      lines_.push_back(std::move(line));
    }
  }

  support::vmm<System> vmm_;
  std::vector<std::string> lines_;
};

}  // namespace vfio_lockstep
