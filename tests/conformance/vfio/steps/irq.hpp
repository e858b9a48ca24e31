// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// SET_IRQS, and what happens to the eventfds.

#include "region.hpp"

#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace vfio_lockstep {

namespace u = kvm_vfio::uapi;

/// SET_IRQS, and what happens to the eventfds.
class irq_steps : public region_steps {
 protected:
  using region_steps::region_steps;

  // What INTx is triggered by, masked by and unmasked by, one after the other.
  void use_intx(ref on) {
    const auto set = [&](std::uint32_t how, const std::vector<patch>& patches = {}, int data = -1) {
      auto argument = bytes(std::uint32_t{24}, how, 0U, 0U, 1U, data);
      call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), patches);
    };
    careful_ = true;
    const ref event = some(kind::event);
    const ref unmask = some(kind::event);
    add({.what = verb::eventfd, .made = event, .makes = true});
    add({.what = verb::eventfd, .made = unmask, .makes = true});
    set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, {{20, event}});
    for (int i = 3 + r_.below(8); i > 0; --i) {
      switch (r_.below(9)) {
        case 0:
        case 1: set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER); break;
        case 2: set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK); break;
        case 3: set(VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_UNMASK, {}, r_.below(2)); break;
        case 4:
          set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
              {{20, r_.percent(70)   ? unmask
                    : r_.percent(40) ? ref{kind::minus_one}
                                     : anything()}});
          break;
        case 5:
          add({.what = verb::write_event,
               .on = r_.percent(80) ? unmask : event,
               .number =
                   r_.of<std::uint64_t>({1, 1, 0, 5, ~std::uint64_t{0}, ~std::uint64_t{0} - 1})});
          break;
        case 6: {
          step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
          s.number = config + PCI_COMMAND;
          s.argument = bytes(r_.of<std::uint16_t>({2, 3, 0x402, 0x403}));
          break;
        }
        case 7:
          if (r_.percent(30)) close(unmask);
          break;
        default: break;
      }
      if (r_.percent(50))
        add({.what = verb::read_event, .on = r_.percent(60) ? event : unmask}).argument =
            bytes(std::uint64_t{0});
    }
    careful_ = false;
  }
  void event_call() {
    if (r_.percent(30)) return read_event();
    add({.what = verb::write_event,
         .on = some(kind::event),
         .number = r_.of<std::uint64_t>({1, 0, 5, ~std::uint64_t{0}, ~std::uint64_t{0} - 1})});
  }
  // What INTx, MSI and MSI-X are armed with afterwards: a name of view::armed.
  void arm(ref on, const std::string& state) {
    const auto set = [&](std::uint32_t how, std::uint32_t index, std::uint32_t count,
                         std::vector<patch> patches = {}) {
      const auto size = static_cast<std::uint32_t>(20 + 4 * patches.size());
      auto argument = bytes(size, how, index, 0U, count);
      argument.resize(size, 0xff);
      call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), std::move(patches));
    };
    const std::uint32_t trigger = VFIO_IRQ_SET_ACTION_TRIGGER;
    const ref event{kind::event, 0};
    const ref unmask{kind::event, 1};
    careful_ = true;
    for (const ref e : {event, unmask}) add({.what = verb::eventfd, .made = e, .makes = true});
    if (const kvm_vfio::sim::vfio_device* const d = now_.device(on))
      if (d->pci.irqs.armed() < 3) set(VFIO_IRQ_SET_DATA_NONE | trigger, d->pci.irqs.armed(), 0);
    if (state.starts_with("INTx") || state == "idle") {
      step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
      s.number = config + PCI_COMMAND;
      s.argument = bytes(std::uint16_t{2});
    }
    const std::uint32_t arms = VFIO_IRQ_SET_DATA_EVENTFD | trigger;
    if (state.starts_with("INTx")) set(arms, 0, 1, {{20, event}});
    if (state == "MSI") set(arms, 1, 1, {{20, event}});
    if (state == "MSI-X") set(arms, 2, 1, {{20, event}});
    if (state == "several MSI") set(arms, 1, 3, {{20, event}, {24, event}, {28, unmask}});
    if (state == "several MSI-X") set(arms, 2, 3, {{20, event}, {24, event}, {28, unmask}});
    if (state.ends_with("unmask eventfd"))
      set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, {{20, unmask}});
    if (state.starts_with("INTx masked"))
      set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1);
    if (state == "INTx disabled") {
      step& s = add({.what = verb::pwrite, .on = on, .name = "config"});
      s.number = config + PCI_COMMAND;
      s.argument = bytes(std::uint16_t{0x402});
    }
    careful_ = false;
  }
  static bool can_be_armed(const kvm_vfio::sim::pci_spec& p, const std::string& state) {
    return state.empty() || state == "idle" || (state.starts_with("INTx") && p.intx) ||
           (state == "MSI" && p.msi_vectors > 0) || (state == "several MSI" && p.msi_vectors > 2) ||
           (state == "MSI-X" && p.msix_vectors > 0) ||
           (state == "several MSI-X" && p.msix_vectors > 2);
  }
  void set_irqs(ref on) {
    if (not_compared(on)) return;
    if (device_in(on) && device_in(on)->pci.intx && r_.percent(12)) return use_intx(on);
    std::uint32_t data = r_.percent(45) ? VFIO_IRQ_SET_DATA_EVENTFD : 1U << r_.below(3);
    std::uint32_t action = 8U << r_.below(3);
    if (r_.percent(60)) action = VFIO_IRQ_SET_ACTION_TRIGGER;
    if (r_.percent(3)) data = r_.of({0U, 3U, 6U});
    if (r_.percent(3)) action = r_.of({0U, 0x18U, 0x30U});
    std::uint32_t index = r_.percent(90) ? static_cast<std::uint32_t>(r_.below(5)) : 5U;
    std::uint32_t count = r_.percent(75) ? 1 : r_.of({0U, 0U, 2U, 33U, ~0U});
    std::uint32_t start = r_.percent(90) ? 0 : r_.of({1U, 7U, ~0U});
    const target* const t = device_in(on);
    // Several vectors at once: mostly a part of what the device has, sometimes more.
    if (t && vectors(t->pci, 1) + vectors(t->pci, 2) > 1 && r_.percent(65)) {
      index = vectors(t->pci, 1) > 1 ? 1 : 2;
      if (r_.percent(6)) index = 3 - index;
      const std::uint32_t all = vectors(t->pci, index);
      const auto some = [&] {
        return static_cast<std::uint32_t>(r_.below(static_cast<int>(std::max(all, 1U))));
      };
      const auto a_part = [&] {
        const std::uint32_t n = some();
        return n / (r_.percent(50) ? 2 : 8);
      };
      start = r_.percent(60) ? 0 : r_.percent(90) ? some() : r_.of({all - 1, all, all + 1});
      count = r_.percent(25)   ? all - std::min(start, all)
              : r_.percent(80) ? 1 + a_part()
                               : r_.of({0U, 1U, all, all - 1, all + 1});
      if (start <= all && r_.percent(90)) count = std::min(count, all - start);
    }
    const std::uint32_t each = data == 2 ? 1 : data == 4 ? 4 : 0;
    constexpr std::uint32_t most = 80;
    const std::uint32_t right = 20 + each * (count < most ? count : 0);
    const std::uint32_t given = flags(data | action);
    auto argument = bytes(argsz(right), given, index, start, count);
    std::vector<patch> patches;
    const int entries = count < most ? static_cast<int>(count) : 1;
    for (int i = 0; i < entries && each != 0; ++i) {
      if (each == 1) {
        argument.push_back(static_cast<unsigned char>(r_.below(2)));
      } else {
        argument.resize(argument.size() + 4, 0xff);
        patches.push_back({argument.size() - 4, vector_file(entries)});
      }
    }
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS, std::move(argument), std::move(patches));
    // Mostly only TRIGGER without eventfds signals one.
    const bool signals = action == VFIO_IRQ_SET_ACTION_TRIGGER && data <= 2;
    if (r_.percent(signals ? 60 : 10)) read_event();
  }
  // Of many descriptors, only a few are not eventfds: a call with one of them fails.
  ref vector_file(int of_how_many) {
    if (r_.percent(15)) return {kind::minus_one};
    if (of_how_many == 1 ? r_.percent(10) : r_.below(10 * of_how_many) == 0) return anything();
    return {kind::event, r_.percent(90) ? 0 : r_.below(slots)};
  }
  static std::uint32_t vectors(const kvm_vfio::sim::pci_spec& pci, std::uint32_t index) {
    return index == VFIO_PCI_MSI_IRQ_INDEX    ? pci.msi_vectors
           : index == VFIO_PCI_MSIX_IRQ_INDEX ? pci.msix_vectors
                                              : 1;
  }
};

}  // namespace vfio_lockstep
