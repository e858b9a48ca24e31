// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The description of a simulated host as plain data. A host has IOMMUs, groups and devices.
/// A program writes a topology in code, or reads one with topology_json.hpp or
/// topology_sysfs.hpp. topology_check.hpp lists the conditions that a valid topology fulfils.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

/// An inclusive range of I/O virtual addresses.
struct iova_range {
  /// The first address of the range.
  std::uint64_t first = 0;
  /// The last address of the range, which still belongs to it.
  std::uint64_t last = 0;
  /// Compares both ends.
  friend bool operator==(const iova_range&, const iova_range&) = default;
};

/// Why a range of addresses is reserved. The names are those of the sysfs file `reserved_regions`.
enum class region_type : unsigned char {
  reserved,          ///< the IOMMU cannot translate these addresses
  direct,            ///< the firmware needs each address mapped to the equal physical address;
                     ///< no VMM can use the groups behind the IOMMU
  direct_relaxable,  ///< like `direct`, but a VMM may map other memory there
  msi,               ///< writes to these addresses are message signalled interrupts
};

/// A range of I/O virtual addresses that the host keeps for itself.
struct reserved_region {
  /// The first address of the region.
  std::uint64_t first = 0;
  /// The last address of the region, which still belongs to it.
  std::uint64_t last = 0;
  /// Why the region is reserved. VFIO lets a VMM map memory only in `direct_relaxable` regions.
  region_type type = region_type::reserved;
  /// Compares all members.
  friend bool operator==(const reserved_region&, const reserved_region&) = default;
};

/// The description of an IOMMU and of what its domains can do.
struct iommu_spec {
  /// The name by which `group_spec::iommu` refers to this IOMMU. Linux names Intel's IOMMUs dmar0,
  /// dmar1 and so on. An IOMMU with such a name describes itself as Intel's to a VMM.
  std::string name = "iommu0";
  /// Whether the IOMMU can ignore the no-snoop mark. Then DMA through its domains can be enforced
  /// coherent.
  bool snoop_control = true;
  /// Whether the IOMMU remaps interrupts. If it does not, VFIO refuses its groups with EPERM,
  /// unless `world_options::allow_unsafe_interrupts` is set, and gives a function at most one MSI
  /// vector, as on x86.
  bool interrupt_remapping = true;
  /// The page sizes as a bitmap: bit n stands for pages of 2^n bytes. The default is 4 KiB, 2 MiB
  /// and 1 GiB.
  std::uint64_t page_sizes = 0x40201000;
  /// The I/O virtual addresses that the IOMMU translates.
  iova_range aperture{0, (std::uint64_t{1} << 48) - 1};
  /// The addresses that the host keeps for itself. The default is the interrupt range of x86.
  std::vector<reserved_region> reserved{{0xfee00000, 0xfeefffff, region_type::msi}};
  /// Compares all members.
  friend bool operator==(const iommu_spec&, const iommu_spec&) = default;
};

/// The description of a base address register (BAR).
struct bar_spec {
  /// The size of the block behind the BAR in bytes, a power of two. 0 means that the function does
  /// not implement this register.
  std::uint64_t size = 0;
  /// Whether the BAR has 64 bits. Then the next register is its upper half and not another BAR.
  bool is_64bit = false;
  /// The prefetchable bit of the register.
  bool prefetchable = false;
  /// Whether the block consists of I/O ports; otherwise it is memory.
  bool io = false;
  /// The address that the register holds. VFIO lets a process map a memory BAR of less than a page
  /// if this address is a multiple of the page size, is not 0, and no other BAR is in the page.
  std::uint64_t address = 0;
  /// Compares all members.
  friend bool operator==(const bar_spec&, const bar_spec&) = default;
};

/// A position in a BAR.
struct bar_place {
  /// The number of the BAR, counted from 0.
  unsigned bar = 0;
  /// The offset from the start of the BAR, in bytes.
  std::uint32_t offset = 0;
  /// Compares both members.
  friend bool operator==(const bar_place&, const bar_place&) = default;
};

/// The description of a capability in the configuration space.
struct capability_spec {
  /// The number of the capability: PCI_CAP_ID_*, or PCI_EXT_CAP_ID_* if it is extended.
  std::uint16_t id = 0;
  /// The offset of the header in the configuration space, in bytes. It is 0x40 to 0xfc for an
  /// ordinary capability and 0x100 to 0xffc for an extended one.
  std::uint16_t offset = 0;
  /// The version in the header of an extended capability.
  std::uint8_t version = 1;
  /// The bytes behind the header. (The header has two bytes, that of an extended capability four.)
  /// Bytes that are not given are zero. If no bytes are given for PCI Express, MSI or MSI-X, the
  /// simulator makes them from the other members of `pci_spec`.
  std::vector<std::uint8_t> bytes{};
  /// Compares all members.
  friend bool operator==(const capability_spec&, const capability_spec&) = default;
};

/// The description of a PCI function: its registers, BARs, interrupts and capabilities.
struct pci_spec {
  /// The vendor ID register.
  std::uint16_t vendor = 0x1234;
  /// The device ID register.
  std::uint16_t device = 0x11e8;
  /// The class code register, 24 bits.
  std::uint32_t class_code = 0xff0000;
  /// The revision ID register.
  std::uint8_t revision = 1;
  /// The subsystem vendor ID register.
  std::uint16_t subsystem_vendor = 0;
  /// The subsystem ID register.
  std::uint16_t subsystem = 0;
  /// The base address registers, one element for each of the registers 0 to 5; at most six.
  std::vector<bar_spec> bars{{0x1000, false, false}};
  /// The size of the expansion ROM in bytes; 0: the function has no ROM.
  std::uint64_t rom_size = 0;
  /// Whether the function has an INTx interrupt.
  bool intx = true;
  /// The number of MSI vectors: 0 or a power of two up to 32.
  std::uint32_t msi_vectors = 0;
  /// The number of MSI-X vectors, up to 2048.
  std::uint32_t msix_vectors = 0;
  /// The position of the MSI-X table.
  bar_place msix_table{};
  /// The position of the MSI-X pending bits. Without a value they follow the table.
  std::optional<bar_place> msix_pba{};
  /// The command register before the device is opened.
  std::uint16_t command = 0;
  /// The status register, without the bit that announces capabilities.
  std::uint16_t status = 0;
  /// The interrupt line register.
  std::uint8_t interrupt_line = 0;
  /// Whether the header type register says that the device has several functions.
  bool multifunction = false;
  /// Whether the function is PCI Express. Then its configuration space has 4096 bytes (otherwise
  /// 256), and it has an error interrupt. (In Linux 7.3 every function has one.)
  bool express = true;
  /// Whether the function can be reset on its own (VFIO_DEVICE_RESET).
  bool resets = true;
  /// Whether the bus of the function can be reset (VFIO_DEVICE_PCI_HOT_RESET), which needs a bridge
  /// in front of the bus. The functions of one bus are those whose names begin with the same domain
  /// and bus ("0000:02:"), and all of them have the same value. Such a reset also concerns what is
  /// behind the bridges on this bus.
  bool bus_resets = false;
  /// The number of the bus behind the function, if the function is a bridge. 0: it is none. The
  /// functions of this bus have names in which this number follows the domain of the bridge
  /// ("0000:03:").
  std::uint8_t secondary_bus = 0;
  /// The capabilities in the order of the list, first the ordinary ones, then the extended ones. If
  /// none is given, the simulator places PCI Express, MSI and MSI-X from 0x40 on, each only if the
  /// function has it.
  std::vector<capability_spec> capabilities{};
  /// The registers that the function has for itself, byte by byte: from 0x40 on, and at most up to
  /// the first capability. Bytes that are not given are zero. The simulator lets a process read
  /// them, but not write them.
  std::vector<std::uint8_t> own_registers{};
  /// Compares all members.
  friend bool operator==(const pci_spec&, const pci_spec&) = default;
};

/// The kind of driver that a device is bound to on the host.
enum class driver : unsigned char {
  vfio,   ///< a VFIO driver: vfio-pci or a variant of it by the vendor of the device
  none,   ///< no driver, or one that never uses DMA; the group of the device stays viable
  other,  ///< another driver of the host; the group of the device is not viable
};

/// The description of a device and of the driver that it is bound to.
struct device_spec {
  /// The address of the device on its bus, which VFIO_GROUP_GET_DEVICE_FD takes.
  std::string name = "0000:00:04.0";
  /// The kind of driver that the device is bound to.
  driver bound = driver::vfio;
  /// Whether the driver refuses to open the device without a VM (ESRCH), as drivers of some
  /// mediated devices do.
  bool needs_vm = false;
  /// Whether the device is a mediated device. A mediated device has no IOMMU domain and is never
  /// enforced coherent.
  bool mediated = false;
  /// The name of the physical function, if the device is a virtual function (SR-IOV). Empty: it is
  /// none. The physical function may be missing in the topology; then VFIO does not drive it. A
  /// virtual function has no INTx interrupt, whatever `pci_spec::intx` says, and its BARs read as
  /// 0.
  std::string physical_function{};
  /// The N of the node /dev/vfio/devices/vfioN of the device. -1 means the lowest number that no
  /// device names; such numbers are given out in the order of the groups.
  int file_number = -1;
  /// The PCI function that the device shows.
  pci_spec pci{};
  /// Compares all members.
  friend bool operator==(const device_spec&, const device_spec&) = default;
};

/// The description of an IOMMU group.
struct group_spec {
  /// The N of the node /dev/vfio/N of the group.
  int number = 0;
  /// The name of the IOMMU in front of the group (`iommu_spec::name`). Empty: no IOMMU handles the
  /// device of the group, and VFIO's no-IOMMU mode made the group. Such a group has one device,
  /// which is bound to VFIO, and its node is /dev/vfio/noiommu-N.
  std::string iommu = "iommu0";
  /// The devices of the group. If VFIO drives none of them, /dev/vfio/N does not exist. A group
  /// may be empty: hosts with POWER processors have one for each empty host bridge.
  std::vector<device_spec> devices{};
  /// Compares all members.
  friend bool operator==(const group_spec&, const group_spec&) = default;
};

/// The description of a host.
struct topology {
  /// The IOMMUs of the host.
  std::vector<iommu_spec> iommus{{}};
  /// The IOMMU groups of the host.
  std::vector<group_spec> groups{};
  /// Compares all members.
  friend bool operator==(const topology&, const topology&) = default;
};

}  // namespace kvm_vfio::sim
