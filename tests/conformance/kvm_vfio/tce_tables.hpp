// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// An IOMMU backend with the guest-visible TCE tables of POWER, as far as the answers of attribute
/// 3 show them.

#include <kvm_vfio/testing/recording_iommu.hpp>

#include <functional>
#include <map>

namespace conformance {

namespace kv = kvm_vfio;
namespace kt = kvm_vfio::testing;

/// Tables by descriptor, and what each group has for them to fit.
class tce_tables : public kt::recording_iommu {
 public:
  using iommu_group = kt::group_id;
  using recording_iommu::recording_iommu;

  struct table {
    kt::vm_id vm;
    bool fits;  ///< the hardware's window has this table's page size and offset
  };
  std::map<int, table> tables;
  enum class window : unsigned char {
    no_data,  ///< the group knows nothing of TCE tables: a mediated device's
    none,     ///< taken over by a container that has not made one yet
    default_  ///< the host's
  };
  std::map<int, window> windows;  ///< by group

  kv::errc spapr_tce_attach(const kt::vm_id& vm, int tablefd, const kt::group_id& group) noexcept {
    log().add(kt::events::spapr_tce_attach(vm, tablefd < 0 ? -1 : 0, group));
    if (open_descriptors && !open_descriptors(tablefd)) return kv::errc::badf;
    const auto found = tables.find(tablefd);
    if (found == tables.end() || found->second.vm != vm) return kv::errc::inval;
    const window has = windows[group.number];
    if (has == window::no_data) return kv::errc::fault;
    return found->second.fits && has == window::default_ ? kv::errc::ok : kv::errc::inval;
  }
  void spapr_tce_release(const kt::vm_id& vm, const kt::group_id& group) noexcept {
    log().add(kt::events::spapr_tce_release(vm, group));
  }
  void iommu_group_put(const kt::group_id& group) noexcept {
    log().add(kt::events::iommu_group_put(group));
  }
  void warn(kv::spapr_warning warning) noexcept { log().add(kt::events::warn(warning)); }

  /// Whether a descriptor is open in the calling task.
  std::function<bool(int)> open_descriptors;
};
static_assert(kv::spapr_backend<tce_tables, kt::vm_id>);

}  // namespace conformance
