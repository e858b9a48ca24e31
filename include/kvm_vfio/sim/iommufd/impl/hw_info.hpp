// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of hw_info.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/sim/iommufd/hw_info.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/uapi/iommufd.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE answer answer_hw_info(process& task, std::uint64_t argument, uapi::iommu_hw_info c,
                                      std::optional<std::uint64_t> ecap) {
  constexpr std::uint32_t with_type = 1;  // the caller chooses the type of the data; 0: any type
  const std::uint32_t kind = ecap ? uapi::hw_info_type_intel_vtd : uapi::hw_info_type_none;
  if ((c.flags & with_type) && c.out_data_type != uapi::hw_info_type_none &&
      c.out_data_type != kind)
    return errc::opnotsupp;
  const uapi::iommu_hw_info_vtd registers{
      .flags = 0, .reserved = 0, .cap_reg = 0, .ecap_reg = ecap.value_or(0)};
  unsigned char bytes[sizeof registers];
  __builtin_memcpy(bytes, &registers, sizeof registers);
  const std::uint32_t known = ecap ? sizeof registers : 0;
  for (std::uint32_t i = 0; i < c.data_len; ++i)
    if (!task.copy_to_user(c.data_uptr + i, i < known ? bytes[i] : static_cast<unsigned char>(0)))
      return errc::fault;
  c.data_len = known;
  c.out_data_type = kind;
  c.out_capabilities = 0;
  return detail::write_back(task, argument, c, c.size < sizeof c ? c.size : sizeof c);
}

}  // namespace kvm_vfio::sim
