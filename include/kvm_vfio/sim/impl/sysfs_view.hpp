// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of sysfs_view.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/sysfs/impl/pci_files.hpp>
#include <kvm_vfio/sim/sysfs/impl/places.hpp>
#include <kvm_vfio/sim/sysfs/impl/tree_writer.hpp>
#include <kvm_vfio/sim/sysfs_view.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/fields.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>
#include <kvm_vfio/sim/topology/vtd_registers.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <linux/pci_regs.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
class sysfs_view_writer {
 public:
  sysfs_view_writer(const topology& machine, const std::filesystem::path& directory,
                    const linux_release& release, const world_options& options)
      : machine_(machine),
        options_(options),
        release_(release),
        device_files_(has_device_files(release, options)),
        all_(placer(machine).place()),
        to_(directory) {}

  [[nodiscard]] topology_errors write() {
    if (!all_.errors.empty()) return std::move(all_.errors);
    to_.top("");
    to_.top("/sys");
    to_.top("/dev");
    write_buses();
    for (const std::string& folder : all_.root_buses) {
      to_.file(folder + "/uevent", "", 0644);
      write_power(to_, folder);
    }
    for (const placed_bridge& b : all_.bridges) {
      write_bridge(to_, b);
      join_bus("pci", b.folder, b.address.text(), "pcieport");
    }
    for (const placed_device& d : all_.devices) {
      if (to_.failed()) break;
      write_device(d);
    }
    write_mdev_type();
    for (const group_spec& g : machine_.groups) write_group(g);
    for (const iommu_spec& i : machine_.iommus) write_iommu(i);
    write_nodes();
    write_modules();
    return to_.finish();
  }

 private:
  static constexpr const char* mdev_type = "/sys/devices/virtual/mdev/mdev_supported_types/mdev-1";

  // The name of the driver of a device. Empty: no driver.
  [[nodiscard]] static std::string driver_name(const placed_device& d) {
    if (d.spec->bound == driver::none) return {};
    if (d.spec->bound == driver::other) return "other";
    // Each vendor has a driver of its own for mediated devices. The topology does not name it.
    const std::string_view bus = d.bus;
    return bus == "pci" ? "vfio-pci" : bus == "mdev" ? "vfio_mdev" : "vfio-platform";
  }
  [[nodiscard]] static std::string iommu_folder(std::string name) {
    std::replace(name.begin(), name.end(), '/', '!');
    return "/sys/devices/virtual/iommu/" + name;
  }

  void write_buses() {
    std::set<std::string> buses{"pci"};
    for (const placed_device& d : all_.devices) buses.insert(d.bus);
    for (const std::string& bus : buses) {
      const std::string folder = "/sys/bus/" + bus;
      to_.folder(folder + "/devices");
      to_.folder(folder + "/drivers");
      to_.file(folder + "/drivers_autoprobe", "1\n", 0644);
      to_.file(folder + "/drivers_probe", "", 0200);
      to_.file(folder + "/uevent", "", 0200);
    }
    to_.file("/sys/bus/pci/rescan", "", 0200);
    to_.file("/sys/bus/pci/resource_alignment", "", 0644);
    to_.folder("/sys/bus/pci/slots");
    write_driver("pci", "vfio-pci");
    for (const placed_device& d : all_.devices)
      if (const std::string name = driver_name(d); !name.empty()) write_driver(d.bus, name);
    if (!all_.bridges.empty()) write_driver("pci", "pcieport");
  }
  void write_driver(const std::string& bus, const std::string& name) {
    const std::string folder = "/sys/bus/" + bus + "/drivers/" + name;
    if (!drivers_.insert(folder).second) return;
    to_.file(folder + "/bind", "", 0200);
    to_.file(folder + "/unbind", "", 0200);
    to_.file(folder + "/uevent", "", 0200);
    if (bus == "pci") {
      to_.file(folder + "/new_id", "", 0200);
      to_.file(folder + "/remove_id", "", 0200);
    }
    if (name.find("vfio") == std::string::npos || bus == "mdev") return;
    std::string module = name;
    std::replace(module.begin(), module.end(), '-', '_');
    to_.link(folder + "/module", "/sys/module/" + module);
    to_.link("/sys/module/" + module + "/drivers/" + bus + ":" + name, folder);
  }
  // The links between a device, its bus and its driver. \param driver empty: none
  void join_bus(const std::string& bus, const std::string& folder, const std::string& name,
                const std::string& driver) {
    to_.link("/sys/bus/" + bus + "/devices/" + name, folder);
    to_.link(folder + "/subsystem", "/sys/bus/" + bus);
    if (driver.empty()) return;
    const std::string of_driver = "/sys/bus/" + bus + "/drivers/" + driver;
    to_.link(folder + "/driver", of_driver);
    to_.link(of_driver + "/" + name, folder);
  }

  void write_device(const placed_device& d) {
    const device_spec& spec = *d.spec;
    const std::string driver = driver_name(d);
    join_bus(d.bus, d.folder, spec.name, driver);
    to_.link(d.folder + "/iommu_group",
             "/sys/kernel/iommu_groups/" + std::to_string(d.group->number));
    if (spec.mediated) {
      to_.file(d.folder + "/uevent", driver.empty() ? "" : "DRIVER=" + driver + "\n", 0644);
      to_.file(d.folder + "/remove", "", 0200);
      to_.link(d.folder + "/mdev_type", mdev_type);
      to_.link(std::string(mdev_type) + "/devices/" + spec.name, d.folder);
      write_power(to_, d.folder);
    } else {
      pci_files files(to_, d.folder, spec.pci, !spec.physical_function.empty());
      const bool on_pci = d.bus == std::string_view("pci");
      files.write(driver, on_pci ? spec.name : "");
      files.write_reset(on_pci && spec.pci.bus_resets && alone_on_bus(spec.name));
      if (on_pci) link_virtual_functions(d, files.sriov());
      if (!d.group->iommu.empty()) {
        to_.link(d.folder + "/iommu", iommu_folder(d.group->iommu));
        to_.link(iommu_folder(d.group->iommu) + "/devices/" + spec.name, d.folder);
      }
    }
    if (d.file_number < 0) return;
    const std::string file = vfio_folder(d, release_);
    to_.link(file + "/device", d.folder);
    if (!device_files_ || !has_device_file(d, release_)) write_class_member(file, "vfio-dev", "");
  }
  [[nodiscard]] bool alone_on_bus(const std::string& name) const {
    const std::string bus = name.substr(0, name.rfind(':') + 1);
    return std::none_of(all_.devices.begin(), all_.devices.end(), [&](const placed_device& d) {
      return !d.spec->mediated && d.spec->name != name && d.spec->name.starts_with(bus);
    });
  }
  void link_virtual_function(const placed_device& physical, unsigned n, const placed_device& d) {
    to_.link(physical.folder + "/virtfn" + std::to_string(n), d.folder);
    to_.link(d.folder + "/physfn", physical.folder);
  }
  // Links a physical function and those of its virtual functions that the topology has.
  void link_virtual_functions(const placed_device& physical, const capability_spec* sriov) {
    unsigned n = 0;
    for (const placed_device& d : all_.devices)
      if (d.spec->physical_function == physical.spec->name) link_virtual_function(physical, n++, d);
    if (n == 0) link_by_address(physical, sriov);
  }
  // The capability of a physical function tells the addresses of the virtual functions.
  void link_by_address(const placed_device& physical, const capability_spec* sriov) {
    auto a = pci_address_of(physical.spec->name);
    if (sriov == nullptr || !a) return;
    const unsigned count = word_of(*sriov, PCI_SRIOV_NUM_VF);
    unsigned id = (a->bus << 8 | a->devfn) + word_of(*sriov, PCI_SRIOV_VF_OFFSET);
    for (unsigned i = 0; i < count && id <= 0xffff; ++i) {
      a->bus = id >> 8;
      a->devfn = id & 0xff;
      id += word_of(*sriov, PCI_SRIOV_VF_STRIDE);
      const std::string name = a->text();
      for (const placed_device& d : all_.devices) {
        if (d.spec->name != name || d.spec->mediated || &d == &physical) continue;
        link_virtual_function(physical, i, d);
      }
    }
  }
  [[nodiscard]] bool has_mediated() const {
    return std::any_of(all_.devices.begin(), all_.devices.end(),
                       [](const placed_device& d) { return d.spec->mediated; });
  }
  void write_mdev_type() {
    if (!has_mediated()) return;
    const std::string type = mdev_type;
    to_.file(type + "/name", "mdev-1\n");
    to_.file(type + "/device_api", "vfio-pci\n");
    to_.file(type + "/available_instances", "0\n");
    to_.file(type + "/create", "", 0200);
    to_.folder(type + "/devices");
    to_.link("/sys/class/mdev_bus/mdev", "/sys/devices/virtual/mdev");
  }

  void write_group(const group_spec& g) {
    const std::string folder = "/sys/kernel/iommu_groups/" + std::to_string(g.number);
    to_.folder(folder + "/devices");
    for (const placed_device& d : all_.devices)
      if (d.group == &g) to_.link(folder + "/devices/" + d.spec->name, d.folder);
    // VFIO made such a group, and gave it this name. No IOMMU translates for it.
    const bool untranslated = g.iommu.empty() || (!g.devices.empty() && g.devices[0].mediated);
    if (untranslated) to_.file(folder + "/name", "vfio-noiommu\n");
    to_.file(folder + "/type", untranslated ? "unknown\n" : "DMA-FQ\n", 0644);
    if (g.iommu.empty()) {
      to_.file(folder + "/reserved_regions", "");
      return;
    }
    const auto found = std::find_if(machine_.iommus.begin(), machine_.iommus.end(),
                                    [&g](const iommu_spec& i) { return i.name == g.iommu; });
    std::vector<reserved_region> regions = found->reserved;
    std::sort(regions.begin(), regions.end(),
              [](const reserved_region& a, const reserved_region& b) {
                return std::tie(a.first, a.last, a.type) < std::tie(b.first, b.last, b.type);
              });
    std::string lines;
    for (const reserved_region& r : regions)
      lines += "0x" + hex_digits(r.first, 16) + " 0x" + hex_digits(r.last, 16) + " " +
               std::string(name_of(r.type)) + "\n";
    to_.file(folder + "/reserved_regions", lines);
  }
  void write_iommu(const iommu_spec& i) {
    const std::string folder = iommu_folder(i.name);
    to_.folder(folder + "/devices");
    write_class_member(folder, "iommu", "");
    // Linux gives Intel's IOMMUs such names.
    if (!i.name.starts_with("dmar")) return;
    to_.file(folder + "/intel-iommu/ecap", i.snoop_control ? "80\n" : "0\n");
    to_.file(folder + "/intel-iommu/cap", hex_digits(detail::vtd_cap(i), 1) + "\n");
  }
  // The files that a device of a class has, and the link to it.
  void write_class_member(const std::string& folder, const std::string& subsystem,
                          const std::string& uevent) {
    const std::string of_class = "/sys/class/" + subsystem;
    to_.link(folder + "/subsystem", of_class);
    to_.link(of_class + folder.substr(folder.rfind('/')), folder);
    to_.file(folder + "/uevent", uevent, 0644);
    write_power(to_, folder);
  }
  void write_nodes() {
    to_.folder("/dev/vfio");
    to_.folder("/sys/class/vfio");
    to_.folder("/sys/class/vfio-dev");
    to_.folder("/sys/class/iommu");
    to_.folder("/sys/kernel/iommu_groups");
    if (device_files_) to_.folder("/dev/vfio/devices");
    for (const placed_node& n : nodes_of(all_, release_, device_files_)) {
      const std::string numbers = number_text(n.node), path = n.node.path;
      std::string uevent = "MAJOR=" + std::to_string(n.node.major) +
                           "\nMINOR=" + std::to_string(n.node.minor) +
                           "\nDEVNAME=" + path.substr(5) + "\n";
      if (n.node.major == misc_major) uevent += "DEVMODE=0" + octal_digits(n.mode) + "\n";
      write_class_member(n.folder, n.subsystem, uevent);
      to_.file(n.folder + "/dev", numbers + "\n");
      to_.link("/sys/dev/char/" + numbers, n.folder);
      to_.file(path, "", n.mode);
    }
  }
  void write_modules() {
    const bool noiommu =
        std::ranges::any_of(machine_.groups, [](const group_spec& g) { return g.iommu.empty(); });
    write_module("vfio", {{"enable_unsafe_noiommu_mode", noiommu ? "Y" : "N"}});
    if (options_.iommu == iommu_kind::spapr) write_module("vfio_iommu_spapr_tce", {});
    else
      write_module("vfio_iommu_type1",
                   {{"allow_unsafe_interrupts", options_.allow_unsafe_interrupts ? "Y" : "N"},
                    {"disable_hugepages", "N"},
                    {"dma_entry_limit", std::to_string(options_.dma_entry_limit)}});
    write_module("vfio_pci_core", {});
    write_module("vfio_pci", {{"disable_denylist", "N"},
                              {"disable_idle_d3", "N"},
                              {"disable_vga", "N"},
                              {"enable_sriov", drives_physical_function() ? "Y" : "N"},
                              {"nointxmask", "N"}});
    if (has_mediated()) write_module("mdev", {});
    if (drivers_.contains("/sys/bus/platform/drivers/vfio-platform"))
      write_module("vfio_platform", {});
    if (device_files_) write_module("iommufd", {});
  }
  // Whether vfio-pci made virtual functions, which needs its parameter.
  [[nodiscard]] bool drives_physical_function() const {
    return std::ranges::any_of(all_.devices, [this](const placed_device& d) {
      return std::ranges::any_of(all_.devices, [&d](const placed_device& physical) {
        return physical.spec->name == d.spec->physical_function &&
               physical.spec->bound == driver::vfio;
      });
    });
  }
  void write_module(const std::string& name, const std::map<std::string, std::string>& parameters) {
    const std::string folder = "/sys/module/" + name;
    to_.file(folder + "/initstate", "live\n");
    to_.file(folder + "/refcnt", "0\n");
    to_.file(folder + "/taint", "\n");
    to_.folder(folder + "/holders");
    const std::string of_parameters = folder + "/parameters/";
    for (const auto& [parameter, value] : parameters)
      to_.file(of_parameters + parameter, value + "\n",
               parameter == "disable_denylist" || parameter == "disable_vga" ? 0444 : 0644);
  }

  const topology& machine_;
  const world_options& options_;
  const linux_release& release_;
  bool device_files_;
  places all_;
  tree_writer to_;
  std::set<std::string> drivers_;
};
}  // namespace detail

KVM_VFIO_INLINE std::vector<device_node> device_nodes(const checked_topology& machine,
                                                      const linux_release& release,
                                                      const world_options& options) {
  const detail::places all = detail::placer(machine.get()).place();
  std::vector<device_node> out;
  for (detail::placed_node& n :
       detail::nodes_of(all, release, detail::has_device_files(release, options)))
    out.push_back(std::move(n.node));
  return out;
}

KVM_VFIO_INLINE topology_errors write_sysfs_view(const checked_topology& machine,
                                                 const std::filesystem::path& directory,
                                                 const linux_release& release,
                                                 const world_options& options) {
  return detail::sysfs_view_writer(machine.get(), directory, release, options).write();
}

}  // namespace kvm_vfio::sim
