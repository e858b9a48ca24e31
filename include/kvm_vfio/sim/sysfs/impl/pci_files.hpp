// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Writes the files of a PCI function in sysfs.

#include <kvm_vfio/sim/pci/config.hpp>
#include <kvm_vfio/sim/sysfs/impl/places.hpp>
#include <kvm_vfio/sim/sysfs/impl/tree_writer.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// A number in hexadecimal, with at least this many digits.
[[nodiscard]] inline std::string hex_digits(std::uint64_t n, int digits, bool upper = false) {
  char text[24];
  std::snprintf(text, sizeof text, upper ? "%0*llX" : "%0*llx", digits,
                static_cast<unsigned long long>(n));
  return text;
}
/// A number in octal.
[[nodiscard]] inline std::string octal_digits(unsigned n) {
  char text[16];
  std::snprintf(text, sizeof text, "%o", n);
  return text;
}
/// Writes the folder `power`, which each device has. Linux does not put the devices to sleep that
/// have no hardware.
inline void write_power(tree_writer& to, const std::string& folder, const char* control = "auto\n",
                        const char* status = "unsupported\n") {
  to.file(folder + "/power/control", control, 0644);
  to.file(folder + "/power/runtime_status", status);
}

/// Writes the files of one PCI function.
class pci_files {
 public:
  /// \param is_virtual whether the function is a virtual function (SR-IOV)
  pci_files(tree_writer& to, std::string folder, const pci_spec& pci, bool is_virtual = false)
      : to_(to),
        folder_(std::move(folder)),
        pci_(pci),
        is_virtual_(is_virtual),
        capabilities_(capabilities_of(pci)) {}

  /// \param driver the name of the driver that is bound; empty: none
  /// \param slot   the address of the function; empty: it is not a function of a PCI bus
  /// \param behind the number of the bus behind the function, which is a bridge; 0: no bridge
  void write(const std::string& driver, const std::string& slot, unsigned behind = 0) {
    sleeps_ = driver == "vfio-pci";
    write_numbers(driver);
    const std::string alias = modalias();
    std::string uevent = driver.empty() ? "" : "DRIVER=" + driver + "\n";
    if (!slot.empty())
      uevent += "PCI_CLASS=" + hex_digits(pci_.class_code, 4, true) +
                "\nPCI_ID=" + hex_digits(pci_.vendor, 4, true) + ":" +
                hex_digits(pci_.device, 4, true) +
                "\nPCI_SUBSYS_ID=" + hex_digits(pci_.subsystem_vendor, 4, true) + ":" +
                hex_digits(pci_.subsystem, 4, true) + "\nPCI_SLOT_NAME=" + slot +
                "\nMODALIAS=" + alias + "\n";
    file("uevent", uevent, 0644);
    file("modalias", alias + "\n");
    // VFIO enables a function when a process opens it.
    file("enable", !driver.empty() && driver.find("vfio") == std::string::npos ? "1\n" : "0\n",
         0644);
    write_config(behind);
    write_resources(behind != 0);
    write_link();
    write_sriov();
  }
  /// Writes the methods that reset the function alone.
  /// \param bus whether a reset of the bus is one of the methods
  void write_reset(bool bus) {
    if (!pci_.resets) return;
    std::string methods;
    for (const capability_spec& c : capabilities_) {
      if (is_extended(c)) continue;
      if (c.id == PCI_CAP_ID_EXP && (dword_of(c, PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR) != 0)
        methods.insert(0, "flr ");
      constexpr unsigned af_reset = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
      if (c.id == PCI_CAP_ID_AF && (word_of(c, PCI_AF_LENGTH) >> 8 & af_reset) == af_reset)
        methods += "af_flr ";
    }
    for (const capability_spec& c : capabilities_)
      if (!is_extended(c) && c.id == PCI_CAP_ID_PM &&
          (word_of(c, PCI_PM_CTRL) & PCI_PM_CTRL_NO_SOFT_RESET) == 0)
        methods += "pm ";
    if (methods.empty()) methods = "device_specific ";
    if (bus) methods += "bus ";
    methods.back() = '\n';
    file("reset_method", methods, 0644);
    file("reset", "", 0200);
  }
  /// The SR-IOV capability. nullptr: the function has none.
  [[nodiscard]] const capability_spec* sriov() const {
    for (const capability_spec& c : capabilities_)
      if (is_extended(c) && c.id == PCI_EXT_CAP_ID_SRIOV) return &c;
    return nullptr;
  }

 private:
  void file(const char* name, std::string_view text, mode_t mode = 0444) {
    to_.file(folder_ + "/" + name, text, mode);
  }
  void number(const char* name, std::uint64_t n, int digits) {
    file(name, "0x" + hex_digits(n, digits) + "\n");
  }
  void decimal(const char* name, std::uint64_t n, mode_t mode = 0444) {
    file(name, std::to_string(n) + "\n", mode);
  }
  // The offset of the power management capability. 0: the function has none.
  [[nodiscard]] std::size_t power_management() const {
    for (const capability_spec& c : capabilities_)
      if (!is_extended(c) && c.id == PCI_CAP_ID_PM) return c.offset;
    return 0;
  }
  void write_numbers(const std::string& driver) {
    number("vendor", pci_.vendor, 4);
    number("device", pci_.device, 4);
    number("subsystem_vendor", pci_.subsystem_vendor, 4);
    number("subsystem_device", pci_.subsystem, 4);
    number("class", pci_.class_code, 6);
    number("revision", pci_.revision, 2);
    decimal("irq", pci_.intx ? pci_.interrupt_line : 0U);
    file("numa_node", "-1\n", 0644);
    file("msi_bus", "1\n", 0644);
    file("ari_enabled", "0\n");
    file("broken_parity_status", "0\n", 0644);
    // The topology does not tell the processors of the host. One is enough for a program.
    file("local_cpus", "1\n");
    file("local_cpulist", "0\n");
    file("d3cold_allowed", power_management() != 0 ? "1\n" : "0\n", 0644);
    // PCI starts with 32 bits, and VFIO does not change them.
    const char* const mask = driver == "other" ? "64\n" : "32\n";
    file("dma_mask_bits", mask);
    file("consistent_dma_mask_bits", mask);
    file("driver_override", sleeps_ ? "vfio-pci\n" : "(null)\n", 0644);
    file("power_state", sleeps_ && power_management() != 0 ? "D3hot\n" : "D0\n");
    if (pci_.class_code >> 8 == 0x0300) file("boot_vga", "0\n");
    file("remove", "", 0220);
    file("rescan", "", 0200);
    // vfio-pci lets a function sleep as long as no process has it open.
    if (sleeps_) write_power(to_, folder_, "auto\n", "suspended\n");
    else write_power(to_, folder_, "on\n", "active\n");
  }
  [[nodiscard]] std::string modalias() const {
    return "pci:v" + hex_digits(pci_.vendor, 8, true) + "d" + hex_digits(pci_.device, 8, true) +
           "sv" + hex_digits(pci_.subsystem_vendor, 8, true) + "sd" +
           hex_digits(pci_.subsystem, 8, true) + "bc" + hex_digits(pci_.class_code >> 16, 2, true) +
           "sc" + hex_digits(pci_.class_code >> 8 & 0xff, 2, true) + "i" +
           hex_digits(pci_.class_code & 0xff, 2, true);
  }
  void write_config(unsigned behind) {
    const pci_config config(pci_, is_virtual_);
    std::string bytes;
    for (std::size_t i = 0; i < config.size(); ++i)
      bytes.push_back(static_cast<char>(config.at(i)));
    // `pci_config` is the function after VFIO opened it. sysfs shows the function before.
    bytes[PCI_COMMAND] = static_cast<char>(pci_.command & 0xff);
    bytes[PCI_COMMAND + 1] = static_cast<char>(pci_.command >> 8);
    if (const std::size_t at = power_management(); sleeps_ && at != 0)
      bytes[at + PCI_PM_CTRL] = static_cast<char>(bytes[at + PCI_PM_CTRL] | 3);  // D3hot
    // The identity of a virtual function is in its physical function.
    if (is_virtual_) bytes.replace(PCI_VENDOR_ID, 4, 4, static_cast<char>(0xff));
    const auto bridge_to = [&bytes](unsigned bus, bool several_functions) {
      bytes[PCI_HEADER_TYPE] =
          static_cast<char>(PCI_HEADER_TYPE_BRIDGE | (several_functions ? 0x80U : 0U));
      bytes[PCI_SECONDARY_BUS] = bytes[PCI_SUBORDINATE_BUS] = static_cast<char>(bus);
    };
    if (pci_.secondary_bus != 0) bridge_to(pci_.secondary_bus, pci_.multifunction);
    if (behind != 0) {
      bridge_to(behind, true);
      // A window that starts behind its end lets nothing through.
      bytes[PCI_IO_BASE] = bytes[PCI_MEMORY_BASE] = bytes[PCI_PREF_MEMORY_BASE] =
          static_cast<char>(0xf0);
      bytes[PCI_MEMORY_BASE + 1] = bytes[PCI_PREF_MEMORY_BASE + 1] = static_cast<char>(0xff);
    }
    file("config", bytes, 0644);
  }
  // The file `resource` has a line for each BAR, for the ROM and for the six BARs of virtual
  // functions: first address, last address, flags. The lower four bits are those of the register.
  // A bridge has four more lines for the windows of its bus.
  void write_resources(bool bridge) {
    constexpr std::uint64_t is_io = 0x100, is_memory = 0x200, prefetch = 0x2000, read_only = 0x4000,
                            size_aligned = 0x40000, is_64bit = 0x100000;
    const std::size_t count = bridge ? 17 : 13;
    std::string lines;
    for (std::size_t i = 0; i < count; ++i) {
      const bar_spec bar = i < pci_.bars.size() ? pci_.bars[i] : bar_spec{};
      if (i == PCI_STD_NUM_BARS && pci_.rom_size != 0) {
        add_line(lines, 0, pci_.rom_size, is_memory | prefetch | read_only | size_aligned);
        to_.zeros(folder_ + "/rom", pci_.rom_size, 0600);
      } else if (i >= PCI_STD_NUM_BARS || bar.size == 0) {
        add_line(lines, 0, 0, 0);
      } else if (bar.io) {
        add_line(lines, bar.address, bar.size, is_io | size_aligned | PCI_BASE_ADDRESS_SPACE_IO);
        write_bar(i, bar);
      } else {
        std::uint64_t flags = is_memory | size_aligned;
        if (bar.is_64bit) flags |= is_64bit | PCI_BASE_ADDRESS_MEM_TYPE_64;
        if (bar.prefetchable) flags |= prefetch | PCI_BASE_ADDRESS_MEM_PREFETCH;
        add_line(lines, bar.address, bar.size, flags);
        write_bar(i, bar);
      }
    }
    file("resource", lines);
  }
  // A prefetchable BAR has a second file, whose mapping combines writes.
  void write_bar(std::size_t i, const bar_spec& bar) {
    const std::string path = folder_ + "/resource" + std::to_string(i);
    to_.zeros(path, bar.size, 0600);
    if (bar.prefetchable) to_.zeros(path + "_wc", bar.size, 0600);
  }
  static void add_line(std::string& lines, std::uint64_t first, std::uint64_t size,
                       std::uint64_t flags) {
    const std::uint64_t last = size == 0 ? 0 : first + size - 1;
    lines += "0x" + hex_digits(first, 16) + " 0x" + hex_digits(last, 16) + " 0x" +
             hex_digits(flags, 16) + "\n";
  }
  // The speed and the width of the link. A function that is a part of the root complex has no link.
  void write_link() {
    for (const capability_spec& c : capabilities_) {
      if (is_extended(c) || c.id != PCI_CAP_ID_EXP) continue;
      const unsigned type = (word_of(c, PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >> 4;
      const bool links = type != PCI_EXP_TYPE_RC_END && type != PCI_EXP_TYPE_RC_EC;
      const unsigned most = links ? dword_of(c, PCI_EXP_LNKCAP) : 0;
      write_link("max", most, most == 0 ? 255 : width_of(most));
      const unsigned now = links ? word_of(c, PCI_EXP_LNKSTA) : 0U;
      write_link("current", now, width_of(now));
    }
  }
  [[nodiscard]] static unsigned width_of(unsigned bits) { return (bits & PCI_EXP_LNKCAP_MLW) >> 4; }
  void write_link(const std::string& which, unsigned bits, unsigned width) {
    constexpr std::array<const char*, 7> speeds{"Unknown",       "2.5 GT/s PCIe",  "5.0 GT/s PCIe",
                                                "8.0 GT/s PCIe", "16.0 GT/s PCIe", "32.0 GT/s PCIe",
                                                "64.0 GT/s PCIe"};
    const unsigned speed = bits & PCI_EXP_LNKCAP_SLS;
    file((which + "_link_speed").c_str(),
         std::string(speeds[speed < speeds.size() ? speed : 0]) + "\n");
    decimal((which + "_link_width").c_str(), width);
  }
  void write_sriov() {
    const capability_spec* const c = sriov();
    if (c == nullptr) return;
    decimal("sriov_totalvfs", word_of(*c, PCI_SRIOV_TOTAL_VF));
    decimal("sriov_numvfs", word_of(*c, PCI_SRIOV_NUM_VF), 0644);
    decimal("sriov_offset", word_of(*c, PCI_SRIOV_VF_OFFSET));
    decimal("sriov_stride", word_of(*c, PCI_SRIOV_VF_STRIDE));
    file("sriov_vf_device", hex_digits(word_of(*c, PCI_SRIOV_VF_DID), 1) + "\n");
    file("sriov_drivers_autoprobe", "1\n", 0644);
  }

  tree_writer& to_;
  std::string folder_;
  const pci_spec& pci_;
  bool is_virtual_;
  bool sleeps_ = false;  // vfio-pci drives the function
  std::vector<capability_spec> capabilities_;
};

/// Writes the files of a bridge (a root port) that the topology does not contain.
inline void write_bridge(tree_writer& to, const placed_bridge& b) {
  constexpr std::uint8_t root_port = 2 | PCI_EXP_TYPE_ROOT_PORT << 4;  // version 2
  // Red Hat's PCI Express root port, as QEMU has it.
  const pci_spec port{
      .vendor = 0x1b36,
      .device = 0x000c,
      .class_code = 0x060400,
      .revision = 0,
      .bars = {},
      .intx = false,
      .command = 7,
      .resets = false,
      .capabilities = {{.id = PCI_CAP_ID_EXP, .offset = 0x40, .bytes = {root_port}}}};
  pci_files(to, b.folder, port).write("pcieport", b.address.text(), b.behind);
}

}  // namespace kvm_vfio::sim::detail
