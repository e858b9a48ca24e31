// SPDX-License-Identifier: BSL-1.0
// Tells which combination a request of a device, or an access to a region, is.
#include "keys.hpp"

#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace vfio_lockstep {

namespace sim = kvm_vfio::sim;

namespace {

const char* irq_name(std::uint32_t index) {
  constexpr const char* names[] = {"INTx", "MSI", "MSI-X", "error", "request", "no such index"};
  return names[index < 5 ? index : 5];
}
std::string count_in_words(std::uint32_t n) {
  return n == 0 ? "absent" : n == 1 ? "one" : "several";
}

std::string irq_key(const step& s, const sim::vfio_device& d) {
  const std::uint32_t flags = word(s, 4);
  const std::uint32_t index = word(s, 8);
  const std::uint32_t start = word(s, 12);
  const std::uint32_t count = word(s, 16);
  const std::uint32_t data = flags & 7;
  const std::uint32_t action = flags & 0x38;
  const bool one_data = data == 1 || data == 2 || data == 4;
  const bool one_action = action == 8 || action == 16 || action == 32;
  if (!one_data || !one_action) return key(s.name, "not one kind of data and one action");
  if (index >= 5) return key(s.name, "no such index");
  const std::uint32_t each = data == 1 ? 0 : data == 2 ? 1 : 4;
  if (word(s, 0) < 20 + each * std::min(count, 80U)) return key(s.name, "too short");
  const std::string how = std::string(action == 8    ? "MASK"
                                      : action == 16 ? "UNMASK"
                                                     : "TRIGGER") +
                          (data == 1   ? " NONE"
                           : data == 2 ? " BOOL"
                                       : " EVENTFD");
  const sim::pci_irqs& irqs = d.pci.irqs;
  const std::uint32_t there = irqs.count(index);
  const std::string name = std::string(irq_name(index)) + ", " + count_in_words(there);
  const std::uint64_t end = std::uint64_t{start} + count;
  std::string state = view::armed(d);
  if (index >= VFIO_PCI_ERR_IRQ_INDEX) state = irqs.connected(index, 0) ? "connected" : "idle";
  else if (index != VFIO_PCI_INTX_IRQ_INDEX && state.starts_with("INTx")) state = "INTx";
  if (there == 0) return key(s.name, name, how, state);
  if (end > there) return key(s.name, name, how, "more than there are");
  const bool several = there > 1 && action == 32;
  if (count == 0 && !several)
    return key(s.name, name, how, "none of them", action == 32 && data == 1 ? state : "any state");
  if (!several) return key(s.name, name, how, state);
  return key(s.name, name, how,
             count == 0       ? "none of them"
             : count == there ? "all of them"
             : start == 0     ? "the first"
                              : "others",
             state);
}

// Where an access lies in a region.
std::string span_in_words(const sim::pci_spec& pci, std::uint64_t region, std::uint64_t first,
                          std::uint64_t size) {
  const std::uint64_t end = region < pci.bars.size() ? pci.bars[region].size : 0;
  if (first >= end) return "behind the end";
  if (first + size > end) return "across the end";
  if (pci.msix_vectors != 0 && region == pci.msix_table.bar) {
    const std::uint64_t table = pci.msix_table.offset;
    const std::uint64_t past = table + 16 * std::uint64_t{pci.msix_vectors};
    if (first >= table && first + size <= past) return "in the MSI-X table";
    if (first < past && first + size > table) return "across an end of the MSI-X table";
  }
  return "inside";
}

}  // namespace

std::string device_key(const step& s, const view& now) {
  const std::string state = now.device_state(s.on);
  if (state == "unbound") return key(s.name, state);
  const sim::vfio_device& d = *now.device(s.on);
  const sim::pci_spec& pci = d.spec().pci;
  if (d.power.engaged() && s.name != "FEATURE") return key("an ioctl", view::power(d));
  if (s.name == "DEVICE_GET_INFO") return key(s.name, state);
  if (s.name == "GET_REGION_INFO") return key(s.name, region_in_words(pci, word(s, 8)));
  if (s.name == "GET_IRQ_INFO") {
    const std::uint32_t index = word(s, 8);
    return index < 5 ? key(s.name, irq_name(index), count_in_words(d.pci.irqs.count(index)))
                     : key(s.name, irq_name(index));
  }
  if (s.name == "SET_IRQS") return irq_key(s, d);
  if (s.name == "RESET")
    return key(s.name, pci.resets ? "can be reset" : "cannot be reset", view::armed(d));
  const std::string from = state.starts_with("group") ? "group" : "character device";
  const std::string bus = d.on_bus.empty()       ? "no bus reset"
                          : d.on_bus.size() == 1 ? "alone on its bus"
                                                 : "several on its bus";
  if (s.name == "GET_PCI_HOT_RESET_INFO")
    return key(s.name, word(s, 0) < 12 + 8 * d.on_bus.size() ? "no room" : "room", bus, from);
  if (s.name == "PCI_HOT_RESET") {
    const std::uint32_t count = word(s, 8);
    if (count != 1 || s.patches.size() != 1)
      return key(s.name, count == 0 ? "no files" : "several files", bus, from);
    const sim::vfio_group* const g = now.group(s.patches[0].to);
    const bool its = g && std::any_of(g->devices.begin(), g->devices.end(),
                                      [&](const auto& x) { return x.get() == &d; });
    return key(s.name, its ? "its group" : g ? "another group" : "another file", bus, from);
  }
  const std::uint32_t flags = word(s, 4);
  constexpr std::uint32_t probe = VFIO_DEVICE_FEATURE_PROBE;
  const std::uint32_t how = flags & ~std::uint32_t{VFIO_DEVICE_FEATURE_MASK};
  const std::string get = how & VFIO_DEVICE_FEATURE_GET ? " GET" : "";
  const std::string set = how & VFIO_DEVICE_FEATURE_SET ? " SET" : "";
  const std::uint32_t which = flags & VFIO_DEVICE_FEATURE_MASK;
  if (which >= 3 && which <= 5 && how == VFIO_DEVICE_FEATURE_SET) {
    const patch* const p = first_patch(s);
    const std::string data = which != 4                   ? ""
                             : word(s, 0) < 16            ? ", short"
                             : !p                         ? ", negative"
                             : p->to.what == kind::event  ? ", an eventfd"
                             : p->to.what == kind::closed ? ", no file"
                                                          : ", another file";
    return key(s.name, std::to_string(which), "SET" + data, view::power(d));
  }
  return key(s.name, std::to_string(which),
             how == 0 ? "no flag" : (how & probe ? "PROBE" : "no probe") + get + set);
}

std::string region_key(const step& s, const view& now, const machine& m) {
  const std::string verb = s.what == verb::pread    ? "pread"
                           : s.what == verb::pwrite ? "pwrite"
                                                    : "mmap";
  const sim::vfio_device* const d = now.device(s.on);
  if (!d) return key(verb, "another file", name_of(s.on.what));
  if (now.device_state(s.on) == "unbound") return key(verb, "unbound");
  const sim::pci_spec& pci = d->spec().pci;
  const std::uint64_t region = s.number >> 40;
  if (d->power.engaged())
    return key(verb,
               s.what == verb::mmap                     ? "any region"
               : s.argument.empty()                     ? "0 bytes"
               : region > VFIO_PCI_VGA_REGION_INDEX     ? "no region"
               : region == VFIO_PCI_CONFIG_REGION_INDEX ? "config"
                                                        : "another region",
               view::power(*d));
  const std::uint64_t offset = s.number & ((std::uint64_t{1} << 40) - 1);
  const std::string what = region_in_words(pci, region);
  const bool bar = region < 6 && what != "no BAR";
  if (s.what == verb::mmap) {
    if (!bar) return key(verb, what);
    const std::uint64_t whole = (pci.bars[region].size + m.page - 1) & ~(m.page - 1);
    // The kernel maps whole pages.
    const std::uint64_t size = (s.size + m.page - 1) & ~(m.page - 1);
    return key(verb, what,
               s.size == 0                    ? "size 0"
               : offset % m.page != 0         ? "not aligned"
               : offset + size > whole        ? "behind the end"
               : offset == 0 && size >= whole ? "whole"
                                              : "part");
  }
  const std::uint64_t size = s.argument.size();
  if (what == "config" && s.what == verb::pwrite) {
    const std::size_t msi = d->pci.config().msi();
    if (offset == PCI_COMMAND) {
      const auto value = at<std::uint16_t>(s, 0);
      return key(verb, what,
                 value & PCI_COMMAND_INTX_DISABLE ? "command, INTx disabled" : "command",
                 view::armed(*d).starts_with("INTx") ? "INTx armed" : "INTx not armed");
    }
    if (offset == PCI_INTERRUPT_LINE) return key(verb, what, "interrupt line");
    if (offset == PCI_ROM_ADDRESS) return key(verb, what, "address of the ROM");
    if (offset >= PCI_BASE_ADDRESS_0 && offset < PCI_BASE_ADDRESS_0 + 24)
      return key(verb, what, "BAR", region_in_words(pci, (offset - PCI_BASE_ADDRESS_0) / 4));
    if (msi != 0 && offset >= msi)
      return key(verb, what, offset == msi + PCI_MSI_FLAGS ? "flags of MSI" : "address of MSI",
                 view::armed(*d) == "MSI" ? "MSI armed" : "MSI not armed");
    return key(verb, what, "what cannot be written");
  }
  if (what == "config") {
    const std::uint64_t end = d->pci.config().size();
    return key(verb, what,
               offset >= end                    ? "behind the end"
               : offset + size > end            ? "across the end"
               : offset < PCI_STD_HEADER_SIZEOF ? "header"
               : offset < PCI_CFG_SPACE_SIZE    ? "capabilities"
                                                : "extended capabilities",
               size == 0   ? "0 bytes"
               : size == 1 ? "1 byte"
               : size == 2 ? "2 bytes"
               : size == 4 ? "4 bytes"
                           : "other sizes");
  }
  if (!bar) return key(verb, what);
  const bool memory = what != "ports";
  if (size == 0) return key(verb, what, "0 bytes");
  return key(verb, what, span_in_words(pci, region, offset, size),
             memory && !d->pci.config().memory_enabled() ? "memory disabled" : "enabled");
}

}  // namespace vfio_lockstep
