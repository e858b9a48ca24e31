// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The check of a `pci_spec`, which is a part of topology_check.hpp.

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

[[nodiscard]] constexpr bool is_power_of_two(std::uint64_t n, std::uint64_t least,
                                             std::uint64_t most) noexcept {
  return n >= least && n <= most && (n & (n - 1)) == 0;
}
inline constexpr std::uint64_t max_32bit_bar = std::uint64_t{1} << 31;
inline constexpr std::uint64_t max_64bit_bar = std::uint64_t{1} << 40;  // VFIO_PCI_OFFSET_SHIFT
[[nodiscard]] constexpr std::uint64_t least_size(const bar_spec& b) noexcept {
  return b.io ? 4 : 16;
}
[[nodiscard]] constexpr std::uint64_t most_size(const bar_spec& b) noexcept {
  return b.is_64bit ? max_64bit_bar : max_32bit_bar;
}
/// Whether a BAR of this kind can have the size that `b` gives.
[[nodiscard]] constexpr bool has_bar_size(const bar_spec& b) noexcept {
  return is_power_of_two(b.size, least_size(b), most_size(b));
}
/// Whether a ROM can have this size. 0 is valid: the function has no ROM.
[[nodiscard]] constexpr bool is_rom_size(std::uint64_t size) noexcept {
  return size == 0 || is_power_of_two(size, 0x800, max_32bit_bar);
}

/// Checks one PCI function.
class pci_checker {
 public:
  /// \param errors the checker appends the errors that it finds
  /// \param pci    the function
  /// \param where  the path of `pci` in its topology, for the errors
  pci_checker(topology_errors& errors, const pci_spec& pci, std::string where)
      : errors_(errors), pci_(pci), where_(std::move(where)) {}

  void check() {
    if (pci_.class_code > 0xffffff)
      fail("class_code", in_hex(pci_.class_code) + " does not fit in 24 bits");
    check_bars();
    if (!is_rom_size(pci_.rom_size))
      fail("rom_size", in_hex(pci_.rom_size) + " is neither 0 nor a power of two from 0x800 to " +
                           in_hex(max_32bit_bar));
    if (pci_.msi_vectors > 32 || (pci_.msi_vectors & (pci_.msi_vectors - 1)) != 0)
      fail("msi_vectors", std::to_string(pci_.msi_vectors) + " is not 0, 1, 2, 4, 8, 16 or 32");
    check_msix();
    check_capabilities();
    const std::size_t end =
        std::max<std::size_t>(end_of_own_registers(pci_), PCI_STD_HEADER_SIZEOF);
    if (pci_.own_registers.size() > end - PCI_STD_HEADER_SIZEOF)
      fail("own_registers", "the registers end after " + in_hex(end) +
                                ", where the first capability is, or the end of their part of the "
                                "configuration space");
  }

 private:
  void fail(const std::string& member, std::string what) {
    append(errors_, where_ + "." + member, std::move(what));
  }
  void check_bars() {
    if (pci_.bars.size() > PCI_STD_NUM_BARS)
      fail("bars", std::to_string(pci_.bars.size()) + " BARs are listed; a function has at most 6");
    for (std::size_t i = 0; i < pci_.bars.size() && i < PCI_STD_NUM_BARS; ++i) {
      const bar_spec& b = pci_.bars[i];
      const std::string at = indexed("bars", i);
      if (i > 0 && is_wide(pci_.bars[i - 1])) {
        if (b != bar_spec{})
          fail(at, "is the upper half of " + indexed("bars", i - 1) +
                       ", which is 64-bit, so it must be empty: {\"size\": 0}");
        continue;
      }
      check_bar(b, i, at);
    }
  }
  static bool is_wide(const bar_spec& b) noexcept { return b.size != 0 && b.is_64bit; }
  void check_bar(const bar_spec& b, std::size_t i, const std::string& at) {
    if (b.size == 0) {
      if (b != bar_spec{}) fail(at, "has size 0, so its other members must have their defaults");
      return;
    }
    if (b.io && (b.is_64bit || b.prefetchable))
      fail(at, "has I/O ports, so it can be neither 64-bit nor prefetchable");
    if (!has_bar_size(b)) {
      fail(at + ".size", in_hex(b.size) + " is not a power of two from " + in_hex(least_size(b)) +
                             " to " + in_hex(most_size(b)) +
                             (b.is_64bit ? "" : ", the largest size of a 32-bit BAR"));
      return;
    }
    if (b.address % b.size != 0)
      fail(at + ".address",
           in_hex(b.address) + " is not a multiple of the size, " + in_hex(b.size));
    if (!b.is_64bit && b.address > 0xffffffff)
      fail(at + ".address", in_hex(b.address) + " does not fit into a 32-bit BAR");
    if (b.is_64bit && i == PCI_STD_NUM_BARS - 1)
      fail(at, "is the last BAR, so it cannot be 64-bit: no BAR follows for its upper half");
  }

  void check_msix() {
    const std::uint64_t vectors = pci_.msix_vectors;
    if (vectors == 0) return;
    if (vectors > 2048) {
      fail("msix_vectors",
           std::to_string(vectors) + " is more than 2048, the largest number of MSI-X vectors");
      return;
    }
    const bar_place table = pci_.msix_table;
    const bar_place pending = pending_bits_of(pci_);
    const std::uint64_t table_size = vectors * PCI_MSIX_ENTRY_SIZE;
    const std::uint64_t pending_size = (vectors + 63) / 64 * 8;
    if (!pci_.msix_pba && table.offset + table_size > 0xfffffff8) {
      fail("msix_table.offset",
           "the pending bits of MSI-X follow the table and would lie beyond 4 GiB, but their "
           "offset in the capability has 32 bits");
      return;
    }
    const char* const pending_name = pci_.msix_pba ? "msix_pba" : "msix_table";
    const bool both = check_place("msix_table", "the MSI-X table", table, table_size) &&
                      check_place(pending_name, "the pending bits of MSI-X", pending, pending_size);
    if (both && table.bar == pending.bar && table.offset < pending.offset + pending_size &&
        pending.offset < table.offset + table_size)
      fail(pending_name, "the pending bits overlap the MSI-X table");
  }
  bool check_place(const char* member, const std::string& what, const bar_place& place,
                   std::uint64_t size) {
    const bool there = place.bar < pci_.bars.size() && place.bar < PCI_STD_NUM_BARS &&
                       pci_.bars[place.bar].size != 0 && !pci_.bars[place.bar].io;
    if (!there) {
      fail(std::string(member) + ".bar", "BAR " + std::to_string(place.bar) +
                                             " is not a memory BAR, so it cannot contain " + what);
      return false;
    }
    if (place.offset % 8 != 0) {
      fail(std::string(member) + ".offset", in_hex(place.offset) + " is not a multiple of 8");
      return false;
    }
    const std::uint64_t end = std::uint64_t{place.offset} + size;
    if (end <= pci_.bars[place.bar].size) return true;
    fail(std::string(member) + ".offset", "BAR " + std::to_string(place.bar) + " has " +
                                              in_hex(pci_.bars[place.bar].size) + " bytes, but " +
                                              what + " would end at " + in_hex(end));
    return false;
  }

  void check_capabilities() {
    if (pci_.capabilities.empty()) return;
    // The list with the bytes that pci_config will have, because their number decides about
    // overlaps.
    const std::vector<capability_spec> listed = capabilities_of(pci_);
    for (std::size_t i = 0; i < listed.size(); ++i) check_place_of(listed, i);
    check_overlaps(listed);
    check_one(PCI_CAP_ID_EXP, "PCI Express", pci_.express, "express");
    check_one(PCI_CAP_ID_MSI, "MSI", pci_.msi_vectors != 0, "msi_vectors");
    check_one(PCI_CAP_ID_MSIX, "MSI-X", pci_.msix_vectors != 0, "msix_vectors");
  }
  void check_place_of(const std::vector<capability_spec>& all, std::size_t i) {
    const capability_spec& c = all[i];
    const std::string at = indexed("capabilities", i);
    const std::size_t end = is_extended(c) ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
    const bool first_extended = is_extended(c) && (i == 0 || !is_extended(all[i - 1]));
    if (c.offset < PCI_STD_HEADER_SIZEOF || c.offset % 4 != 0 || c.offset >= PCI_CFG_SPACE_EXP_SIZE)
      fail(at + ".offset", in_hex(c.offset) + " is not a multiple of 4 from 0x40 to 0xffc");
    else if (c.offset + size_of(c) > end)
      fail(at + ".bytes", "the capability ends after " + in_hex(end) +
                              ", the end of its part of the configuration space");
    else if (first_extended && c.offset != PCI_CFG_SPACE_SIZE)
      fail(at + ".offset",
           "the first extended capability must be at 0x100, not at " + in_hex(c.offset));
    if (!is_extended(c) && c.id > 0xff) fail(at + ".id", in_hex(c.id) + " does not fit in 8 bits");
    if (!is_extended(c) && c.version != 1)
      fail(at + ".version",
           std::to_string(c.version) + " is not 1: only an extended capability has a version");
    if (c.version > 15)
      fail(at + ".version", std::to_string(c.version) + " does not fit in 4 bits");
    if (is_extended(c) && !pci_.express)
      fail(at + ".offset", "only a PCI Express function has extended capabilities");
    if (i > 0 && !is_extended(c) && is_extended(all[i - 1]))
      fail(at + ".offset", "an ordinary capability must be listed before the extended ones");
  }
  void check_overlaps(const std::vector<capability_spec>& listed) {
    struct extent {
      std::size_t first, end, index;
    };
    std::vector<extent> all;
    all.reserve(listed.size());
    for (std::size_t i = 0; i < listed.size(); ++i)
      all.push_back({listed[i].offset, listed[i].offset + size_of(listed[i]), i});
    std::sort(all.begin(), all.end(),
              [](const extent& a, const extent& b) { return a.first < b.first; });
    for (std::size_t i = 0; i + 1 < all.size(); ++i)
      if (all[i].end > all[i + 1].first)
        fail(indexed("capabilities", all[i + 1].index),
             "overlaps " + indexed("capabilities", all[i].index));
  }
  // Checks PCI Express, MSI or MSI-X. The capability must be listed once if the function has it,
  // and its bytes must agree with the other members of pci_spec.
  void check_one(unsigned id, const char* name, bool wanted, const char* member) {
    std::size_t found = pci_.capabilities.size();
    for (std::size_t i = 0; i < pci_.capabilities.size(); ++i) {
      if (is_extended(pci_.capabilities[i]) || pci_.capabilities[i].id != id) continue;
      if (found != pci_.capabilities.size())
        fail(indexed("capabilities", i), std::string(name) + " is listed twice");
      found = i;
    }
    const bool there = found != pci_.capabilities.size();
    if (there != wanted) {
      fail("capabilities", std::string(name) + (there ? " is listed" : " is not listed") +
                               ", but " + member + " says that the function " +
                               (wanted ? "has it: list the id " + in_hex(id) : "does not have it"));
      return;
    }
    if (there && !pci_.capabilities[found].bytes.empty())
      check_contents(pci_.capabilities[found], indexed("capabilities", found));
  }
  void check_contents(const capability_spec& c, const std::string& at) {
    const auto differs = [&](const char* member, std::uint64_t said, std::uint64_t wanted) {
      if (said != wanted)
        fail(at + ".bytes",
             "the bytes give " + in_hex(said) + " for " + member + ", but it is " + in_hex(wanted));
    };
    if (c.id == PCI_CAP_ID_MSI) {
      const unsigned log2 = (word_of(c, PCI_MSI_FLAGS) & PCI_MSI_FLAGS_QMASK) >> 1;
      differs("msi_vectors", std::uint64_t{1} << log2, pci_.msi_vectors);
    } else if (c.id == PCI_CAP_ID_MSIX) {
      const bar_place pending = pending_bits_of(pci_);
      differs("msix_vectors", (word_of(c, PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U,
              pci_.msix_vectors);
      differs("the place of msix_table", dword_of(c, PCI_MSIX_TABLE),
              pci_.msix_table.offset | pci_.msix_table.bar);
      differs("the place of msix_pba", dword_of(c, PCI_MSIX_PBA), pending.offset | pending.bar);
    }
  }

  topology_errors& errors_;
  const pci_spec& pci_;
  std::string where_;
};

}  // namespace kvm_vfio::sim::detail
