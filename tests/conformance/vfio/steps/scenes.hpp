// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Sequences that bring the state of a combination about.

#include "../combinations.hpp"
#include "states.hpp"

#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// Brings the state of a combination about.
class scene_steps : public state_steps {
 protected:
  using state_steps::state_steps;

  // Makes the state of a combination, with `prefer_` as the object in this state.
  void bring(const row& r) {
    const std::vector<std::string> parts = split(r.key);
    careful_ = true;
    prefer_.reset();
    prefer_too_.reset();
    switch (r.made_by) {
      case family::containers: container_in(parts.back()); break;
      case family::groups: group_for(parts); break;
      case family::closes: close_for(r, parts); break;
      case family::dups: file_of(parts.back()); break;
      case family::cdevs: cdev_for(parts); break;
      case family::iommufds: iommufd_with_all(); break;
      case family::kvm: kvm_for(parts); break;
      case family::vms: vm_in(parts.back()); break;
      case family::devices:
      case family::regions:
      case family::events:
      case family::irqs: device_for(r, parts); break;
      case family::opens: open_for(parts); break;
      case family::unknown: file_of(parts.back()); break;
    }
    careful_ = false;
  }

 private:
  static std::vector<std::string> split(const std::string& key) {
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= key.size();) {
      const std::size_t end = std::min(key.find(" | ", at), key.size());
      parts.push_back(key.substr(at, end - at));
      at = end + 3;
    }
    return parts;
  }
  void close_for(const row& r, const std::vector<std::string>& parts) {
    if (parts.size() < 3) return file_of(parts.back());
    if (parts[2] == "another descriptor is open") {
      int n = 0;
      while (n < kinds_with_slots - 1 && parts[1] != name_of(static_cast<kind>(n))) ++n;
      const kind k = static_cast<kind>(n);
      for (int i = 0; i < 3; ++i)
        if (now_.file({k, i})) {
          add({.what = verb::dup, .on = {k, i}, .made = {k, i == 0 ? 1 : 0}, .makes = true});
          prefer_ = ref{k, i};
          return;
        }
      return file_of(parts[1]);
    }
    if (parts[1] == name_of(kind::container)) return container_in(parts[2]);
    if (parts[1] == name_of(kind::group)) return group_in(parts[2], some_target());
    if (parts[1] == name_of(kind::cdev)) return void(cdev_in("PCI", parts[2]));
    if (parts[1] == name_of(kind::vm)) return vm_in(parts[2]);
    if (parts[1] == name_of(kind::kvm_vfio)) {
      if (parts[2] == "tracks files") return kvm_for({"FILE_ADD", "a group", "alone", "tracked"});
      vm_in("kvm-vfio");
      prefer_ = ref{kind::kvm_vfio, slots - 1};
      return;
    }
    if (parts[1] == name_of(kind::iommufd)) {
      fresh();
      open(kind::iommufd, 0, "/dev/iommu");
      prefer_ = ref{kind::iommufd, 0};
      if (parts[2] == "objects") ioas_alloc(*prefer_);
      if (parts[2] == "device bound") iommufd_with_all();
      return;
    }
    if (parts[1] == name_of(kind::event)) {
      if (parts[2].ends_with("unmasks")) {
        row armed = r;
        armed.brought = "INTx, unmask eventfd";
        device_for(armed, parts);
        prefer_ = ref{kind::event, 1};
      }
      return file_of(parts[1]);
    }
    device_for(r, parts);
  }
  // A device with the bus, the regions and the interrupts that the parts of a key name.
  bool fits(const target& t, const row& r, const std::vector<std::string>& parts) const {
    if (!t.comparable || !can_be_armed(t.pci, r.brought)) return false;
    for (const std::string& p : parts) {
      if (p.ends_with(" bus reset") || p.ends_with(" on its bus"))
        if (p != t.bus) return false;
      if (p == "can be reset" && !t.pci.resets) return false;
      if (p == "cannot be reset" && t.pci.resets) return false;
      if (r.made_by == family::regions || parts[0] == "GET_REGION_INFO")
        if (is_region(p) && !has_region(t.pci, p)) return false;
    }
    if (r.made_by != family::irqs || parts.size() < 2) return true;
    const std::string& vectors = parts[1];
    for (std::uint32_t i = 0; i < 5; ++i) {
      constexpr const char* of_index[] = {"INTx,", "MSI,", "MSI-X,", "error,", "request,"};
      if (!vectors.starts_with(of_index[i])) continue;
      const kvm_vfio::sim::vfio_device* const d = now_.world().find_device(t.device);
      const std::uint32_t n = d ? d->pci.irqs.count(i) : 0;
      return vectors.ends_with(n == 0 ? "absent" : n == 1 ? "one" : "several");
    }
    return true;
  }
  static bool is_region(const std::string& p) {
    return p.starts_with("memory") && p != "memory disabled"
               ? true
               : p == "ports" || p == "MSI-X table" || p == "ROM" || p == "no ROM" || p == "no BAR";
  }
  static bool has_region(const kvm_vfio::sim::pci_spec& pci, const std::string& wanted) {
    for (std::uint64_t i = 0; i < 7; ++i)
      if (region_in_words(pci, i) == wanted) return true;
    return false;
  }
  void device_for(const row& r, const std::vector<std::string>& parts) {
    const auto has = [&](const std::string& p) {
      return std::find(parts.begin(), parts.end(), p) != parts.end();
    };
    if (has("unbound")) return void(cdev_in("PCI", "unbound"));
    // Stays with a device that is open, if the device fits.
    const bool from_cdev = has("character device") || has("bound") || has("attached");
    const bool hot = r.key.find("HOT_RESET") != std::string::npos;
    std::optional<ref> on;
    for (const kind k : {kind::device, kind::cdev})
      for (int i = 0; i < slots - 1 && !hot; ++i)
        if (const target* const t = device_in({k, i});
            t && fits(*t, r, parts) && now_.device_state({k, i}) != "unbound")
          on = ref{k, i};
    if (!on) {
      const target* const t = find([&](const target& x) { return fits(x, r, parts); });
      if (!t) return;
      if (from_cdev && m_.iommufd) {
        fresh();
        open(kind::iommufd, 0, "/dev/iommu");
        open_cdev(0, *t);
        bind({kind::cdev, 0}, {kind::iommufd, 0});
        on = ref{kind::cdev, 0};
      } else {
        group_in(has("group in an iommufd") ? "in an iommufd, device open"
                                            : "with an IOMMU, device open",
                 *t);
        on = ref{kind::device, 0};
      }
      if (hot)
        if (const target* const other = find([&](const target& x) { return x.group != t->group; }))
          open_group(1, *other);
    }
    prefer_ = on;
    if (!r.brought.empty()) arm(*on, r.brought);
    careful_ = true;
    if (has("low power, wakes")) {
      add({.what = verb::eventfd, .made = {kind::event, 0}, .makes = true});
      set_low_power(*on, 4U | VFIO_DEVICE_FEATURE_SET, {kind::event, 0});
    } else if (has("low power")) {
      set_low_power(*on, 3U | VFIO_DEVICE_FEATURE_SET, {kind::minus_one});
    }
    if (has("connected"))
      connect(*on, parts[1].starts_with("error") ? std::uint32_t{VFIO_PCI_ERR_IRQ_INDEX}
                                                 : std::uint32_t{VFIO_PCI_REQ_IRQ_INDEX});
    if (has("memory disabled") || has("enabled")) {
      step& s = add({.what = verb::pwrite, .on = *on, .name = "config"});
      s.number = config + PCI_COMMAND;
      s.argument = bytes(std::uint16_t{has("enabled") ? std::uint16_t{3} : std::uint16_t{0}});
    }
    if (r.made_by == family::events) {
      prefer_ = ref{kind::event, 1};
      // A count that is there when the eventfd is connected stays.
      if (r.key.find("signalled, unmasks") != std::string::npos) signalled_unmask(*on);
    }
  }
  void connect(ref on, std::uint32_t index) {
    add({.what = verb::eventfd, .made = {kind::event, 0}, .makes = true});
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS,
         bytes(std::uint32_t{24},
               std::uint32_t{VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER}, index, 0U,
               1U, -1),
         {{20, {kind::event, 0}}});
  }
  void signalled_unmask(ref on) {
    const ref unmask{kind::event, 1};
    close(unmask);
    arm(on, "INTx");
    careful_ = true;
    add({.what = verb::write_event, .on = unmask, .number = 1});
    call(on, "SET_IRQS", VFIO_DEVICE_SET_IRQS,
         bytes(std::uint32_t{24},
               std::uint32_t{VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK}, 0U, 0U, 1U,
               -1),
         {{20, unmask}});
  }
};

}  // namespace vfio_lockstep
