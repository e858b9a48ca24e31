// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of topology_check.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology/fields.hpp>
#include <kvm_vfio/sim/topology/impl/pci_check.hpp>
#include <kvm_vfio/sim/topology_check.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <utility>

namespace kvm_vfio::sim {

namespace detail {
class topology_checker {
 public:
  explicit topology_checker(topology_errors& errors) noexcept : errors_(errors) {}

  void check(const topology& t) {
    for (std::size_t i = 0; i < t.iommus.size(); ++i) check(t.iommus[i], indexed("iommus", i));
    for (const group_spec& g : t.groups)
      for (const device_spec& d : g.devices) devices_.try_emplace(d.name, &d);
    for (std::size_t i = 0; i < t.groups.size(); ++i) {
      const std::string where = indexed("groups", i);
      const group_spec& g = t.groups[i];
      check_number(g.number, where + ".number");
      if (g.iommu.empty()) check_no_iommu(g, where);
      else if (!iommus_.contains(g.iommu))
        fail(where + ".iommu", "no IOMMU has the name " + shown(g.iommu));
      for (std::size_t j = 0; j < g.devices.size(); ++j)
        check(g.devices[j], indexed(where + ".devices", j));
    }
    for (std::size_t i = 0; i < t.groups.size(); ++i)
      for (std::size_t j = 0; j < t.groups[i].devices.size(); ++j)
        check_bus(t.groups[i].devices[j], indexed(indexed("groups", i) + ".devices", j));
  }

 private:
  void fail(std::string where, std::string what) {
    append(errors_, std::move(where), std::move(what));
  }
  // Notes where a value stands that must be unique. Fails if the value stood elsewhere already.
  template <class Value>
  void unique(std::map<Value, std::string>& taken, const Value& value, const std::string& where,
              const std::string& as_text) {
    const auto [first, added] = taken.try_emplace(value, where);
    if (!added) fail(where, as_text + " is already used by " + first->second);
  }
  // The name of a device can become a part of a path; the name of an IOMMU cannot.
  bool check_name(const std::string& name, const std::string& where, bool in_path) {
    bool good = !name.empty() && name.size() <= 255;
    for (const char c : name)
      good = good && c >= ' ' && c <= '~' && (!in_path || (c != ' ' && c != '/'));
    if (!good)
      fail(where, shown(name) +
                      " is not a valid name: a name has 1 to 255 printable ASCII characters" +
                      (in_path ? " without spaces and without '/'" : ""));
    return good;
  }
  void check_number(int number, const std::string& where) {
    if (number < 0) fail(where, std::to_string(number) + " is negative");
    else unique(group_numbers_, number, where, std::to_string(number));
  }
  // The no-IOMMU mode of VFIO makes a group for each device that it binds.
  void check_no_iommu(const group_spec& g, const std::string& where) {
    if (g.devices.size() != 1 || g.devices[0].mediated || g.devices[0].bound != driver::vfio)
      fail(where + ".devices",
           "a group without an IOMMU has exactly one device, which is bound to VFIO and not a "
           "mediated device");
  }
  template <class Range>
  void check_range(const Range& r, const std::string& where) {
    if (r.first > r.last)
      fail(where, "first (" + in_hex(r.first) + ") is greater than last (" + in_hex(r.last) + ")");
  }
  // C++ lets a program convert any number to an enumeration, so the value can be none of its names.
  template <class Enum>
  void check_enum(Enum value, const std::string& where) {
    if (name_of(value).empty())
      fail(where, std::to_string(static_cast<int>(value)) + " is not a value of this enumeration");
  }
  void check(const iommu_spec& i, const std::string& where) {
    if (check_name(i.name, where + ".name", /*in_path=*/false))
      unique(iommus_, i.name, where + ".name", shown(i.name));
    if (i.page_sizes == 0)
      fail(where + ".page_sizes", "0 contains no page size; set one bit for each page size");
    if (i.page_sizes & 0xfff)
      fail(where + ".page_sizes", in_hex(i.page_sizes) + " contains page sizes below 4096 bytes");
    check_range(i.aperture, where + ".aperture");
    for (std::size_t r = 0; r < i.reserved.size(); ++r) {
      check_range(i.reserved[r], indexed(where + ".reserved", r));
      check_enum(i.reserved[r].type, indexed(where + ".reserved", r) + ".type");
    }
  }
  void check(const device_spec& d, const std::string& where) {
    if (check_name(d.name, where + ".name", /*in_path=*/true))
      unique(device_names_, d.name, where + ".name", shown(d.name));
    check_enum(d.bound, where + ".driver");
    check_physical_function(d, where + ".physical_function");
    check_file_number(d, where + ".file_number");
    if (d.pci.bus_resets && !d.mediated)
      resetting_buses_.try_emplace(bus_of(d.name), where + ".pci.bus_resets");
    pci_checker(errors_, d.pci, where + ".pci").check();
  }
  void check_physical_function(const device_spec& d, const std::string& where) {
    if (d.physical_function.empty()) return;
    if (!check_name(d.physical_function, where, /*in_path=*/true)) return;
    if (d.mediated) fail(where, "a mediated device is no virtual function, so it must be empty");
    const auto found = devices_.find(d.physical_function);
    if (found == devices_.end()) return;
    if (found->second->mediated || !found->second->physical_function.empty())
      fail(where, shown(d.physical_function) + " is a " +
                      (found->second->mediated ? "mediated device" : "virtual function itself") +
                      ", so it has no virtual functions");
  }
  // The start of the address of a PCI function, with the domain and the bus ("0000:03:"). Empty:
  // the name is no such address.
  static std::string bus_of(const std::string& name) {
    static constexpr char behind_domain[] = ":00:00.0";  // 0 stands for a digit
    constexpr std::size_t length = sizeof behind_domain - 1;
    if (name.size() < 4 + length) return {};
    const std::size_t domain = name.size() - length;
    for (std::size_t i = 0; i < name.size(); ++i) {
      const char c = name[i];
      const char wanted = i < domain ? '0' : behind_domain[i - domain];
      const bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
      if (wanted == '0' ? !digit : c != wanted) return {};
    }
    return name.substr(0, domain + 4);
  }
  // A bus reset concerns all functions of a bus, and the address tells the bus.
  void check_bus(const device_spec& d, const std::string& where) {
    if (d.mediated) return;
    const std::string bus = bus_of(d.name);
    const auto found = resetting_buses_.find(bus);
    if (d.pci.bus_resets && bus.empty())
      fail(where + ".pci.bus_resets",
           "is true, but the name " + shown(d.name) +
               " does not tell the bus; the address of a PCI function looks like \"0000:03:00.0\"");
    else if (!d.pci.bus_resets && !bus.empty() && found != resetting_buses_.end())
      fail(where + ".pci.bus_resets", "is false, but " + found->second +
                                          " is true, and both functions are on the bus " +
                                          shown(bus));
  }
  void check_file_number(const device_spec& d, const std::string& where) {
    constexpr int most = (1 << 20) - 1;  // Linux's minor numbers have 20 bits
    if (d.file_number == -1) return;
    const std::string number = std::to_string(d.file_number);
    if (d.file_number < -1)
      fail(where,
           number +
               " is negative; the only negative value is -1, which chooses the lowest free number");
    else if (d.file_number > most)
      fail(where, number + " is more than " + std::to_string(most) + ", the largest minor number");
    else if (d.bound != driver::vfio)
      fail(where,
           "the device is not bound to VFIO, so it has no device file and the number must be -1");
    else unique(file_numbers_, d.file_number, where, number);
  }

  topology_errors& errors_;
  // The unique values, each with the member where it stands.
  std::map<std::string, std::string> iommus_;
  std::map<int, std::string> group_numbers_;
  std::map<std::string, std::string> device_names_;
  std::map<std::string, const device_spec*> devices_;
  std::map<int, std::string> file_numbers_;
  // The buses that can be reset, each with the member that says so first.
  std::map<std::string, std::string> resetting_buses_;
};
}  // namespace detail

KVM_VFIO_INLINE topology_errors check(const topology& t) {
  topology_errors errors;
  detail::topology_checker(errors).check(t);
  return errors;
}

KVM_VFIO_INLINE checked_topology::checked_topology(const topology& t)
    : checked_topology(topology(t)) {}

KVM_VFIO_INLINE checked_topology::checked_topology(topology&& t) : topology_(std::move(t)) {
  if (topology_errors errors = sim::check(topology_); !errors.empty())
    detail::refuse(std::move(errors));
}

KVM_VFIO_INLINE checked_topology::checked_topology(const checked_topology&) = default;

KVM_VFIO_INLINE checked_topology::checked_topology(checked_topology&&) noexcept = default;

KVM_VFIO_INLINE checked_topology& checked_topology::operator=(const checked_topology&) = default;

KVM_VFIO_INLINE checked_topology& checked_topology::operator=(checked_topology&&) noexcept =
    default;

KVM_VFIO_INLINE checked_topology::~checked_topology() = default;

}  // namespace kvm_vfio::sim
