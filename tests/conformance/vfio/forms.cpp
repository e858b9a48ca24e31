// SPDX-License-Identifier: BSL-1.0
// The names of the kinds of files, of requests and of regions, which the keys of combinations have.
#include "combinations.hpp"

#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

const char* name_of(kind k) {
  constexpr const char* names[] = {"a container", "a group",  "a device",   "a character device",
                                   "an iommufd",  "a VM",     "a kvm-vfio", "an eventfd",
                                   "O_PATH",      "/dev/kvm", "no file",    "no file"};
  return names[static_cast<int>(k)];
}

const std::vector<request_form>& request_forms() {
  constexpr auto container = bit(kind::container) | bit(kind::iommufd);
  constexpr auto device = bit(kind::device) | bit(kind::cdev);
  constexpr auto group = bit(kind::group);
  constexpr auto cdev = bit(kind::cdev);
  constexpr auto iommufd = bit(kind::iommufd);
  constexpr auto vm = bit(kind::vm);
  using f = family;
  static const std::vector<request_form> all{
      {"GET_STATUS", f::groups, group, 8, 0, -1, 0, true},
      {"SET_CONTAINER", f::groups, group, 0, 0, -1, 0, true},
      {"UNSET_CONTAINER", f::groups, group, 0, 0, -1, 0, false},
      {"GET_DEVICE_FD", f::groups, group, 0, 0, -1, 0, true},
      {"GET_API_VERSION", f::containers, container, 0, 0, -1, 0, false},
      {"CHECK_EXTENSION", f::containers, container, 0, 0, -1, 0, false},
      {"SET_IOMMU", f::containers, container, 0, 0, -1, 0, false},
      {"IOMMU_GET_INFO", f::containers, container, 16, 0, -1, 0, true},
      {"ENABLE", f::containers, container, 0, 0, -1, 0, false},
      {"DISABLE", f::containers, container, 0, 0, -1, 0, false},
      {"SPAPR_TCE_GET_INFO", f::containers, container, 16, 0, -1, 0, true},
      {"MAP_DMA", f::containers, container, 32, 32, 4, 7, true},
      {"UNMAP_DMA", f::containers, container, 24, 24, 4, 7, true},
      {"DEVICE_GET_INFO", f::devices, device, 16, 0, -1, 0, true},
      {"GET_REGION_INFO", f::devices, device, 32, 0, -1, 0, true},
      {"GET_IRQ_INFO", f::devices, device, 16, 16, -1, 0, true},
      {"SET_IRQS", f::irqs, device, 0, 0, 4, 0x3f, true},
      {"RESET", f::devices, device, 0, 0, -1, 0, false},
      {"GET_PCI_HOT_RESET_INFO", f::devices, device, 12, 0, -1, 0, true},
      {"PCI_HOT_RESET", f::devices, device, 12, 0, 4, 0, true},
      {"FEATURE", f::devices, device, 8, 0, -1, 0, true},
      {"BIND_IOMMUFD", f::cdevs, cdev, 16, 16, 4, 0, true},
      {"ATTACH", f::cdevs, cdev, 12, 12, 4, 0, true},
      {"DETACH", f::cdevs, cdev, 8, 8, 4, 0, true},
      {"IOAS_ALLOC", f::iommufds, iommufd, 12, 12, 4, 0, true},
      {"DESTROY", f::iommufds, iommufd, 8, 8, -1, 0, true},
      {"IOVA_RANGES", f::iommufds, iommufd, 32, 32, 12, 0, true},
      {"HWPT_ALLOC", f::iommufds, iommufd, 24, 48, 4, 0, true},
      {"IOAS_MAP", f::iommufds, iommufd, 40, 40, 4, 7, true},
      {"IOAS_UNMAP", f::iommufds, iommufd, 24, 24, -1, 0, true},
      {"IOAS_COPY", f::iommufds, iommufd, 40, 40, 4, 7, true},
      {"GET_HW_INFO", f::iommufds, iommufd, 40, 40, 4, 0, true},
      {"VFIO_IOAS", f::iommufds, iommufd, 12, 12, -1, 0, true},
      {"CREATE_VM", f::kvm, bit(kind::kvm), 0, 0, -1, 0, false},
      {"CREATE_DEVICE", f::kvm, vm, 0, 0, -1, 0, false},
      {"FILE_ADD", f::kvm, bit(kind::kvm_vfio), 0, 0, -1, 0, false},
      {"FILE_DEL", f::kvm, bit(kind::kvm_vfio), 0, 0, -1, 0, false},
      {"CREATE_IRQCHIP", f::vms, vm, 0, 0, -1, 0, false},
      {"SET_USER_MEMORY_REGION", f::vms, vm, 0, 0, -1, 0, true},
      {"IRQFD", f::vms, vm, 0, 0, -1, 0, true},
      {"IOEVENTFD", f::vms, vm, 0, 0, -1, 0, true},
  };
  return all;
}

std::string region_in_words(const sim::pci_spec& pci, std::uint64_t region) {
  if (region == VFIO_PCI_CONFIG_REGION_INDEX) return "config";
  if (region == VFIO_PCI_ROM_REGION_INDEX) return pci.rom_size != 0 ? "ROM" : "no ROM";
  if (region == VFIO_PCI_VGA_REGION_INDEX) return "VGA";
  if (region > VFIO_PCI_VGA_REGION_INDEX) return "no region";
  if (region >= pci.bars.size() || pci.bars[region].size == 0) return "no BAR";
  const sim::bar_spec& b = pci.bars[region];
  if (b.io) return "ports";
  if (pci.msix_vectors != 0 && region == pci.msix_table.bar) return "MSI-X table";
  if (b.size < sim::pci_endpoint::page) return "memory below a page";
  return b.size >= std::uint64_t{1} << 32 ? "memory of 4 GiB or more" : "memory";
}

}  // namespace vfio_lockstep
