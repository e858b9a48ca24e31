// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A machine as data: IOMMUs, groups, devices. Built in code, or read by topology_json.hpp or
/// topology_sysfs.hpp.

#include <cstdint>
#include <string>
#include <vector>

namespace kvm_vfio::sim {

/// An inclusive range of I/O virtual addresses.
struct iova_range {
  /// Both belong to it.
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  /// Equal in both.
  friend bool operator==(const iova_range&, const iova_range&) = default;
};

/// An IOMMU and what its domains can do.
struct iommu_spec {
  /// What groups call it.
  std::string name = "iommu0";
  /// Domains can be made to ignore no-snoop: DMA through them is enforced coherent.
  bool snoop_control = true;
  /// Without it VFIO says EPERM, unless the world allows unsafe interrupts.
  bool interrupt_remapping = true;
  std::uint64_t page_sizes = 0x40201000;  ///< bitmap: 4 KiB, 2 MiB, 1 GiB
  /// The addresses that it translates.
  iova_range aperture{0, (std::uint64_t{1} << 48) - 1};
  /// What no mapping may touch. The x86 default: the interrupt range.
  std::vector<iova_range> reserved{{0xfee00000, 0xfeefffff}};
};

/// A base address register.
struct bar_spec {
  std::uint64_t size = 0;  ///< bytes, a power of two of at least 16; 0: the BAR is not there
  bool is_64bit = false;   ///< the next BAR is its upper half
  /// The bit in the register.
  bool prefetchable = false;
  bool io = false;            ///< I/O ports
  std::uint64_t address = 0;  ///< what the register holds
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
  std::vector<bar_spec> bars{{0x1000, false, false}};  ///< at most six
  /// Bytes of the ROM; 0: none.
  std::uint64_t rom_size = 0;
  /// Whether there is a pin interrupt.
  bool intx = true;
  std::uint32_t msi_vectors = 0;   ///< 0 or a power of two up to 32
  std::uint32_t msix_vectors = 0;  ///< up to 2048
  unsigned msix_bar = 0;           ///< the table starts it; the pending bits follow the table
  std::uint16_t command = 0;       ///< the command register while nobody has opened it
  std::uint16_t status = 0;        ///< beside the capability bit
  /// The register of this name.
  std::uint8_t interrupt_line = 0;
  bool express = true;  ///< PCI Express: 4096 bytes of config space, error interrupt
  bool resets = true;   ///< a function reset exists
};

/// Who drives a device on the host.
enum class driver : unsigned char {
  vfio,   ///< vfio-pci or a variant of it
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
  /// Of its node, /dev/vfio/devices/vfioN; -1: by the order of the groups.
  int file_number = -1;
  /// What it shows.
  pci_spec pci{};
};

/// An IOMMU group.
struct group_spec {
  int number = 0;                ///< /dev/vfio/N
  std::string iommu = "iommu0";  ///< by name
  /// At least one.
  std::vector<device_spec> devices{};
};

/// The machine.
struct topology {
  /// Its IOMMUs and its groups.
  std::vector<iommu_spec> iommus{{}};
  std::vector<group_spec> groups{};
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
