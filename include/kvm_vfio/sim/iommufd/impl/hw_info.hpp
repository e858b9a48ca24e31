// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of hw_info.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommu/iommu_group.hpp>
#include <kvm_vfio/sim/iommufd/hw_info.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/vtd_registers.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE answer answer_hw_info(process& task, std::uint64_t argument, uapi::iommu_hw_info c,
                                      const iommu_group& group, const device_spec& device) {
  if (group.no_iommu()) return errc::opnotsupp;
  const std::optional<std::uint64_t> ecap = group.vtd_ecap();
  constexpr std::uint32_t with_type = 1;  // the caller chooses the type of the data; 0: any type
  const std::uint32_t kind = ecap ? uapi::hw_info_type_intel_vtd : uapi::hw_info_type_none;
  if ((c.flags & with_type) && c.out_data_type != uapi::hw_info_type_none &&
      c.out_data_type != kind)
    return errc::opnotsupp;
  const uapi::iommu_hw_info_vtd registers{.flags = uapi::hw_info_vtd_errata_772415_spr17,
                                          .reserved = 0,
                                          .cap_reg = detail::vtd_cap(group.iommu()),
                                          .ecap_reg = ecap.value_or(0)};
  unsigned char bytes[sizeof registers];
  __builtin_memcpy(bytes, &registers, sizeof registers);
  const std::uint32_t known = ecap ? sizeof registers : 0;
  for (std::uint32_t i = 0; i < c.data_len; ++i)
    if (!task.copy_to_user(c.data_uptr + i, i < known ? bytes[i] : static_cast<unsigned char>(0)))
      return errc::fault;
  c.data_len = known;
  c.out_data_type = kind;
  constexpr std::uint16_t ats = 0x0f;
  const bool has_ats = std::ranges::any_of(device.pci.capabilities, [](const capability_spec& k) {
    return k.offset >= 0x100 && k.id == ats;
  });
  c.out_capabilities = group.reports_ats && !has_ats ? uapi::hw_cap_pci_ats_not_supported : 0;
  return detail::write_back(task, argument, c, c.size < sizeof c ? c.size : sizeof c);
}

}  // namespace kvm_vfio::sim
