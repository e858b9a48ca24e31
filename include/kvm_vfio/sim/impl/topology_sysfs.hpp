// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of topology_sysfs.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/fields.hpp>
#include <kvm_vfio/sim/topology/impl/pci_sysfs.hpp>
#include <kvm_vfio/sim/topology/impl/sysfs_text.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/topology_sysfs.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
class sysfs_reader {
 public:
  sysfs_reader(std::filesystem::path root, std::optional<bool> snoop_control)
      : root_(std::move(root)), snoop_control_(snoop_control) {}

  [[nodiscard]] topology_result read() {
    r_.machine.iommus.clear();
    for (const int number : group_numbers()) read_group(number);
    if (!r_.machine.groups.empty())
      note("iommus",
           "sysfs does not show page sizes, address widths "
           "and interrupt remapping: the defaults are assumed");
    for (topology_error& e : check(r_.machine)) r_.errors.push_back(std::move(e));
    return std::move(r_);
  }

 private:
  void note(std::string where, std::string what) {
    r_.unknown.push_back({std::move(where), std::move(what)});
  }
  void fail(std::string where, const std::filesystem::path& path, const std::error_code& error) {
    r_.errors.push_back({std::move(where), printable(path.string()) + ": " + error.message()});
  }
  [[nodiscard]] std::vector<int> group_numbers() {
    const std::filesystem::path folder = root_ / "kernel/iommu_groups";
    std::vector<int> out;
    std::error_code error;
    for (const std::string& name : names_in(folder, error)) {
      const int number = number_behind(name, "");
      if (number >= 0) out.push_back(number);
      else note("groups", shown(name) + " is not the number of a group: it is left out");
    }
    std::error_code hidden;
    if (const bool there = path_exists(root_ / "kernel", hidden); hidden)
      fail("groups", root_ / "kernel", hidden);
    else if (!there)
      r_.errors.push_back({"groups", printable(root_.string()) +
                                         " is neither /sys nor a copy of "
                                         "it: it has no folder \"kernel\""});
    else if (error && error != std::errc::no_such_file_or_directory) fail("groups", folder, error);
    else if (out.empty())
      note("groups", "the host has no groups: it has no IOMMU, or its IOMMU is not enabled");
    std::sort(out.begin(), out.end());
    return out;
  }
  void read_group(int number) {
    const std::string where = indexed("groups", r_.machine.groups.size());
    const std::filesystem::path folder = root_ / "kernel/iommu_groups" / std::to_string(number);
    group_spec g{.number = number};
    std::error_code error;
    for (const std::string& name : names_in(folder / "devices", error)) {
      const std::string path = indexed(where + ".devices", g.devices.size());
      g.devices.push_back(read_device(folder / "devices" / name, path));
    }
    if (error) fail(where + ".devices", folder, error);
    // VFIO gives this name to a group that it makes for a device without an IOMMU, and to that of a
    // mediated device.
    if (file_text(folder / "name").value_or("").starts_with("vfio-noiommu") &&
        std::none_of(g.devices.begin(), g.devices.end(),
                     [](const device_spec& d) { return d.mediated; })) {
      g.iommu.clear();
      r_.machine.groups.push_back(std::move(g));
      return;
    }
    // The name says whether the IOMMU is Intel's.
    g.iommu = (vtd_register(folder, g, "cap") ? "dmar" : "group") + std::to_string(number);
    const std::string iommu = indexed("iommus", r_.machine.iommus.size());
    r_.machine.iommus.push_back({.name = g.iommu,
                                 .snoop_control = snoop_control_of(folder, g, iommu),
                                 .aperture = aperture_of(folder, g),
                                 .reserved = read_reserved(folder, iommu)});
    r_.machine.groups.push_back(std::move(g));
  }

  [[nodiscard]] device_spec read_device(const std::filesystem::path& device,
                                        const std::string& where) {
    device_spec d;
    d.name = device.filename().string();
    // Without these entries a device that VFIO or the host drives would seem to have no driver.
    std::error_code hidden;
    if (!path_exists(device, hidden) && !hidden)
      hidden = std::make_error_code(std::errc::no_such_file_or_directory);
    if (!hidden) (void)path_exists(device / "driver", hidden);
    if (!hidden) d.mediated = path_exists(device / "mdev_type", hidden);
    if (hidden) fail(where, device, hidden);
    // A device that is bound to VFIO has this folder, whatever the name of the driver is.
    std::error_code unread;
    for (const std::string& node : names_in(device / "vfio-dev", unread))
      d.file_number = std::max(
          {d.file_number, number_behind(node, "vfio"), number_behind(node, "noiommu-vfio")});
    if (!hidden && unread && unread != std::errc::no_such_file_or_directory)
      fail(where + ".file_number", device / "vfio-dev", unread);
    const std::string bound = link_name(device / "driver");
    if (bound.empty() && path_exists(device / "driver"))
      r_.errors.push_back({where + ".driver",
                           "\"driver\" is not a symbolic link, so the name of the driver is lost: "
                           "copy /sys with its links (cp -a)"});
    const bool vfio = d.file_number >= 0 || bound.find("vfio") != std::string::npos;
    // The kernel sets `driver_managed_dma` in these two drivers: they leave the group viable.
    if (vfio || (d.mediated && !bound.empty())) d.bound = driver::vfio;
    else if (bound.empty() || bound == "pcieport" || bound == "pci-stub") d.bound = driver::none;
    else d.bound = driver::other;
    if (d.mediated) {
      d.pci = {.vendor = 0,
               .device = 0,
               .class_code = 0,
               .revision = 0,
               .bars = {},
               .intx = false,
               .express = false,
               .resets = false};
      note(where + ".pci",
           "sysfs does not show the PCI function of a mediated device: an empty one is assumed");
    } else {
      d.pci = pci_sysfs_reader(device, where + ".pci", r_.unknown).read();
      d.physical_function = link_name(device / "physfn");
      // VFIO ignores the pin of a virtual function, which must be 0.
      if (!d.physical_function.empty()) d.pci.intx = false;
    }
    return d;
  }

  // A register of the IOMMU of a group, if the IOMMU is Intel's.
  [[nodiscard]] static std::optional<std::uint64_t> vtd_register(const std::filesystem::path& group,
                                                                 const group_spec& g,
                                                                 const char* name) {
    if (g.devices.empty()) return std::nullopt;
    std::optional<std::string> text =
        file_text(group / "devices" / g.devices.front().name / "iommu/intel-iommu" / name);
    return text ? take_number(text->insert(0, "0x")) : std::nullopt;
  }
  // The capability register of Intel's IOMMUs has the width of addresses, less one, in the bits 16
  // to 21, and the numbers of levels of page tables in the bits 8 to 12. Linux uses the smaller one
  // of that width and the width of the largest tables.
  [[nodiscard]] static iova_range aperture_of(const std::filesystem::path& group,
                                              const group_spec& g) {
    const std::optional<std::uint64_t> cap = vtd_register(group, g, "cap");
    if (!cap || *cap == 0) return iommu_spec{}.aperture;
    const auto widest = static_cast<unsigned>(*cap >> 16 & 0x3f) + 1;
    const auto levels = static_cast<unsigned>(std::bit_width(*cap >> 8 & 0x1f));
    const unsigned width = levels == 0 ? widest : std::min(widest, 21 + 9 * levels);
    return {0, width < 64 ? (std::uint64_t{1} << width) - 1 : UINT64_MAX};
  }
  // sysfs shows the extended capability register of Intel's IOMMUs; bit 7 is snoop control.
  [[nodiscard]] bool snoop_control_of(const std::filesystem::path& group, const group_spec& g,
                                      const std::string& where) {
    if (snoop_control_) return *snoop_control_;
    if (const auto ecap = vtd_register(group, g, "ecap")) return (*ecap >> 7 & 1) != 0;
    note(where + ".snoop_control", "sysfs does not show it for this IOMMU: true is assumed");
    return true;
  }
  // The file `reserved_regions` has one line for each region: first address, last address, type.
  [[nodiscard]] std::vector<reserved_region> read_reserved(const std::filesystem::path& group,
                                                           const std::string& iommu) {
    const std::string where = iommu + ".reserved";
    std::vector<reserved_region> out;
    const std::optional<std::string> text = file_text(group / "reserved_regions");
    if (!text)
      note(where, "the file \"reserved_regions\" cannot be read: no reserved regions are assumed");
    std::istringstream lines(text.value_or(""));
    for (std::string line; std::getline(lines, line);) {
      const auto first = take_number(line), last = take_number(line);
      const std::string type = line.substr(std::min(line.find_first_not_of(' '), line.size()));
      reserved_region r{first.value_or(0), last.value_or(0), region_type::reserved};
      bool known = first && last;
      for (const auto& [name, value] : names_of<region_type>::all)
        if (type == name) r.type = value;
      known = known && type == name_of(r.type);
      if (!known)
        note(indexed(where, out.size()),
             first && last ? "the type " + shown(type) + " is not known: reserved is assumed"
                           : "the line does not start with two addresses: it is left out");
      if (first && last) out.push_back(r);
    }
    return out;
  }

  std::filesystem::path root_;
  std::optional<bool> snoop_control_;
  topology_result r_;
};
}  // namespace detail

KVM_VFIO_INLINE topology_result topology_from_sysfs(const std::filesystem::path& root,
                                                    std::optional<bool> snoop_control) {
  return detail::sysfs_reader(root, snoop_control).read();
}

}  // namespace kvm_vfio::sim
