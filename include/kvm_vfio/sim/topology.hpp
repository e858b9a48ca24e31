// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A host as data: its IOMMUs, its IOMMU groups, their devices. Written in code, or read by
/// topology_json.hpp or topology_sysfs.hpp; topology_check.hpp says what a right one is.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

/// An inclusive range of I/O virtual addresses.
struct iova_range {
  /// The first and the last address that belong to it.
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  /// Whether both ends are equal.
  friend bool operator==(const iova_range&, const iova_range&) = default;
};

/// Why a range is reserved (the words of sysfs's `reserved_regions`).
enum class region_type : unsigned char {
  reserved,          ///< the IOMMU cannot translate it
  direct,            ///< the firmware wants it mapped one to one
  direct_relaxable,  ///< as `direct`, but a VMM may map it otherwise
  msi,               ///< the addresses of message signalled interrupts
};

/// A range of I/O virtual addresses that the host keeps for itself.
struct reserved_region {
  /// The first and the last address that belong to it.
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  /// VFIO lets a VMM map a `direct_relaxable` region, and no other.
  region_type type = region_type::reserved;
  /// Whether all members are equal.
  friend bool operator==(const reserved_region&, const reserved_region&) = default;
};

/// An IOMMU and what its domains can do.
struct iommu_spec {
  /// What groups call it.
  std::string name = "iommu0";
  /// Its domains can ignore no-snoop, so that DMA through them is enforced coherent.
  bool snoop_control = true;
  /// Without it VFIO fails with EPERM, unless the world allows unsafe interrupts.
  bool interrupt_remapping = true;
  std::uint64_t page_sizes = 0x40201000;  ///< bitmap: 4 KiB, 2 MiB, 1 GiB
  /// The addresses that it translates.
  iova_range aperture{0, (std::uint64_t{1} << 48) - 1};
  /// The addresses that the host keeps. The default is x86's: the interrupt range.
  std::vector<reserved_region> reserved{{0xfee00000, 0xfeefffff, region_type::msi}};
  /// Whether all members are equal.
  friend bool operator==(const iommu_spec&, const iommu_spec&) = default;
};

/// A base address register.
struct bar_spec {
  std::uint64_t size = 0;  ///< bytes, a power of two; 0: this register is no BAR
  bool is_64bit = false;   ///< the next register is its upper half, and no BAR of its own
  /// The bit in the register.
  bool prefetchable = false;
  bool io = false;            ///< I/O ports
  std::uint64_t address = 0;  ///< what the register holds
  /// Whether all members are equal.
  friend bool operator==(const bar_spec&, const bar_spec&) = default;
};

/// A place in a BAR.
struct bar_place {
  /// The number of the BAR, from 0.
  unsigned bar = 0;
  std::uint32_t offset = 0;  ///< bytes from its start
  /// Whether both are equal.
  friend bool operator==(const bar_place&, const bar_place&) = default;
};

/// A capability in the configuration space.
struct capability_spec {
  /// PCI_CAP_ID_*, or PCI_EXT_CAP_ID_* for an extended capability.
  std::uint16_t id = 0;
  /// Where its header is: 0x40 to 0xfc, or, for an extended capability, 0x100 to 0xffc.
  std::uint16_t offset = 0;
  std::uint8_t version = 1;  ///< of an extended capability
  /// What follows the header, which has two bytes (extended: four). Bytes that are not given are
  /// zero; but where none are given for PCI Express, MSI or MSI-X, they follow from `pci_spec`.
  std::vector<std::uint8_t> bytes{};
  /// Whether all members are equal.
  friend bool operator==(const capability_spec&, const capability_spec&) = default;
};

/// What a PCI function shows.
struct pci_spec {
  /// The identification registers.
  std::uint16_t vendor = 0x1234;
  std::uint16_t device = 0x11e8;
  std::uint32_t class_code = 0xff0000;  ///< 24 bits
  std::uint8_t revision = 1;
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
  std::vector<bar_spec> bars{{0x1000, false, false}};  ///< by register; at most six
  /// Bytes of the ROM; 0: none.
  std::uint64_t rom_size = 0;
  /// Whether there is a pin interrupt.
  bool intx = true;
  std::uint32_t msi_vectors = 0;        ///< 0 or a power of two up to 32
  std::uint32_t msix_vectors = 0;       ///< up to 2048
  bar_place msix_table{};               ///< where the MSI-X table starts
  std::optional<bar_place> msix_pba{};  ///< the pending bits; without it they follow the table
  std::uint16_t command = 0;            ///< the command register while nobody has opened it
  std::uint16_t status = 0;             ///< beside the capability bit
  /// The register of this name.
  std::uint8_t interrupt_line = 0;
  bool express = true;  ///< PCI Express: 4096 bytes of configuration space, error interrupt
  bool resets = true;   ///< a function reset exists
  /// In the order of the chain, first the ordinary ones, then the extended ones. Without any, PCI
  /// Express, MSI and MSI-X are placed from 0x40 on, as far as the function has them.
  std::vector<capability_spec> capabilities{};
  /// Whether all members are equal.
  friend bool operator==(const pci_spec&, const pci_spec&) = default;
};

/// Who drives a device on the host.
enum class driver : unsigned char {
  vfio,   ///< a driver of VFIO's, vfio-pci or a vendor's variant
  none,   ///< nobody: harmless to its group
  other,  ///< a driver of the host's: its group is not viable
};

/// A device and who drives it.
struct device_spec {
  /// Its address on the bus, as GET_DEVICE_FD takes it.
  std::string name = "0000:00:04.0";
  /// Who drives it.
  driver bound = driver::vfio;
  /// The driver cannot open without a VM (ESRCH), as those of some mediated devices.
  bool needs_vm = false;
  /// A mediated device: emulated IOMMU, never enforced coherent, no domain.
  bool mediated = false;
  /// The N of its node, /dev/vfio/devices/vfioN; -1: the lowest that is free, in the order of the
  /// groups.
  int file_number = -1;
  /// What it shows.
  pci_spec pci{};
  /// Whether all members are equal.
  friend bool operator==(const device_spec&, const device_spec&) = default;
};

/// An IOMMU group.
struct group_spec {
  int number = 0;                ///< /dev/vfio/N
  std::string iommu = "iommu0";  ///< by name
  /// A group without devices has no file; POWER has one for each host bridge that is empty.
  std::vector<device_spec> devices{};
  /// Whether all members are equal.
  friend bool operator==(const group_spec&, const group_spec&) = default;
};

/// A host.
struct topology {
  /// Its IOMMUs and its groups.
  std::vector<iommu_spec> iommus{{}};
  std::vector<group_spec> groups{};
  /// Whether all members are equal.
  friend bool operator==(const topology&, const topology&) = default;
};

/// Which IOMMU driver VFIO has.
enum class iommu_kind : unsigned char { type1, spapr };

/// What VFIO's answers depend on beside the topology.
struct world_options {
  /// The driver, what exists, what is allowed, how much.
  iommu_kind iommu = iommu_kind::type1;
  bool device_files = true;  ///< iommufd and /dev/vfio/devices (not before Linux 6.6)
  /// vfio_iommu_type1's module parameter.
  bool allow_unsafe_interrupts = false;
  /// iommufd's own choice of an address is aligned so at most: a huge page, where there are any.
  std::uint64_t huge_page = std::uint64_t{1} << 21;
  std::uint32_t dma_entry_limit = 65535;  ///< mappings per container
};

}  // namespace kvm_vfio::sim
