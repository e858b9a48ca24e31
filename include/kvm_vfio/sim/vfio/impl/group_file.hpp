// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of group_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/trace/memory.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace kvm_vfio::sim {

namespace detail {

// The options behind the name of a device in the argument of VFIO_GROUP_GET_DEVICE_FD, with the
// blank before them. Empty: `argument` has no options for this device. Mediated devices have none.
KVM_VFIO_INLINE std::string_view behind_name(const vfio_device& device,
                                             std::string_view argument) noexcept {
  const std::string& name = device.name();
  if (device.spec().mediated || !argument.starts_with(name)) return {};
  argument.remove_prefix(name.size());
  return argument.starts_with(' ') ? argument : std::string_view();
}

}  // namespace detail

KVM_VFIO_INLINE group_file::group_file(vfio_state& state, vfio_group& group)
    : file(file_kind::group),
      state_(state),
      group_(group),
      name_((group.hardware.no_iommu() ? "/dev/vfio/noiommu-" : "/dev/vfio/") +
            std::to_string(group.number())) {
  group.opened = this;
}

KVM_VFIO_INLINE answer group_file::ioctl(process& task, std::uint32_t request,
                                         std::uint64_t argument) {
  const iommufd_guard held(*state_.iommufds);
  switch (request) {
    case VFIO_GROUP_GET_STATUS: return get_status(task, argument);
    case VFIO_GROUP_SET_CONTAINER: return set_container(task, argument);
    case VFIO_GROUP_UNSET_CONTAINER: return to_answer(unset_container());
    case VFIO_GROUP_GET_DEVICE_FD: return get_device_fd(task, argument);
    default: return errc::notty;
  }
}

KVM_VFIO_INLINE void group_file::release() noexcept {
  const iommufd_guard held(*state_.iommufds);
  if (group_.in_container) group_.in_container->detach(group_);
  leave_iommufd();
  group_.opened = nullptr;
}

KVM_VFIO_INLINE answer group_file::get_status(process& task, std::uint64_t argument) const {
  vfio_group_status s{};
  if (const errc e = detail::read_argsz(task, argument, s, sizeof s); e != errc::ok) return e;
  s.flags = 0;
  if (group_.has_container()) s.flags = VFIO_GROUP_FLAGS_CONTAINER_SET | VFIO_GROUP_FLAGS_VIABLE;
  else if (!group_.hardware.dma_owner_claimed()) s.flags = VFIO_GROUP_FLAGS_VIABLE;
  return detail::write_back(task, argument, s, sizeof s);
}

KVM_VFIO_INLINE answer group_file::set_container(process& task, std::uint64_t argument) {
  std::int32_t fd = -1;
  if (!task.copy_from_user(argument, fd)) return errc::fault;
  const result<file*> f = task.fget(fd);
  if (!f) return f.error();
  file_ref held(*f);
  if (group_.has_container()) return errc::inval;
  if (held->kind() == file_kind::iommufd) {
    auto* const iommufd = static_cast<iommufd_file*>(held.get());
    const errc e = group_.hardware.no_iommu() ? iommufd->use_no_iommu() : iommufd->make_vfio_ioas();
    if (e != errc::ok) return e;
    group_.iommufd = static_cast<iommufd_file*>(held.take());
    return 0;
  }
  if (held->kind() != file_kind::container)
    return state_.release.device_files ? errc::badfd : errc::inval;
  if (group_.hardware.no_iommu() && !task.cap_sys_rawio()) return errc::perm;
  return to_answer(static_cast<container_file*>(held.get())->get_container().attach(group_));
}

KVM_VFIO_INLINE errc group_file::unset_container() noexcept {
  if (!group_.has_container()) return errc::inval;
  if (group_.iommufd) {  // open devices stay bound to the iommufd
    leave_iommufd();
    return errc::ok;
  }
  if (group_.container_users != 1) return errc::busy;
  group_.in_container->detach(group_);
  return errc::ok;
}

KVM_VFIO_INLINE void group_file::leave_iommufd() noexcept {
  iommufd_file* const left = std::exchange(group_.iommufd, nullptr);
  if (left) left->put();
}

KVM_VFIO_INLINE answer group_file::get_device_fd(process& task, std::uint64_t argument) {
  std::string wanted;
  if (const errc e = trace::read_string(task.mem(), argument, wanted); e != errc::ok) return e;
  for (const auto& d : group_.devices) {
    if (d->spec().bound != driver::vfio) continue;
    const std::string_view options = detail::behind_name(*d, wanted);
    if (wanted != d->name() && options.empty()) continue;
    if (const errc e = d->sriov.check_options(options); e != errc::ok) return e;
    auto* const opened = new device_file(state_, *d, this);
    file_ref made(opened);
    if (const errc e = opened->open_from_group(task); e != errc::ok) return e;
    return task.insert(std::move(made));
  }
  return errc::nodev;
}

}  // namespace kvm_vfio::sim
