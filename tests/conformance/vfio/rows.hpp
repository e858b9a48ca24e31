// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// What rows.cpp and device_rows.cpp share: the states of files, and the reasons why a kernel or a
/// machine lacks them.

#include "combinations.hpp"

#include <kvm_vfio/sim/topology.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace vfio_lockstep {

/// A list of names.
using names = std::vector<std::string>;

/// \name Reasons why a combination cannot be reached
/// \{
inline constexpr const char* no_iommufd = "the kernel has no iommufd";
inline constexpr const char* no_cdevs = "the kernel has no device files";
inline constexpr const char* only_tce = "containers on POWER have no IOMMU of type 1";
inline constexpr const char* no_tce = "only POWER has TCE tables";
inline constexpr const char* no_mediated = "the kernel has no mediated devices";
inline constexpr const char* mediated_once =
    "the program opens one mediated device at a time, because it compares no requests of them";
inline constexpr const char* no_device = "no such device in this machine";
/// \}

/// Appends combinations to a list.
class row_list {
 public:
  /// \param m the machine that can or cannot reach the combinations
  row_list(const machine& m, std::vector<row>& rows) : m_(m), rows_(rows) {}

 protected:
  void add(family f, std::string key, std::string reason = {}, std::string brought = {}) {
    rows_.push_back({.key = std::move(key),
                     .made_by = f,
                     .reason = std::move(reason),
                     .brought = std::move(brought)});
  }
  // The first of the reasons that is there.
  static std::string why(std::initializer_list<std::string> reasons) {
    for (const std::string& r : reasons)
      if (!r.empty()) return r;
    return {};
  }
  static std::string unless(bool there, const char* reason) { return there ? "" : reason; }
  bool any(const std::function<bool(const kvm_vfio::sim::pci_spec&)>& has) const {
    return std::any_of(m_.targets.begin(), m_.targets.end(),
                       [&](const target& t) { return t.comparable && has(t.pci); });
  }
  std::string needs_iommufd() const { return unless(m_.iommufd, no_iommufd); }
  std::string needs_cdevs() const { return unless(m_.iommufd, no_cdevs); }
  std::string needs_mediated() const { return unless(m_.mediated, no_mediated); }
  std::string needs_group(const std::string& k) const {
    if (k == "mediated") return needs_mediated();
    return k == "several devices" ? unless(m_.several, "no group has several devices") : "";
  }
  std::string needs_container(const std::string& state) const {
    if (state.starts_with("iommufd")) return needs_iommufd();
    if (state.starts_with("TCE")) return unless(m_.spapr, no_tce);
    return unless(!m_.spapr || !state.starts_with("type1"), only_tce);
  }
  std::string needs_group_state(const std::string& s) const {
    if (s == "alone, device open" || s.starts_with("in an iommufd")) return needs_iommufd();
    return {};
  }
  static const names& group_states() {
    static const names all{"alone",
                           "alone, device open",
                           "in a container",
                           "with an IOMMU",
                           "with an IOMMU, device open",
                           "in an iommufd",
                           "in an iommufd, device open"};
    return all;
  }
  static const names& container_states() {
    static const names all{
        "no group",        "group", "type1",   "type1, mapped",      "type1v2",
        "type1v2, mapped", "TCE",   "iommufd", "iommufd with space", "iommufd with space, mapped"};
    return all;
  }
  static const names& object_states() {
    static const names all{"no object",         "device", "mediated",      "page table",
                           "page table in use", "space",  "space, mapped", "space in use"};
    return all;
  }
  std::string needs_object(const std::string& s) const {
    return s == "mediated" ? needs_mediated() : "";
  }

  std::string needs_intx() const {
    return unless(any([](const kvm_vfio::sim::pci_spec& p) { return p.intx; }), no_device);
  }
  std::string needs_books() const {
    return unless(m_.books, "only x86 compares the requests of VMs");
  }
  std::string needs_kind(kind k) const {
    return k == kind::cdev ? needs_cdevs() : k == kind::iommufd ? needs_iommufd() : "";
  }

  static const names& armed_states() {
    static const names all{"idle",
                           "INTx",
                           "INTx masked",
                           "INTx, unmask eventfd",
                           "INTx masked, unmask eventfd",
                           "INTx disabled",
                           "MSI",
                           "several MSI",
                           "MSI-X",
                           "several MSI-X"};
    return all;
  }
  std::string needs_armed(
      const std::string& s, const std::function<bool(const kvm_vfio::sim::pci_spec&)>& has =
                                [](const auto&) { return true; }) const {
    if (s == "several MSI" && !m_.remaps)
      return "without interrupt remapping a function gets one MSI vector";
    return unless(any([&](const kvm_vfio::sim::pci_spec& p) {
                    return has(p) && (s == "idle" || (s.starts_with("INTx") && p.intx) ||
                                      (s == "MSI" && p.msi_vectors > 0) ||
                                      (s == "several MSI" && p.msi_vectors > 2) ||
                                      (s == "MSI-X" && p.msix_vectors > 0) ||
                                      (s == "several MSI-X" && p.msix_vectors > 1));
                  }),
                  no_device);
  }

  const machine& m_;
  std::vector<row>& rows_;
};

/// Appends the combinations of requests of devices, and of accesses to regions.
void add_device_rows(const machine& m, std::vector<row>& rows);

}  // namespace vfio_lockstep
