// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of device_file.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/out_of_memory.hpp>
#include <kvm_vfio/sim/system/user_struct.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/low_power.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/uapi/vfio.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE bool device_file::in_set(const vfio_device& other) const noexcept {
  if (&other == &device_) return true;
  return !device_.sriov.is_virtual && !other.sriov.is_virtual;
}

KVM_VFIO_INLINE device_file::device_file(vfio_state& state, vfio_device& device,
                                         file* group) noexcept
    : file(file_kind::device), next(device.files), state_(state), device_(device), group_(group) {
  device.files = this;
}

KVM_VFIO_INLINE errc device_file::open_from_group(const process& task) {
  const vfio_group& g = device_.group();
  if (!g.iommufd && (!g.in_container || !g.in_container->driver())) return errc::inval;
  const bool first = device_.open_count == 0;
  if (g.hardware.no_iommu() && (first || state_.release.rawio_at_each_open)) {
    const bool translates = g.iommufd && g.iommufd->vfio_ioas() != 0;
    if (!task.cap_sys_rawio() || translates) return errc::perm;
  }
  const errc e = !g.iommufd || !first    ? open(g.vm)
                 : g.hardware.no_iommu() ? open_without_iommu()
                                         : open_in_iommufd();
  opened_ = e == errc::ok;
  return e;
}

KVM_VFIO_INLINE answer device_file::ioctl(process& task, std::uint32_t request,
                                          std::uint64_t argument) {
  const iommufd_guard held(*state_.iommufds);
  if (request == uapi::request_bind_iommufd && state_.options.device_files)
    return bind(task, argument);
  if (!opened_) return errc::inval;
  device_.power.access();
  if (!group_ && request == uapi::request_attach_iommufd_pt) return attach(task, argument);
  if (!group_ && request == uapi::request_detach_iommufd_pt) return detach(task, argument);
  if (request == VFIO_DEVICE_FEATURE) return feature(task, argument);
  if (request == VFIO_DEVICE_GET_PCI_HOT_RESET_INFO) return hot_reset_info(task, argument);
  if (request == VFIO_DEVICE_PCI_HOT_RESET) return hot_reset(task, argument);
  return device_.pci.ioctl(task, request, argument);
}

KVM_VFIO_INLINE answer device_file::pread(void* to, std::size_t size, std::uint64_t offset) {
  const guard held(state_.lock);
  resume_for(size, offset);
  return opened_ ? device_.pci.read(to, size, offset) : answer(errc::inval);
}

KVM_VFIO_INLINE answer device_file::pwrite(const void* from, std::size_t size,
                                           std::uint64_t offset) {
  const guard held(state_.lock);
  resume_for(size, offset);
  return opened_ ? device_.pci.write(from, size, offset) : answer(errc::inval);
}

KVM_VFIO_INLINE answer device_file::read(void* to, std::size_t size) {
  const guard held(state_.lock);
  resume_for(size, position_);
  const answer a = opened_ ? device_.pci.read(to, size, position_) : answer(errc::inval);
  if (a) position_ += static_cast<std::uint64_t>(*a);
  return a;
}

KVM_VFIO_INLINE std::size_t device_file::read_before_error(std::size_t size,
                                                           const std::uint64_t* offset) noexcept {
  const guard held(state_.lock);
  return opened_ ? device_.pci.read_before_error(size, offset ? *offset : position_) : 0;
}

KVM_VFIO_INLINE void device_file::move_back(std::uint64_t bytes) noexcept {
  const guard held(state_.lock);
  position_ -= bytes;
}

KVM_VFIO_INLINE answer device_file::write(const void* from, std::size_t size) {
  const guard held(state_.lock);
  resume_for(size, position_);
  const answer a = opened_ ? device_.pci.write(from, size, position_) : answer(errc::inval);
  if (a) position_ += static_cast<std::uint64_t>(*a);
  return a;
}

KVM_VFIO_INLINE result<void*> device_file::mmap(std::uint64_t size, int /*protection*/,
                                                std::uint64_t offset) {
  const guard held(state_.lock);
  if (!opened_) return errc::inval;
  return device_.pci.map(size, offset);
}

KVM_VFIO_INLINE result<shared_memory> device_file::share(std::uint64_t size, std::uint64_t offset) {
  const guard held(state_.lock);
  if (!opened_) return errc::inval;
  return device_.pci.share(size, offset);
}

KVM_VFIO_INLINE errc device_file::open(vm_base* from) {
  if (!group_ && device_.open_count != 0) return errc::inval;
  if (device_.open_count == 0) {
    // As kvm_get_kvm_safe: a VM without references is being destroyed, and the driver sees none.
    vm_base* const seen = from && from->users() > 0 ? from : nullptr;
    if (device_.spec().needs_vm && !seen) return errc::srch;
    device_.vm = seen;
    device_.holds_vm = seen && state_.release.device_holds_vm;
    if (device_.holds_vm) seen->get();
    if (device_.sriov.physical) ++device_.sriov.physical->users;
    if (group_ && !device_.group_iommufd) {
      group_->get();
      device_.group_file = group_;
      ++device_.group().container_users;
    }
  }
  ++device_.open_count;
  return errc::ok;
}

KVM_VFIO_INLINE void device_file::close() noexcept {
  if (--device_.open_count != 0) return;
  if (device_.sriov.physical) --device_.sriov.physical->users;
  device_.pci.close();
  // As vfio_pci_dev_set_try_reset: the bus of functions without a reset of their own is reset when
  // the last of them is closed.
  const std::vector<vfio_device*>& all = device_.on_bus;
  if (std::all_of(all.begin(), all.end(), [this](const vfio_device* d) {
        return d->spec().bound == driver::vfio && d->open_count == 0 && in_set(*d);
      }))
    for (vfio_device* const d : all) d->pci.reset_after_close();
  device_.power.leave();
  if (file* const held = std::exchange(device_.group_file, nullptr)) {
    --device_.group().container_users;
    held->put();
  }
  if (iommufd_file* const bound = std::exchange(device_.group_iommufd, nullptr)) {
    if (!device_.group().hardware.no_iommu()) bound->unbind(device_.group_device_id);
    bound->put();
  }
  vm_base* const seen = device_.vm;
  device_.vm = nullptr;
  if (device_.holds_vm) seen->put();
  device_.holds_vm = false;
}

KVM_VFIO_INLINE errc device_file::open_in_iommufd() {
  const vfio_group& g = device_.group();
  const result<std::uint32_t> id = g.iommufd->bind(device_.group().hardware, device_.spec());
  if (!id) return id.error();
  device_.group_iommufd = g.iommufd;
  device_.group_device_id = *id;
  g.iommufd->get();
  if (const errc e = open(g.vm); e != errc::ok) {
    device_.group_iommufd = nullptr;
    g.iommufd->unbind(*id);
    g.iommufd->put();
    return e;
  }
  detail::undo opened([&] { close(); });
  std::uint32_t space = g.iommufd->vfio_ioas();
  const errc e = space == 0 ? errc::nodev : g.iommufd->attach(*id, space);
  if (e == errc::ok) opened.keep();
  return e;
}

KVM_VFIO_INLINE errc device_file::open_without_iommu() {
  const vfio_group& g = device_.group();
  device_.group_iommufd = g.iommufd;
  g.iommufd->get();
  const errc e = open(g.vm);
  if (e == errc::ok) return e;
  device_.group_iommufd = nullptr;
  g.iommufd->put();
  return e;
}

KVM_VFIO_INLINE void device_file::release() noexcept {
  const iommufd_guard held(*state_.iommufds);
  device_file** link = &device_.files;
  while (*link != this) link = &(*link)->next;
  *link = next;
  if (!opened_) return;
  if (iommufd_) iommufd_->unbind(devid_);
  close();
  if (!iommufd_) return;
  device_.bound = nullptr;
  --device_.group().bound_devices;
  iommufd_->put();
}

KVM_VFIO_INLINE answer device_file::bind(process& task, std::uint64_t argument) {
  uapi::device_bind_iommufd c{};
  std::uint64_t token = 0;
  if (const errc e = read_bind(task, argument, c, token); e != errc::ok) return e;
  vfio_group& g = device_.group();
  const bool with_token = state_.release.bind_tokens && c.flags == 1;  // BIND_FLAG_TOKEN
  if ((c.flags && !with_token) || c.iommufd < 0 || group_) return errc::inval;
  if (g.opened) return errc::busy;
  if (opened_) return errc::inval;
  unsigned char uuid[sriov_function::token_size];
  if (with_token && device_.spec().mediated) return errc::inval;
  if (with_token && !task.copy_from_user(token, uuid)) return errc::fault;
  if (state_.release.bind_tokens)
    if (const errc e = device_.sriov.check_token(with_token ? uuid : nullptr); e != errc::ok)
      return e;
  const result<file*> f = task.fget(c.iommufd);
  if (!f) return f.error();
  file_ref held(*f);
  if (held->kind() != file_kind::iommufd) return errc::badfd;
  auto* const fd = static_cast<iommufd_file*>(held.get());
  if (device_.open_count != 0) return errc::inval;
  const result<std::uint32_t> id = fd->bind(g.hardware, device_.spec());
  if (!id) return id.error();
  errc e = open(vm);
  c.out_devid = *id;
  if (e == errc::ok && !task.copy_to_user(argument, c)) {
    close();
    e = errc::fault;
  }
  if (e != errc::ok) {
    fd->unbind(*id);
    return e;
  }
  devid_ = *id;
  iommufd_ = static_cast<iommufd_file*>(held.take());
  device_.bound = this;
  ++g.bound_devices;
  opened_ = true;
  return 0;
}

KVM_VFIO_INLINE errc device_file::read_bind(process& task, std::uint64_t argument,
                                            uapi::device_bind_iommufd& c,
                                            std::uint64_t& token) const {
  if (!state_.release.bind_checks_rest) return detail::read_argsz(task, argument, c, sizeof c);
  if (!task.copy_from_user(argument, c.argsz)) return errc::fault;
  if (c.argsz < sizeof c) return errc::inval;
  // The last member that the kernel knows here is token_uuid_ptr.
  unsigned char known[sizeof c + sizeof token] = {};
  const std::size_t size = std::min<std::size_t>(c.argsz, sizeof known);
  const errc e = detail::zeros(task, argument, sizeof known, c.argsz);
  if (e != errc::ok) return e;
  if (!task.mem().read(argument, known, size)) return errc::fault;
  __builtin_memcpy(&c, known, sizeof c);
  __builtin_memcpy(&token, known + sizeof c, sizeof token);
  return errc::ok;
}

KVM_VFIO_INLINE answer device_file::attach(process& task, std::uint64_t argument) {
  uapi::device_attach_iommufd_pt c{};
  if (const errc e = detail::read_argsz(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.flags) {
    std::uint32_t pasid = 0;
    const errc e = read_pasid(task, argument + sizeof c, c.argsz - sizeof c, c.flags, pasid);
    if (e != errc::ok) return e;
    if (pasid >> 31 != 0) return errc::nospc;
    // No page table of the simulator can be used with a PASID.
    return iommufd_->objects().contains(c.pt_id) ? errc::inval : errc::noent;
  }
  if (const errc e = iommufd_->attach(devid_, c.pt_id); e != errc::ok) return e;
  const answer a = detail::write_back(task, argument, c, sizeof c);
  if (!a) iommufd_->detach(devid_);
  return a;
}

KVM_VFIO_INLINE answer device_file::detach(process& task, std::uint64_t argument) {
  uapi::device_detach_iommufd_pt c{};
  if (const errc e = detail::read_argsz(task, argument, c, sizeof c); e != errc::ok) return e;
  if (c.flags) {
    // No device is attached with a PASID, so Linux detaches nothing.
    std::uint32_t pasid = 0;
    return to_answer(read_pasid(task, argument + sizeof c, c.argsz - sizeof c, c.flags, pasid));
  }
  iommufd_->detach(devid_);
  return 0;
}

KVM_VFIO_INLINE errc device_file::read_pasid(process& task, std::uint64_t address, std::size_t size,
                                             std::uint32_t flags,
                                             std::uint32_t& pasid) const noexcept {
  if (!state_.release.pasids || flags != 1) return errc::inval;  // 1: a PASID follows
  if (device_.spec().mediated) return errc::opnotsupp;
  if (size < sizeof pasid) return errc::inval;
  return task.copy_from_user(address, pasid) ? errc::ok : errc::fault;
}

KVM_VFIO_INLINE answer device_file::feature(process& task, std::uint64_t argument) {
  vfio_device_feature c{};
  constexpr std::size_t size = offsetof(vfio_device_feature, data);
  if (const errc e = detail::read_argsz(task, argument, c, size); e != errc::ok) return e;
  constexpr std::uint32_t known = VFIO_DEVICE_FEATURE_MASK | VFIO_DEVICE_FEATURE_GET |
                                  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PROBE;
  const bool get = c.flags & VFIO_DEVICE_FEATURE_GET;
  const bool set = c.flags & VFIO_DEVICE_FEATURE_SET;
  const bool probe = c.flags & VFIO_DEVICE_FEATURE_PROBE;
  if ((c.flags & ~known) || (!probe && get && set)) return errc::inval;
  const std::uint32_t which = c.flags & VFIO_DEVICE_FEATURE_MASK;
  if (state_.release.precopy_info && which == 12) return errc::inval;  // MIG_PRECOPY_INFOv2
  if (which == VFIO_DEVICE_FEATURE_PCI_VF_TOKEN)
    return to_answer(device_.sriov.feature(task, c.flags, argument + size, c.argsz - size));
  if (device_.spec().mediated || which < low_power::entry || which > low_power::exit)
    return errc::notty;
  return to_answer(device_.power.feature(task, c.flags, argument + size, c.argsz - size));
}

KVM_VFIO_INLINE void device_file::resume_for(std::size_t size, std::uint64_t offset) noexcept {
  // The kernel refuses a region that does not exist without an access.
  if (opened_ && size != 0 && offset >> 40 < VFIO_PCI_NUM_REGIONS) device_.power.access();
}

}  // namespace kvm_vfio::sim
