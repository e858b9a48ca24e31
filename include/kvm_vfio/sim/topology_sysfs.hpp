// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The topology of a running Linux: IOMMU groups and PCI functions, as its sysfs shows them.

#include <kvm_vfio/sim/topology.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace kvm_vfio::sim {

namespace detail {
[[nodiscard]] inline std::string sysfs_text(const std::filesystem::path& p) {
  std::ifstream in(p, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}
[[nodiscard]] inline std::uint64_t sysfs_number(const std::filesystem::path& p) {
  return std::strtoull(sysfs_text(p).c_str(), nullptr, 0);
}

// `resource`: a line for each BAR and the ROM: first, last, flags.
inline void read_resources(const std::filesystem::path& device, pci_spec& pci) {
  constexpr std::uint64_t is_io = 0x100, is_memory = 0x200, prefetch = 0x2000, is_64bit = 0x100000;
  std::istringstream lines(sysfs_text(device / "resource"));
  pci.bars.clear();
  for (std::string line; pci.bars.size() < 7 && std::getline(lines, line);) {
    char* end = line.data();
    const std::uint64_t first = std::strtoull(end, &end, 16);
    const std::uint64_t last = std::strtoull(end, &end, 16);
    const std::uint64_t flags = std::strtoull(end, &end, 16);
    const bool there = (flags & (is_io | is_memory)) && last > first;
    pci.bars.push_back({.size = there ? last - first + 1 : 0,
                        .is_64bit = (flags & is_64bit) != 0,
                        .prefetchable = (flags & prefetch) != 0,
                        .io = (flags & is_io) != 0});
  }
  if (pci.bars.size() == 7) {
    pci.rom_size = pci.bars.back().size;
    pci.bars.pop_back();
  }
}

// The first 64 bytes are everyone's to read, the capabilities behind them are root's.
inline void read_config(const std::filesystem::path& device, pci_spec& pci) {
  const std::string c = sysfs_text(device / "config");
  const auto byte = [&c](std::size_t at) -> unsigned {
    return at < c.size() ? static_cast<unsigned char>(c[at]) : 0;
  };
  const auto word = [&byte](std::size_t i) {
    return static_cast<std::uint16_t>(byte(i) | byte(i + 1) << 8);
  };
  // `resource` has the processor's addresses; the registers have the bus's.
  for (std::size_t i = 0; i < pci.bars.size(); ++i) {
    bar_spec& bar = pci.bars[i];
    const std::size_t at = PCI_BASE_ADDRESS_0 + 4 * i;
    bar.address = word(at) | std::uint64_t{word(at + 2)} << 16;
    if (bar.is_64bit && i + 1 < pci.bars.size())
      bar.address |= std::uint64_t{word(at + 4)} << 32 | std::uint64_t{word(at + 6)} << 48;
    bar.address = bar.size == 0 ? 0 : bar.address & ~(bar.size - 1);
  }
  pci.command = word(PCI_COMMAND);
  pci.status = word(PCI_STATUS);
  pci.interrupt_line = static_cast<std::uint8_t>(byte(PCI_INTERRUPT_LINE));
  pci.intx = byte(PCI_INTERRUPT_PIN) != 0;
  pci.express = false;
  if (!(byte(PCI_STATUS) & PCI_STATUS_CAP_LIST)) return;
  unsigned at = byte(PCI_CAPABILITY_LIST);
  for (int most = 48; at >= 0x40 && at < c.size() && most > 0; --most, at = byte(at + 1)) {
    const unsigned control = byte(at + 2) | byte(at + 3) << 8;
    switch (byte(at)) {
      case PCI_CAP_ID_EXP: pci.express = true; break;
      case PCI_CAP_ID_MSI: pci.msi_vectors = 1U << ((control & PCI_MSI_FLAGS_QMASK) >> 1); break;
      case PCI_CAP_ID_MSIX:
        pci.msix_vectors = (control & PCI_MSIX_FLAGS_QSIZE) + 1;
        pci.msix_bar = byte(at + PCI_MSIX_TABLE) & PCI_MSIX_TABLE_BIR;
        break;
      default: break;
    }
  }
}

[[nodiscard]] inline device_spec read_device(const std::filesystem::path& device) {
  namespace fs = std::filesystem;
  device_spec d;
  std::error_code ignored;
  d.name = device.filename().string();
  const std::string bound = fs::read_symlink(device / "driver", ignored).filename().string();
  // A port of a bridge is the host's and harms nobody.
  const std::uint64_t code = sysfs_number(device / "class");
  if (bound.empty() || bound == "pcieport" || bound == "pci-stub") d.bound = driver::none;
  else d.bound = bound.find("vfio") != std::string::npos ? driver::vfio : driver::other;
  d.mediated = fs::exists(device / "mdev_type", ignored);
  if (d.mediated && !bound.empty()) d.bound = driver::vfio;
  for (const fs::directory_entry& f : fs::directory_iterator(device / "vfio-dev", ignored))
    d.file_number = static_cast<int>(
        std::strtol(f.path().filename().c_str() + std::string_view("vfio").size(), nullptr, 10));
  d.pci.vendor = static_cast<std::uint16_t>(sysfs_number(device / "vendor"));
  d.pci.device = static_cast<std::uint16_t>(sysfs_number(device / "device"));
  d.pci.class_code = static_cast<std::uint32_t>(code);
  d.pci.revision = static_cast<std::uint8_t>(sysfs_number(device / "revision"));
  d.pci.subsystem_vendor = static_cast<std::uint16_t>(sysfs_number(device / "subsystem_vendor"));
  d.pci.subsystem = static_cast<std::uint16_t>(sysfs_number(device / "subsystem_device"));
  d.pci.resets = fs::exists(device / "reset", ignored);
  read_resources(device, d.pci);
  read_config(device, d.pci);
  return d;
}

// `reserved_regions`: first, last, type. Direct-mapped regions can be given up.
[[nodiscard]] inline std::vector<iova_range> read_reserved(const std::filesystem::path& group) {
  std::vector<iova_range> out;
  std::istringstream lines(sysfs_text(group / "reserved_regions"));
  for (std::string line; std::getline(lines, line);) {
    char* end = line.data();
    const std::uint64_t first = std::strtoull(end, &end, 16);
    const std::uint64_t last = std::strtoull(end, &end, 16);
    if (last > first && line.find("relaxable") == std::string::npos) out.push_back({first, last});
  }
  return out;
}
}  // namespace detail

/// Reads the IOMMU groups below `root` (a copy of, or the, "/sys"), in the order of their numbers.
/// \param snoop_control what the machine's IOMMU can do: sysfs does not tell
/// \return no groups when there is no IOMMU
[[nodiscard]] inline topology topology_from_sysfs(const std::filesystem::path& root = "/sys",
                                                  bool snoop_control = true) {
  namespace fs = std::filesystem;
  topology t;
  t.iommus.clear();
  std::error_code none;
  for (const fs::directory_entry& group :
       fs::directory_iterator(root / "kernel/iommu_groups", none)) {
    group_spec g;
    g.number = static_cast<int>(std::strtol(group.path().filename().c_str(), nullptr, 10));
    g.iommu = "group" + std::to_string(g.number);
    for (const fs::directory_entry& d : fs::directory_iterator(group.path() / "devices", none))
      g.devices.push_back(detail::read_device(d.path()));
    std::sort(g.devices.begin(), g.devices.end(),
              [](const device_spec& a, const device_spec& b) { return a.name < b.name; });
    t.iommus.push_back({.name = g.iommu,
                        .snoop_control = snoop_control,
                        .reserved = detail::read_reserved(group.path())});
    t.groups.push_back(std::move(g));
  }
  std::sort(t.groups.begin(), t.groups.end(),
            [](const group_spec& a, const group_spec& b) { return a.number < b.number; });
  if (t.iommus.empty()) t.iommus.emplace_back();
  return t;
}

}  // namespace kvm_vfio::sim
