// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of device_file.hpp that answer the requests for a hot reset.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/low_power.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

namespace detail {
// The members before the array in vfio_pci_hot_reset_info and vfio_pci_hot_reset.
struct hot_reset_head {
  std::uint32_t argsz;
  std::uint32_t flags;
  std::uint32_t count;
};
// The kernel's vfio_pci_dependent_device.
struct dependent_device {
  std::int32_t number;  // of the group, or of the device in its iommufd
  std::uint16_t segment;
  std::uint8_t bus;
  std::uint8_t devfn;
};
// The address in a name like "0000:02:1f.7"; what a name lacks is 0.
inline dependent_device at_address(std::int32_t number, const std::string& name) noexcept {
  unsigned long parts[4] = {};  // segment, bus, slot, function
  const char* at = name.c_str();
  for (unsigned long& part : parts) {
    char* end = nullptr;
    part = std::strtoul(at, &end, 16);
    if (*end != ':' && *end != '.') break;
    at = end + 1;
  }
  return {number, static_cast<std::uint16_t>(parts[0]), static_cast<std::uint8_t>(parts[1]),
          static_cast<std::uint8_t>(parts[2] << 3 | (parts[3] & 7))};
}
}  // namespace detail

KVM_VFIO_INLINE answer device_file::hot_reset_info(process& task, std::uint64_t argument) const {
  detail::hot_reset_head h{};
  if (const errc e = detail::read_argsz(task, argument, h, sizeof h); e != errc::ok) return e;
  const std::vector<vfio_device*>& all = device_.on_bus;
  if (all.empty()) return errc::nodev;
  constexpr std::uint32_t are_of_iommufd = 1, owned = 2;  // VFIO_PCI_HOT_RESET_FLAG_DEV_ID*
  const bool fits = all.size() <= (h.argsz - sizeof h) / sizeof(detail::dependent_device);
  h.flags = iommufd_ && fits ? are_of_iommufd | owned : 0;
  h.count = static_cast<std::uint32_t>(all.size());
  std::uint64_t to = argument + sizeof h;
  for (std::size_t i = 0; i < all.size() && fits; ++i, to += sizeof(detail::dependent_device)) {
    const std::int32_t n = iommufd_ ? number_of(*all[i]) : all[i]->group().number();
    if (iommufd_ && n < 0) h.flags &= ~owned;
    const detail::dependent_device d = detail::at_address(n, all[i]->name());
    if (!task.mem().write(to, &d, sizeof d)) return errc::fault;
  }
  const answer a = detail::write_back(task, argument, h, sizeof h);
  if (!a) return a;
  return fits ? answer(0) : answer(errc::nospc);
}

KVM_VFIO_INLINE answer device_file::hot_reset(process& task, std::uint64_t argument) const {
  detail::hot_reset_head h{};
  if (const errc e = detail::read_argsz(task, argument, h, sizeof h); e != errc::ok) return e;
  if (h.flags != 0) return errc::inval;
  const std::vector<vfio_device*>& all = device_.on_bus;
  // Device files exist since Linux 6.6. There the kernel looks at the count first.
  if (state_.release.device_files && (h.count != 0) == (iommufd_ != nullptr)) return errc::inval;
  if (all.empty()) return errc::nodev;
  if (h.count > all.size() || (h.count == 0 && !iommufd_)) return errc::inval;
  std::vector<std::int32_t> fds(h.count);
  if (h.count != 0 && !task.mem().read(argument + sizeof h, fds.data(), 4 * fds.size()))
    return errc::fault;
  std::vector<const vfio_group*> groups;
  for (const std::int32_t fd : fds) {
    const result<file*> f = fd < 0 ? result<file*>(errc::badf) : task.fget(fd);
    if (!f) return f.error();
    const file_ref held(*f);
    if (held->kind() != file_kind::group) return errc::inval;
    groups.push_back(group_of(*held.get()));
  }
  for (const vfio_device* const d : all)
    if (d->spec().bound != driver::vfio || !in_set(*d)) return errc::inval;
  // Linux resumes the functions before it looks at their owners.
  for (vfio_device* const d : all) d->power.access();
  for (const vfio_device* const d : all) {
    const bool owned = iommufd_
                           ? number_of(*d) >= 0
                           : std::find(groups.begin(), groups.end(), &d->group()) != groups.end();
    if (!owned) return errc::inval;
  }
  for (vfio_device* const d : all) d->pci.hot_reset();
  return 0;
}

KVM_VFIO_INLINE std::int32_t device_file::number_of(const vfio_device& device) const noexcept {
  if (device.spec().bound != driver::vfio || !in_set(device)) return -1;
  if (device.bound && device.bound->iommufd_ == iommufd_)
    return static_cast<std::int32_t>(device.bound->devid_);
  for (const auto& [id, o] : iommufd_->objects())
    if (o.kind == iommufd_object::type::device && o.group == &device.group().hardware) return 0;
  return -1;
}

}  // namespace kvm_vfio::sim
