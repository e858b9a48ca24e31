// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The list of all members of a topology. Each member has the name that JSON and error messages
/// show. The readers and the writer use this list, so a new member is added here and in
/// topology.hpp, and nowhere else.

#include <kvm_vfio/sim/topology.hpp>

#include <array>
#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

namespace kvm_vfio::sim {

/// The form in which JSON holds a member.
enum class field_form : unsigned char {
  plain,         ///< a number in decimal, or a value that is not a number; may be left out
  hex,           ///< a number in hexadecimal; may be left out
  required,      ///< like `plain`, but it must be there
  required_hex,  ///< like `hex`, but it must be there
};

/// The names of the values of an enumeration. Specialised for each enumeration of topology.hpp.
template <class Enum>
struct names_of;
/// The names of the kinds of drivers.
template <>
struct names_of<driver> {
  /// Each name with its value.
  static constexpr std::array<std::pair<std::string_view, driver>, 3> all{
      {{"vfio", driver::vfio}, {"none", driver::none}, {"other", driver::other}}};
};
/// The names of the types of reserved regions, as sysfs writes them.
template <>
struct names_of<region_type> {
  /// Each name with its value.
  static constexpr std::array<std::pair<std::string_view, region_type>, 4> all{
      {{"reserved", region_type::reserved},
       {"direct", region_type::direct},
       {"direct-relaxable", region_type::direct_relaxable},
       {"msi", region_type::msi}}};
};
/// The name of a value. \return empty: the value is not one of the enumerators
template <class Enum>
[[nodiscard]] constexpr std::string_view name_of(Enum value) noexcept {
  for (const auto& [name, v] : names_of<Enum>::all)
    if (v == value) return name;
  return {};
}

/// `T` is `Of` or `const Of`.
template <class T, class Of>
concept maybe_const = std::same_as<std::remove_const_t<T>, Of>;

/// Visits the members of an `iova_range`. Each overload of `visit_fields` calls
/// `visit(name, member, form)` for each member of a struct, in the order of the declaration.
template <maybe_const<iova_range> T, class Visit>
void visit_fields(T& r, Visit&& visit) {
  visit("first", r.first, field_form::required_hex);
  visit("last", r.last, field_form::required_hex);
}
/// Visits the members of a `reserved_region`.
template <maybe_const<reserved_region> T, class Visit>
void visit_fields(T& r, Visit&& visit) {
  visit("first", r.first, field_form::required_hex);
  visit("last", r.last, field_form::required_hex);
  visit("type", r.type, field_form::plain);
}
/// Visits the members of an `iommu_spec`.
template <maybe_const<iommu_spec> T, class Visit>
void visit_fields(T& i, Visit&& visit) {
  visit("name", i.name, field_form::plain);
  visit("snoop_control", i.snoop_control, field_form::plain);
  visit("interrupt_remapping", i.interrupt_remapping, field_form::plain);
  visit("page_sizes", i.page_sizes, field_form::hex);
  visit("aperture", i.aperture, field_form::plain);
  visit("reserved", i.reserved, field_form::plain);
}
/// Visits the members of a `bar_spec`.
template <maybe_const<bar_spec> T, class Visit>
void visit_fields(T& b, Visit&& visit) {
  visit("size", b.size, field_form::hex);
  visit("is_64bit", b.is_64bit, field_form::plain);
  visit("prefetchable", b.prefetchable, field_form::plain);
  visit("io", b.io, field_form::plain);
  visit("address", b.address, field_form::hex);
}
/// Visits the members of a `bar_place`.
template <maybe_const<bar_place> T, class Visit>
void visit_fields(T& p, Visit&& visit) {
  visit("bar", p.bar, field_form::required);
  visit("offset", p.offset, field_form::hex);
}
/// Visits the members of a `capability_spec`.
template <maybe_const<capability_spec> T, class Visit>
void visit_fields(T& c, Visit&& visit) {
  visit("id", c.id, field_form::required_hex);
  visit("offset", c.offset, field_form::required_hex);
  visit("version", c.version, field_form::plain);
  visit("bytes", c.bytes, field_form::plain);
}
/// Visits the members of a `pci_spec`.
template <maybe_const<pci_spec> T, class Visit>
void visit_fields(T& p, Visit&& visit) {
  visit("vendor", p.vendor, field_form::hex);
  visit("device", p.device, field_form::hex);
  visit("class_code", p.class_code, field_form::hex);
  visit("revision", p.revision, field_form::hex);
  visit("subsystem_vendor", p.subsystem_vendor, field_form::hex);
  visit("subsystem", p.subsystem, field_form::hex);
  visit("bars", p.bars, field_form::plain);
  visit("rom_size", p.rom_size, field_form::hex);
  visit("intx", p.intx, field_form::plain);
  visit("msi_vectors", p.msi_vectors, field_form::plain);
  visit("msix_vectors", p.msix_vectors, field_form::plain);
  visit("msix_table", p.msix_table, field_form::plain);
  visit("msix_pba", p.msix_pba, field_form::plain);
  visit("command", p.command, field_form::hex);
  visit("status", p.status, field_form::hex);
  visit("interrupt_line", p.interrupt_line, field_form::plain);
  visit("multifunction", p.multifunction, field_form::plain);
  visit("express", p.express, field_form::plain);
  visit("resets", p.resets, field_form::plain);
  visit("bus_resets", p.bus_resets, field_form::plain);
  visit("secondary_bus", p.secondary_bus, field_form::hex);
  visit("capabilities", p.capabilities, field_form::plain);
  visit("own_registers", p.own_registers, field_form::plain);
}
/// Visits the members of a `device_spec`.
template <maybe_const<device_spec> T, class Visit>
void visit_fields(T& d, Visit&& visit) {
  visit("name", d.name, field_form::required);
  visit("driver", d.bound, field_form::plain);
  visit("needs_vm", d.needs_vm, field_form::plain);
  visit("mediated", d.mediated, field_form::plain);
  visit("physical_function", d.physical_function, field_form::plain);
  visit("file_number", d.file_number, field_form::plain);
  visit("pci", d.pci, field_form::plain);
}
/// Visits the members of a `group_spec`.
template <maybe_const<group_spec> T, class Visit>
void visit_fields(T& g, Visit&& visit) {
  visit("number", g.number, field_form::required);
  visit("iommu", g.iommu, field_form::plain);
  visit("devices", g.devices, field_form::required);
}
/// Visits the members of a `topology`.
template <maybe_const<topology> T, class Visit>
void visit_fields(T& t, Visit&& visit) {
  visit("iommus", t.iommus, field_form::plain);
  visit("groups", t.groups, field_form::required);
}

}  // namespace kvm_vfio::sim
