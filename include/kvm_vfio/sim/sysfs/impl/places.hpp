// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The places of the devices of a topology in sysfs, and their device numbers.

#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/sysfs/device_node.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim::detail {

/// The address of a PCI function.
struct pci_address {
  std::string domain;  // hexadecimal, at least four digits
  unsigned bus = 0;
  unsigned devfn = 0;  // the number of the slot times 8, plus the number of the function

  [[nodiscard]] std::string bus_text() const {
    char text[8];
    std::snprintf(text, sizeof text, ":%02x", bus & 0xffU);
    return domain + text;
  }
  [[nodiscard]] std::string text() const {
    char text[8];
    std::snprintf(text, sizeof text, ":%02x.%u", devfn >> 3 & 0x1fU, devfn & 7U);
    return bus_text() + text;
  }
};
/// Reads an address as Linux writes it. No value: the text is not such an address.
[[nodiscard]] inline std::optional<pci_address> pci_address_of(std::string_view name) {
  constexpr std::size_t behind_domain = 8;  // ":bb:ss.f"
  if (name.size() < 4 + behind_domain || name.size() > 8 + behind_domain) return std::nullopt;
  const std::string_view domain = name.substr(0, name.size() - behind_domain);
  const auto digit = [](char c) -> unsigned {
    const std::size_t at = std::string_view("0123456789abcdef").find(c);
    return at == std::string_view::npos ? 16U : static_cast<unsigned>(at);
  };
  if (std::any_of(domain.begin(), domain.end(), [&](char c) { return digit(c) > 15; }))
    return std::nullopt;
  const std::string_view rest = name.substr(domain.size());
  if (rest[0] != ':' || rest[3] != ':' || rest[6] != '.') return std::nullopt;
  const unsigned d[5] = {digit(rest[1]), digit(rest[2]), digit(rest[4]), digit(rest[5]),
                         digit(rest[7])};
  if (d[0] > 15 || d[1] > 15 || d[2] > 1 || d[3] > 15 || d[4] > 7) return std::nullopt;
  return pci_address{std::string(domain), d[0] << 4 | d[1], (d[2] << 4 | d[3]) << 3 | d[4]};
}

/// A device with its place in sysfs.
struct placed_device {
  const device_spec* spec = nullptr;
  const group_spec* group = nullptr;
  const char* bus = "pci";  // the folder in /sys/bus: pci, mdev or platform
  std::string folder{};     // "/sys/devices/pci0000:00/0000:00:04.0"
  int file_number = -1;     // the N of vfioN; -1: the device is not bound to VFIO
};
/// A bridge in front of a bus that can be reset.
struct placed_bridge {
  pci_address address;
  unsigned behind = 0;  // the number of the bus behind the bridge
  std::string folder{};
};
/// All devices of a host.
struct places {
  std::vector<placed_device> devices;  // in the order of the topology
  std::vector<placed_bridge> bridges;
  std::set<std::string> root_buses;            // their folders
  std::vector<const group_spec*> vfio_groups;  // those with a node, in the order of the topology
  topology_errors errors;
};

class placer {
 public:
  explicit placer(const topology& machine) : machine_(machine) {}

  [[nodiscard]] places place() {
    for (std::size_t i = 0; i < machine_.iommus.size(); ++i)
      check_name(machine_.iommus[i].name, indexed("iommus", i));
    for (std::size_t i = 0; i < machine_.groups.size(); ++i)
      for (std::size_t j = 0; j < machine_.groups[i].devices.size(); ++j)
        look_at(machine_.groups[i].devices[j], indexed(indexed("groups", i) + ".devices", j));
    for (const group_spec& g : machine_.groups) {
      bool has_node = false;
      for (const device_spec& d : g.devices) {
        has_node = has_node || d.bound == driver::vfio;
        add(g, d);
      }
      if (has_node) out_.vfio_groups.push_back(&g);
    }
    return std::move(out_);
  }

 private:
  void check_name(const std::string& name, const std::string& where) {
    if (name == "." || name == "..")
      append(out_.errors, where + ".name", shown(name) + " cannot be the name of a folder");
  }
  void look_at(const device_spec& d, const std::string& where) {
    check_name(d.name, where);
    names_.insert(d.name);
    if (d.file_number >= 0) numbers_.insert(d.file_number);
    const auto address = pci_address_of(d.name);
    if (!d.mediated && d.pci.bus_resets && address) buses_.try_emplace(address->bus_text());
  }
  void add(const group_spec& g, const device_spec& d) {
    placed_device out{.spec = &d, .group = &g};
    if (d.bound == driver::vfio) out.file_number = number_of(d);
    const auto address = pci_address_of(d.name);
    if (d.mediated) {
      out.bus = "mdev";
      out.folder = "/sys/devices/virtual/mdev/" + d.name;
    } else if (!address) {
      out.bus = "platform";
      out.folder = "/sys/devices/platform/" + d.name;
    } else {
      out.folder = bus_folder(*address) + "/" + d.name;
    }
    out_.devices.push_back(std::move(out));
  }
  // The numbers are those that `world` gives out.
  [[nodiscard]] int number_of(const device_spec& d) {
    if (d.file_number >= 0) return d.file_number;
    while (numbers_.contains(next_number_)) ++next_number_;
    return next_number_++;
  }
  // The folder of the functions of a bus.
  [[nodiscard]] std::string bus_folder(const pci_address& a) {
    const auto found = buses_.find(a.bus_text());
    if (found == buses_.end()) return root_bus_folder(a);
    if (found->second.empty()) found->second = add_bridge(a);
    return found->second;
  }
  [[nodiscard]] std::string root_bus_folder(const pci_address& a) {
    return *out_.root_buses.insert("/sys/devices/pci" + a.bus_text()).first;
  }
  // Adds a bridge with an unused address of a root bus.
  [[nodiscard]] std::string add_bridge(const pci_address& to) {
    constexpr unsigned first = 0x1c << 3,
                       count = 256;  // many hosts have root ports from slot 1c on
    pci_address a{to.domain, to.bus == 0 ? 0xffU : 0U, first};
    for (unsigned tried = 0; !names_.insert(a.text()).second; ++tried) {
      if (tried == count) {
        append(out_.errors, "groups",
               "the bus " + to.bus_text() + " needs a bridge, but no address is free on the bus " +
                   a.bus_text());
        break;
      }
      a.devfn = (a.devfn + 1) % count;
    }
    out_.bridges.push_back({.address = a, .behind = to.bus});
    out_.bridges.back().folder = root_bus_folder(a) + "/" + a.text();
    return out_.bridges.back().folder;
  }

  const topology& machine_;
  std::set<std::string> names_;
  std::set<int> numbers_;  // those that devices name
  int next_number_ = 0;
  std::map<std::string, std::string> buses_;  // those behind bridges, with folders; empty: not yet
  places out_;
};

/// A character device with the folder that describes it in sysfs.
struct placed_node {
  device_node node;
  std::string folder;
  const char* subsystem;  // the name of its folder in /sys/class
  unsigned mode = 0600;   // the permission bits of the node
};
[[nodiscard]] inline std::string number_text(const device_node& n) {
  return std::to_string(n.major) + ":" + std::to_string(n.minor);
}
// The name of a device in the class vfio-dev, and of its device file.
[[nodiscard]] inline std::string vfio_name(const placed_device& d, const linux_release& release) {
  const bool named = d.group->iommu.empty() && release.noiommu_device_files;
  return (named ? "noiommu-vfio" : "vfio") + std::to_string(d.file_number);
}
[[nodiscard]] inline std::string vfio_folder(const placed_device& d, const linux_release& release) {
  return d.folder + "/vfio-dev/" + vfio_name(d, release);
}
[[nodiscard]] inline bool has_device_file(const placed_device& d, const linux_release& release) {
  return d.file_number >= 0 && (!d.group->iommu.empty() || release.noiommu_device_files);
}
[[nodiscard]] inline bool has_device_files(const linux_release& release,
                                           const world_options& options) noexcept {
  return release.device_files && options.device_files;
}
inline constexpr unsigned misc_major = 10;
[[nodiscard]] inline std::vector<placed_node> nodes_of(const places& all,
                                                       const linux_release& release,
                                                       bool device_files) {
  constexpr unsigned group_major = 511, device_major = 510;
  constexpr unsigned container_minor = 196, iommu_minor = 127;
  std::vector<placed_node> out;
  out.push_back({{"/dev/vfio/vfio", misc_major, container_minor},
                 "/sys/devices/virtual/misc/vfio",
                 "misc",
                 0666});
  if (device_files)
    out.push_back(
        {{"/dev/iommu", misc_major, iommu_minor}, "/sys/devices/virtual/misc/iommu", "misc", 0660});
  unsigned minor = 0;
  for (const group_spec* g : all.vfio_groups) {
    const std::string name = (g->iommu.empty() ? "noiommu-" : "") + std::to_string(g->number);
    out.push_back(
        {{"/dev/vfio/" + name, group_major, minor++}, "/sys/devices/virtual/vfio/" + name, "vfio"});
  }
  for (const placed_device& d : all.devices) {
    if (!device_files || !has_device_file(d, release)) continue;
    out.push_back({{"/dev/vfio/devices/" + vfio_name(d, release), device_major,
                    static_cast<unsigned>(d.file_number)},
                   vfio_folder(d, release),
                   "vfio-dev"});
  }
  return out;
}

}  // namespace kvm_vfio::sim::detail
