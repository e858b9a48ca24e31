// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Reads the description of a PCI function from its folder in sysfs.

#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/impl/pci_check.hpp>
#include <kvm_vfio/sim/topology/impl/sysfs_text.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// Reads one PCI function. If a file cannot be read, or PCI does not allow its content, the reader
/// adds a note. Then a number is 0, and a BAR or a capability is left out.
class pci_sysfs_reader {
 public:
  /// \param device  the folder of the function in sysfs
  /// \param where   the path of the `pci_spec` in its topology, for the notes
  /// \param unknown the reader appends its notes
  pci_sysfs_reader(std::filesystem::path device, std::string where, topology_errors& unknown)
      : device_(std::move(device)), where_(std::move(where)), unknown_(unknown) {}

  [[nodiscard]] pci_spec read() {
    pci_.vendor = number<std::uint16_t>("vendor", "vendor");
    pci_.device = number<std::uint16_t>("device", "device");
    pci_.class_code = number<std::uint32_t>("class", "class_code") & 0xffffff;
    pci_.revision = number<std::uint8_t>("revision", "revision");
    pci_.subsystem_vendor = number<std::uint16_t>("subsystem_vendor", "subsystem_vendor");
    pci_.subsystem = number<std::uint16_t>("subsystem_device", "subsystem");
    pci_.resets = path_exists(device_ / "reset") && !resets_with_neighbours();
    // A function that is not on a root bus is in the folder of the bridge in front of its bus.
    pci_.bus_resets = path_exists(device_ / ".." / "config");
    read_resources();
    read_config();
    return std::move(pci_);
  }

 private:
  static constexpr unsigned several_functions = 0x80;  // a bit of the header type

  void note(const std::string& member, std::string what) {
    unknown_.push_back({where_ + "." + member, std::move(what)});
  }
  template <class T>
  [[nodiscard]] T number(const char* file, const char* member) {
    const std::optional<std::uint64_t> n = file_number(device_ / file);
    if (n && *n <= std::numeric_limits<T>::max()) return kvm_vfio::detail::convert<T>(*n);
    note(member, "the file " + shown(file) +
                     (n ? " contains a number that is too large" : " cannot be read") +
                     ": 0 is assumed");
    return 0;
  }

  // Whether the only reset is that of the bus, and the bus has other functions. The kernel offers
  // such a reset if it finds this function first, but VFIO_DEVICE_RESET cannot use the reset.
  [[nodiscard]] bool resets_with_neighbours() const {
    std::string methods = file_text(device_ / "reset_method").value_or("");
    while (!methods.empty() && (methods.back() == '\n' || methods.back() == ' '))
      methods.pop_back();
    if (methods != "bus") return false;
    const std::string name = device_.filename().string();
    const std::string bus = name.substr(0, name.rfind(':') + 1);
    std::error_code none;
    const std::vector<std::string> all = names_in(device_ / "..", none);
    return std::any_of(all.begin(), all.end(), [&](const std::string& other) {
      return other != name && !bus.empty() && other.starts_with(bus);
    });
  }

  // The file `resource` has one line for each BAR and one for the ROM: first address, last address,
  // flags.
  void read_resources() {
    pci_.bars.clear();
    const std::optional<std::string> text = file_text(device_ / "resource");
    if (!text) return note("bars", "the file \"resource\" cannot be read: no BARs are assumed");
    std::istringstream lines(*text);
    std::string line;
    for (std::size_t i = 0; i <= PCI_STD_NUM_BARS && std::getline(lines, line); ++i) {
      const auto first = take_number(line), last = take_number(line), flags = take_number(line);
      if (first && last && flags) add_resource(i, *first, *last, *flags);
      else leave_out(i, "the file \"resource\" has no valid line for it");
    }
  }
  void add_resource(std::size_t i, std::uint64_t first, std::uint64_t last, std::uint64_t flags) {
    constexpr std::uint64_t is_io = 0x100, is_memory = 0x200, prefetch = 0x2000,
                            is_64bit = 0x100000;
    const bool there = (flags & (is_io | is_memory)) != 0 && last >= first && last != 0;
    const std::uint64_t size = there ? last - first + 1 : 0;
    if (i == PCI_STD_NUM_BARS) {
      if (!is_rom_size(size)) return leave_out(i, in_hex(size) + " is not a valid size of a ROM");
      pci_.rom_size = size;
      return;
    }
    const bar_spec bar{.size = size,
                       .is_64bit = (flags & is_64bit) != 0,
                       .prefetchable = (flags & prefetch) != 0,
                       .io = (flags & is_io) != 0};
    if (!there) pci_.bars.emplace_back();
    else if (!has_bar_size(bar)) leave_out(i, in_hex(size) + " is not a valid size of a BAR");
    else if (bar.io && (bar.is_64bit || bar.prefetchable))
      leave_out(i, "a BAR of I/O ports is neither 64-bit nor prefetchable");
    else if (bar.is_64bit && i == PCI_STD_NUM_BARS - 1)
      leave_out(i, "the last BAR cannot be 64-bit");
    else if (i > 0 && pci_.bars.back().size != 0 && pci_.bars.back().is_64bit)
      leave_out(i, "the BAR before it is 64-bit and needs it as upper half");
    else pci_.bars.push_back(bar);
  }
  // Leaves out a BAR, or the ROM, that PCI does not allow.
  void leave_out(std::size_t i, const std::string& why) {
    if (i < PCI_STD_NUM_BARS) pci_.bars.emplace_back();
    note(i < PCI_STD_NUM_BARS ? indexed("bars", i) : "rom_size", why + ": it is left out");
  }

  [[nodiscard]] unsigned byte(std::size_t at) const noexcept {
    return at < config_.size() ? static_cast<unsigned char>(config_[at]) : 0;
  }
  [[nodiscard]] std::uint16_t word(std::size_t at) const noexcept {
    return static_cast<std::uint16_t>(byte(at) | byte(at + 1) << 8);
  }
  [[nodiscard]] std::uint32_t dword(std::size_t at) const noexcept {
    return word(at) | std::uint32_t{word(at + 2)} << 16;
  }

  // Every user can read the first 64 bytes. Only root can read the capabilities behind them.
  void read_config() {
    std::error_code none;
    const std::uintmax_t size = std::filesystem::file_size(device_ / "config", none);
    config_ = file_text(device_ / "config").value_or("");
    config_.resize(std::min<std::size_t>(config_.size(), PCI_CFG_SPACE_EXP_SIZE));
    const std::string can_be_read =
        "only " + std::to_string(config_.size()) + " bytes of the configuration space can be read";
    if (config_.size() < PCI_STD_HEADER_SIZEOF)
      note("command", can_be_read +
                          ": if the command, the status, the interrupt pin or line or the address "
                          "of a BAR is missing, it is 0");
    pci_.command = word(PCI_COMMAND);
    pci_.status = static_cast<std::uint16_t>(word(PCI_STATUS) & ~PCI_STATUS_CAP_LIST);
    pci_.interrupt_line = static_cast<std::uint8_t>(byte(PCI_INTERRUPT_LINE));
    pci_.intx = byte(PCI_INTERRUPT_PIN) != 0;
    pci_.multifunction = (byte(PCI_HEADER_TYPE) & several_functions) != 0;
    pci_.express = !none && size > PCI_CFG_SPACE_SIZE;
    const unsigned kind = byte(PCI_HEADER_TYPE) & ~several_functions;
    if (kind == PCI_HEADER_TYPE_BRIDGE || kind == PCI_HEADER_TYPE_CARDBUS)
      pci_.secondary_bus = static_cast<std::uint8_t>(byte(PCI_SECONDARY_BUS));
    read_addresses();
    if (config_.size() < PCI_CFG_SPACE_SIZE)
      return note(
          "capabilities",
          can_be_read + " (root can read all): " +
              (pci_.express
                   ? "a function with PCI Express, but with neither MSI nor MSI-X is assumed"
                   : "a function with neither PCI Express, MSI nor MSI-X is assumed"));
    if (pci_.express && config_.size() < PCI_CFG_SPACE_EXP_SIZE)
      note("capabilities", can_be_read + ": the extended capabilities are left out");
    read_capabilities();
  }
  // The file `resource` has addresses of the processor; the registers have addresses of the bus.
  void read_addresses() noexcept {
    for (std::size_t i = 0; i < pci_.bars.size(); ++i) {
      bar_spec& bar = pci_.bars[i];
      if (bar.size == 0) continue;
      const std::size_t at = PCI_BASE_ADDRESS_0 + 4 * i;
      bar.address = dword(at);
      if (bar.is_64bit && i + 1 < PCI_STD_NUM_BARS)
        bar.address |= std::uint64_t{dword(at + 4)} << 32;
      bar.address &= ~(bar.size - 1);
    }
  }
  void read_capabilities() {
    std::bitset<PCI_CFG_SPACE_EXP_SIZE> seen;
    unsigned at = byte(PCI_STATUS) & PCI_STATUS_CAP_LIST ? byte(PCI_CAPABILITY_LIST) & ~3U : 0;
    for (; at >= PCI_STD_HEADER_SIZEOF && !seen[at]; at = byte(at + PCI_CAP_LIST_NEXT) & ~3U)
      add(seen,
          {.id = static_cast<std::uint16_t>(byte(at)), .offset = static_cast<std::uint16_t>(at)});
    note_end(at);
    if (pci_.express && !has(PCI_CAP_ID_EXP))
      note("express",
           "the configuration space has 4096 bytes, but "
           "no PCI Express capability: false is assumed");
    pci_.express = has(PCI_CAP_ID_EXP);
    at = pci_.express && config_.size() == PCI_CFG_SPACE_EXP_SIZE ? PCI_CFG_SPACE_SIZE : 0U;
    const auto there = [this](std::size_t i) { return dword(i) != 0 && dword(i) != 0xffffffff; };
    for (; at >= PCI_CFG_SPACE_SIZE && !seen[at] && there(at); at = dword(at) >> 20 & ~3U)
      add(seen, {.id = static_cast<std::uint16_t>(dword(at)),
                 .offset = static_cast<std::uint16_t>(at),
                 .version = static_cast<std::uint8_t>(dword(at) >> 16 & 15)});
    if (at != PCI_CFG_SPACE_SIZE) note_end(at);
    fill_bytes();
    for (capability_spec& c : pci_.capabilities) look_at(c);
    leave_out_what_cannot_be();
    const std::size_t end = end_of_own_registers(pci_);
    for (std::size_t i = PCI_STD_HEADER_SIZEOF; i < end; ++i)
      pci_.own_registers.push_back(static_cast<std::uint8_t>(byte(i)));
    while (!pci_.own_registers.empty() && pci_.own_registers.back() == 0)
      pci_.own_registers.pop_back();
  }
  // Adds a note if a list of capabilities is broken. `at` is the offset that its last element
  // names; 0 is the regular end.
  void note_end(unsigned at) {
    if (at != 0)
      note("capabilities",
           "a list of capabilities leads to " + in_hex(at) +
               ", which cannot be an offset or was read before: the list ends there");
  }
  // Leaves out what PCI does not allow: MSI-X if only its members are wrong, and otherwise all
  // capabilities.
  void leave_out_what_cannot_be() {
    for (const bool all : {false, true}) {
      topology_errors errors;
      pci_checker(errors, pci_, where_).check();
      if (!all)
        std::erase_if(errors, [](const topology_error& e) {
          return e.where.find(".msix_") == std::string::npos;
        });
      if (errors.empty()) continue;
      for (const topology_error& e : errors)
        unknown_.push_back(
            {e.where, e.what + (all ? ": the capabilities are left out" : ": MSI-X is left out")});
      std::erase_if(pci_.capabilities, [all](const capability_spec& c) {
        return all || (!is_extended(c) && c.id == PCI_CAP_ID_MSIX);
      });
      pci_.msix_vectors = 0;
      pci_.msix_table = {};
      pci_.msix_pba = {};
      if (all) pci_.msi_vectors = 0;
    }
  }
  void add(std::bitset<PCI_CFG_SPACE_EXP_SIZE>& seen, capability_spec c) {
    seen.set(c.offset);
    pci_.capabilities.push_back(std::move(c));
  }
  [[nodiscard]] bool has(unsigned id) const noexcept {
    return std::any_of(pci_.capabilities.begin(), pci_.capabilities.end(),
                       [id](const auto& c) { return !is_extended(c) && c.id == id; });
  }
  // A capability does not contain its size. So it gets all bytes up to the next capability, or up
  // to the end of the configuration space.
  void fill_bytes() {
    for (capability_spec& c : pci_.capabilities) {
      std::size_t end = is_extended(c) ? config_.size() : std::size_t{PCI_CFG_SPACE_SIZE};
      for (const capability_spec& other : pci_.capabilities)
        if (other.offset > c.offset && other.offset < end) end = other.offset;
      for (std::size_t at = c.offset + header_size(c); at < end; ++at)
        c.bytes.push_back(static_cast<std::uint8_t>(byte(at)));
    }
  }
  // Removes the bits that the driver of the host has set at this moment, and sets the other members
  // of pci_spec from the capability.
  void look_at(capability_spec& c) {
    if (!is_extended(c) && c.id == PCI_CAP_ID_MSI) {
      if (c.bytes[0] & PCI_MSI_FLAGS_ENABLE) clear_message(c);
      c.bytes[0] &=
          static_cast<std::uint8_t>(~unsigned{PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE});
      pci_.msi_vectors = 1U << ((word_of(c, PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QMASK) >> 1);
    } else if (!is_extended(c) && c.id == PCI_CAP_ID_PM && c.bytes.size() > 2) {
      // The host lets a function sleep that nobody uses.
      c.bytes[2] &= static_cast<std::uint8_t>(~unsigned{PCI_PM_CTRL_STATE_MASK});
    } else if (!is_extended(c) && c.id == PCI_CAP_ID_MSIX) {
      c.bytes[1] &= static_cast<std::uint8_t>(
          ~unsigned{(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8});
      const auto place = [&c](std::size_t at) {
        const std::uint32_t v = dword_of(c, at);
        return bar_place{v & PCI_MSIX_TABLE_BIR, v & PCI_MSIX_TABLE_OFFSET};
      };
      pci_.msix_vectors = (word_of(c, PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U;
      pci_.msix_table = place(PCI_MSIX_TABLE);
      pci_.msix_pba = place(PCI_MSIX_PBA);
    }
    while (c.bytes.size() > 1 && c.bytes.back() == 0) c.bytes.pop_back();
  }

  // While MSI is enabled, the registers contain the message and the masks of the host's driver. The
  // kernel clears these registers when the driver disables MSI.
  static void clear_message(capability_spec& c) {
    const unsigned flags = word_of(c, PCI_MSI_FLAGS);
    const std::size_t header = header_size(c);
    const auto clear = [&](std::size_t first, std::size_t end) {
      for (std::size_t at = first - header; at < end - header && at < c.bytes.size(); ++at)
        c.bytes[at] = 0;
    };
    const std::size_t data = msi_layout_of(flags).data;
    clear(PCI_MSI_ADDRESS_LO, data + 2);
    if (flags & PCI_MSI_FLAGS_MASKBIT) clear(data + 4, data + 8);
  }

  std::filesystem::path device_;
  std::string where_;
  topology_errors& unknown_;
  pci_spec pci_{.bars = {}, .intx = false, .express = false};
  std::string config_;
};

}  // namespace kvm_vfio::sim::detail
