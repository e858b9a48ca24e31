// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A topology from JSON. Opt-in: needs nlohmann's JSON (3.x); without it this header is empty and
/// KVM_VFIO_SIM_TOPOLOGY_JSON is 0.
///
/// {"iommus": [{"name": "dmar0", "snoop_control": false}],
///  "groups": [{"number": 7, "iommu": "dmar0", "devices": [
///    {"name": "0000:aa:00.0", "driver": "vfio", "pci": {"vendor": 4660, "bars": [{"size": 4096}]}}
///  ]}]}
///
/// What is left out has the default of topology.hpp; an unknown key is an error.

#include <kvm_vfio/sim/topology.hpp>

#if !__has_include(<nlohmann/json.hpp>)
#define KVM_VFIO_SIM_TOPOLOGY_JSON 0
#else
#define KVM_VFIO_SIM_TOPOLOGY_JSON 1

#include <nlohmann/json.hpp>

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace kvm_vfio::sim {

/// A topology, or why there is none.
struct parsed_topology {
  topology machine{};
  std::string error{};  ///< empty: there is one
  [[nodiscard]] explicit operator bool() const noexcept { return error.empty(); }
};

namespace detail {
class topology_reader {
 public:
  using json = nlohmann::json;

  static topology read(const json& j) {
    topology t;
    only(j, "topology", {"iommus", "groups"});
    if (j.contains("iommus")) t.iommus = list(j.at("iommus"), read_iommu);
    t.groups = list(j.at("groups"), read_group);
    for (const group_spec& g : t.groups) {
      bool known = false;
      for (const iommu_spec& i : t.iommus) known = known || i.name == g.iommu;
      if (!known) fail("group " + std::to_string(g.number) + ": no IOMMU \"" + g.iommu + "\"");
    }
    return t;
  }

 private:
  [[noreturn]] static void fail(const std::string& why) { throw std::invalid_argument(why); }
  static void only(const json& j, std::string_view what, std::initializer_list<const char*> keys) {
    if (!j.is_object()) fail(std::string(what) + ": not an object");
    for (const auto& [key, unused] : j.items()) {
      bool known = false;
      for (const char* k : keys) known = known || key == k;
      if (!known) fail(std::string(what) + ": unknown key \"" + key + "\"");
    }
  }
  template <class Read>
  static std::vector<std::invoke_result_t<Read, const json&>> list(const json& j, Read read) {
    std::vector<std::invoke_result_t<Read, const json&>> out;
    if (!j.is_array()) fail("not a list: " + j.dump());
    for (const json& x : j) out.push_back(read(x));
    return out;
  }
  template <class T>
  static void take(const json& j, const char* key, T& to) {
    if (j.contains(key)) j.at(key).get_to(to);
  }
  static iova_range read_range(const json& j) {
    only(j, "range", {"first", "last"});
    return {j.at("first").get<std::uint64_t>(), j.at("last").get<std::uint64_t>()};
  }
  static iommu_spec read_iommu(const json& j) {
    only(j, "iommu",
         {"name", "snoop_control", "interrupt_remapping", "page_sizes", "aperture", "reserved"});
    iommu_spec i;
    take(j, "name", i.name);
    take(j, "snoop_control", i.snoop_control);
    take(j, "interrupt_remapping", i.interrupt_remapping);
    take(j, "page_sizes", i.page_sizes);
    if (j.contains("aperture")) i.aperture = read_range(j.at("aperture"));
    if (j.contains("reserved")) i.reserved = list(j.at("reserved"), read_range);
    return i;
  }
  static bar_spec read_bar(const json& j) {
    only(j, "bar", {"size", "is_64bit", "prefetchable"});
    bar_spec b;
    take(j, "size", b.size);
    take(j, "is_64bit", b.is_64bit);
    take(j, "prefetchable", b.prefetchable);
    if (b.size != 0 && (b.size < 16 || (b.size & (b.size - 1)) != 0))
      fail("bar: the size is no power of two of at least 16");
    return b;
  }
  static pci_spec read_pci(const json& j) {
    only(j, "pci",
         {"vendor", "device", "class_code", "revision", "subsystem_vendor", "subsystem", "bars",
          "rom_size", "intx", "msi_vectors", "msix_vectors", "msix_bar", "express", "resets"});
    pci_spec p;
    take(j, "vendor", p.vendor);
    take(j, "device", p.device);
    take(j, "class_code", p.class_code);
    take(j, "revision", p.revision);
    take(j, "subsystem_vendor", p.subsystem_vendor);
    take(j, "subsystem", p.subsystem);
    if (j.contains("bars")) p.bars = list(j.at("bars"), read_bar);
    if (p.bars.size() > 6) fail("pci: more than six bars");
    take(j, "rom_size", p.rom_size);
    take(j, "intx", p.intx);
    take(j, "msi_vectors", p.msi_vectors);
    take(j, "msix_vectors", p.msix_vectors);
    take(j, "msix_bar", p.msix_bar);
    if (p.msix_vectors != 0 && p.msix_bar >= p.bars.size()) fail("pci: msix_bar is no bar");
    take(j, "express", p.express);
    take(j, "resets", p.resets);
    return p;
  }
  static device_spec read_device(const json& j) {
    only(j, "device", {"name", "driver", "needs_vm", "mediated", "pci"});
    device_spec d;
    j.at("name").get_to(d.name);
    const auto bound = j.value("driver", std::string("vfio"));
    if (bound == "none") d.bound = driver::none;
    else if (bound == "other") d.bound = driver::other;
    else if (bound != "vfio") fail("device: driver is vfio, none or other, not \"" + bound + "\"");
    take(j, "needs_vm", d.needs_vm);
    take(j, "mediated", d.mediated);
    if (j.contains("pci")) d.pci = read_pci(j.at("pci"));
    return d;
  }
  static group_spec read_group(const json& j) {
    only(j, "group", {"number", "iommu", "devices"});
    group_spec g;
    j.at("number").get_to(g.number);
    take(j, "iommu", g.iommu);
    g.devices = list(j.at("devices"), read_device);
    return g;
  }
};
}  // namespace detail

/// \return the topology, or an error that says what is wrong where
[[nodiscard]] inline parsed_topology topology_from_json(std::string_view text) {
  try {
    return {detail::topology_reader::read(nlohmann::json::parse(text)), ""};
  } catch (const std::exception& e) {
    return {{}, e.what()};
  }
}

}  // namespace kvm_vfio::sim

#endif
