// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The functions of world.hpp.

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/detail/convert.hpp>
#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/lock.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommu/tce_window.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/pci/endpoint.hpp>
#include <kvm_vfio/sim/process.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology/pci_capabilities.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/vfio/container.hpp>
#include <kvm_vfio/sim/vfio/device_file.hpp>
#include <kvm_vfio/sim/vfio/group_file.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/world.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <fcntl.h>
#include <linux/pci_regs.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvm_vfio::sim {

KVM_VFIO_INLINE world::world(const checked_topology& machine, const linux_release& release,
                             const world_options& options)
    : state_{.release = release, .options = options}, iommus_(machine.get().iommus) {
  if (!release.device_files) state_.options.device_files = false;
  state_.iommufds = &iommufds_;
  iommufds_.containers = &state_;
  iommufds_.locked_by_containers = [](const void* of, int address_space) noexcept {
    return sim::locked_by_containers(*static_cast<const vfio_state*>(of), address_space);
  };
  // Stands for no IOMMU. The page tables that iommufd keeps in software take every address.
  iommus_.push_back({.name = "",
                     .snoop_control = false,
                     .interrupt_remapping = false,
                     .page_sizes = ~std::uint64_t{0} << 12,
                     .aperture = {0, ~std::uint64_t{0}},
                     .reserved = {}});
  reserve_numbers(machine.get());
  std::map<std::uint64_t, int> small_bars;  // how many of them start in a page
  for (const group_spec& spec : machine.get().groups)
    for (const device_spec& d : spec.devices)
      for (const bar_spec& bar : d.pci.bars)
        if (bar.size != 0 && bar.size < pci_endpoint::page && !bar.io)
          ++small_bars[bar.address / pci_endpoint::page];
  int free_number = 0;
  for (const group_spec& spec : machine.get().groups) {
    auto g = std::make_unique<vfio_group>(spec, iommu(spec.iommu));
    // VFIO binds such a device only in this mode.
    if (g->hardware.no_iommu()) state_.noiommu_mode = iommufds_.noiommu_mode = true;
    g->hardware.direct_error = release.direct_error;
    g->hardware.reports_ats = release.reports_ats;
    // A group that no IOMMU of the machine handles has no table of the firmware.
    g->hardware.has_table_data =
        !g->hardware.no_iommu() && (spec.devices.empty() || !g->hardware.mediated());
    if (options.iommu == iommu_kind::spapr && g->hardware.has_table_data)
      g->hardware.windows.assign(1, default_window);
    for (const device_spec& d : g->hardware.devices()) {
      const int number = d.bound == driver::vfio ? number_of(d, free_number) : -1;
      g->devices.push_back(
          std::make_unique<vfio_device>(d, *g, g->hardware.iommu(), number, release));
      g->devices.back()->pci.allow_small(small_bars);
      if (number >= 0) by_number_[number] = g->devices.back().get();
      by_name_[d.name] = g->devices.back().get();
    }
    groups_[spec.number] = std::move(g);
  }
  for (const auto& [name, d] : by_name_) {
    for (const capability_spec& c : d->spec().pci.capabilities)
      if (is_extended(c) && c.id == PCI_EXT_CAP_ID_SRIOV && word_of(c, PCI_SRIOV_TOTAL_VF) != 0)
        d->sriov.is_physical = !d->sriov.is_virtual;
    vfio_device* const physical = find_device(d->spec().physical_function);
    if (!physical) continue;
    physical->sriov.is_physical = true;
    if (physical->spec().bound == driver::vfio) d->sriov.physical = &physical->sriov;
  }
  for (const auto& [name, d] : by_name_)
    if (d->spec().pci.bus_resets)
      add_bus(std::string_view(name).substr(0, name.rfind(':') + 1), d->on_bus);
}

KVM_VFIO_INLINE void world::add_bus(std::string_view bus, std::vector<vfio_device*>& to) const {
  // by_name_ is in the order of the addresses, because their digits have fixed places.
  for (auto at = by_name_.lower_bound(bus);
       at != by_name_.end() && std::string_view(at->first).starts_with(bus); ++at) {
    const device_spec& spec = at->second->spec();
    if (spec.mediated) continue;
    to.push_back(at->second);
    if (spec.pci.secondary_bus == 0) continue;
    // The bus behind a bridge has a greater number, so this ends.
    constexpr const char* digits = "0123456789abcdef";
    const std::string behind = spec.name.substr(0, spec.name.find(':') + 1) +
                               digits[spec.pci.secondary_bus >> 4] +
                               digits[spec.pci.secondary_bus & 15] + ':';
    if (behind > bus) add_bus(behind, to);
  }
}

KVM_VFIO_INLINE world::~world() { unmap_files(/*of_kvm=*/false); }

KVM_VFIO_INLINE void world::unmap_files(bool of_kvm) noexcept {
  const iommufd_guard held(iommufds_);
  // The list is const for those who look at it.
  for (const iommufd_file* const f : iommufds_.files)
    const_cast<iommufd_file*>(f)->unmap_all(of_kvm);
}

KVM_VFIO_INLINE unfit_release::unfit_release(std::string_view release, std::string_view profile)
    : std::invalid_argument("the world is of release \"" + std::string(release) +
                            "\", but its profile is \"" + std::string(profile) + "\"") {}

KVM_VFIO_INLINE void detail::refuse_release(std::string_view release, std::string_view profile) {
#if defined(__cpp_exceptions)
  throw unfit_release(release, profile);
#else
  std::fputs(unfit_release(release, profile).what(), stderr);
  std::abort();
#endif
}

KVM_VFIO_INLINE result<file*> world::open(const char* path, int flags) {
  const guard held(state_.lock);
  if (!path) return errc::fault;
  const std::string_view p = path;
  if (flags & O_PATH) return exists(p) ? result<file*>(new path_file(path)) : errc::noent;
  if (p == "/dev/vfio/vfio") return static_cast<file*>(new container_file(state_));
  if (p == "/dev/iommu" && state_.options.device_files)
    return static_cast<file*>(new iommufd_file(iommufds_));
  if (p.starts_with(class_folder)) return open_class(path);
  if (vfio_device* const d = device_at(p)) return open_device(*d);
  if (vfio_group* const g = group_at(p)) return open_group(*g);
  // A node is no directory.
  for (std::size_t at = p.find('/', 1); at != p.npos; at = p.find('/', at + 1))
    if (exists(p.substr(0, at))) return errc::notdir;
  return (flags & O_ACCMODE) != O_RDONLY && is_folder(p) ? errc::isdir : errc::noent;
}

KVM_VFIO_INLINE vfio_group* world::find_group(int number) const noexcept {
  const auto found = groups_.find(number);
  return found == groups_.end() ? nullptr : found->second.get();
}

KVM_VFIO_INLINE vfio_device* world::find_device(std::string_view name) const noexcept {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

KVM_VFIO_INLINE const std::map<int, std::unique_ptr<vfio_group>>& world::groups() const noexcept {
  return groups_;
}

KVM_VFIO_INLINE std::uint64_t world::container_changes() const noexcept {
  return __atomic_load_n(&state_.container_changes, __ATOMIC_ACQUIRE);
}

KVM_VFIO_INLINE bool world::raise(vfio_device& device, std::uint32_t index, std::uint32_t vector) {
  const guard held(state_.lock);
  return device.pci.irqs.raise(index, vector);
}

KVM_VFIO_INLINE int world::containers() const noexcept {
  const guard held(state_.lock);
  return static_cast<int>(state_.containers.size());
}

KVM_VFIO_INLINE int world::iommufds() const noexcept {
  const guard held(state_.lock);
  return static_cast<int>(iommufds_.files.size());
}

KVM_VFIO_INLINE void world::forget(const vm_base& vm) noexcept {
  const guard held(state_.lock);
  for (const auto& [number, g] : groups_) {
    if (g->vm == &vm) g->vm = nullptr;
    for (const auto& d : g->devices) {
      for (device_file* f = d->files; f; f = f->next)
        if (f->vm == &vm) f->vm = nullptr;
      if (d->vm != &vm) continue;
      d->vm = nullptr;
      d->holds_vm = false;
    }
  }
}

KVM_VFIO_INLINE bool world::knows(const vm_base& vm) const noexcept {
  const guard held(state_.lock);
  for (const auto& [number, g] : groups_) {
    if (g->vm == &vm) return true;
    for (const auto& d : g->devices) {
      if (d->vm == &vm) return true;
      for (const device_file* f = d->files; f; f = f->next)
        if (f->vm == &vm) return true;
    }
  }
  return false;
}

KVM_VFIO_INLINE bool world::exists(std::string_view p) const noexcept {
  if (p == "/dev/vfio/vfio") return true;
  if (p == "/dev/iommu") return state_.options.device_files;
  return device_at(p) || group_at(p);
}

KVM_VFIO_INLINE bool world::is_folder(std::string_view p) const noexcept {
  if (!p.starts_with('/')) return false;
  while (p.ends_with('/')) p.remove_suffix(1);
  return p.empty() || p == "/dev" || p == "/dev/vfio" ||
         (p == "/dev/vfio/devices" && state_.options.device_files);
}

KVM_VFIO_INLINE vfio_group* world::group_at(std::string_view path) const noexcept {
  if (!path.starts_with(group_folder)) return nullptr;
  path.remove_prefix(group_folder.size());
  const bool no_iommu = path.starts_with(noiommu);
  vfio_group* const g = find_group(number_after(path, no_iommu ? noiommu : ""));
  return g && g->hardware.no_iommu() == no_iommu && g->hardware.has_vfio_device() ? g : nullptr;
}

KVM_VFIO_INLINE vfio_device* world::device_at(std::string_view path) const noexcept {
  if (!state_.options.device_files) return nullptr;
  vfio_device* const d = numbered(path, device_folder);
  return d && d->group().hardware.no_iommu() && !state_.release.noiommu_device_files ? nullptr : d;
}

KVM_VFIO_INLINE vfio_device* world::numbered(std::string_view path,
                                             std::string_view folder) const noexcept {
  if (!path.starts_with(folder)) return nullptr;
  path.remove_prefix(folder.size());
  const bool no_iommu = path.starts_with(noiommu);
  if (no_iommu) path.remove_prefix(noiommu.size());
  const auto found = by_number_.find(number_after(path, "vfio"));
  if (found == by_number_.end()) return nullptr;
  // Releases without these device files have no names of their own for the folders in sysfs.
  const bool named =
      found->second->group().hardware.no_iommu() && state_.release.noiommu_device_files;
  return named == no_iommu ? found->second : nullptr;
}

KVM_VFIO_INLINE void world::reserve_numbers(const topology& machine) {
  for (const group_spec& g : machine.groups)
    for (const device_spec& d : g.devices)
      if (d.file_number >= 0) by_number_[d.file_number] = nullptr;
}

KVM_VFIO_INLINE int world::number_of(const device_spec& d, int& free_number) const noexcept {
  if (d.file_number >= 0) return d.file_number;
  while (by_number_.contains(free_number)) ++free_number;
  return free_number;
}

KVM_VFIO_INLINE const iommu_spec& world::iommu(const std::string& name) const noexcept {
  std::size_t i = 0;
  while (iommus_[i].name != name) ++i;
  return iommus_[i];
}

KVM_VFIO_INLINE int world::number_after(std::string_view path, std::string_view prefix) noexcept {
  if (path.substr(0, prefix.size()) != prefix) return -1;
  path.remove_prefix(prefix.size());
  if (path.empty() || path.size() > 10 || (path.front() == '0' && path.size() > 1)) return -1;
  std::int64_t n = 0;
  for (const char c : path) {
    if (c < '0' || c > '9') return -1;
    n = n * 10 + (c - '0');
  }
  return n <= std::numeric_limits<int>::max() ? static_cast<int>(n) : -1;
}

KVM_VFIO_INLINE result<file*> world::open_group(vfio_group& g) {
  if (g.hardware.no_iommu() && !may_use_raw_io()) return errc::perm;
  if (g.opened || g.bound_devices != 0) return errc::busy;
  return static_cast<file*>(new group_file(state_, g));
}

KVM_VFIO_INLINE result<file*> world::open_device(vfio_device& d) {
  if (d.group().hardware.no_iommu() && !may_use_raw_io()) return errc::perm;
  return static_cast<file*>(new device_file(state_, d, nullptr));
}

KVM_VFIO_INLINE bool world::may_use_raw_io() noexcept {
  return !current_process || current_process->cap_sys_rawio();
}

KVM_VFIO_INLINE result<file*> world::open_class(const char* path) {
  const std::string_view p = path;
  const std::size_t end = p.find('/', class_folder.size());
  const vfio_device* const found = numbered(p.substr(0, end), class_folder);
  if (!state_.options.device_files || !found || end == p.npos) return errc::noent;
  const std::string_view entry = p.substr(end);
  const vfio_device& d = *found;
  const auto ecap = d.group().hardware.vtd_ecap();
  if (d.spec().mediated && entry == "/device/mdev_type")
    return static_cast<file*>(new path_file(path));
  if (!d.spec().mediated && ecap && entry == "/device/iommu/intel-iommu/ecap")
    return static_cast<file*>(new sysfs_file(path, *ecap ? "80\n" : "0\n"));
  return errc::noent;
}

KVM_VFIO_INLINE answer world::sysfs_file::pread(void* to, std::size_t size, std::uint64_t offset) {
  if (offset >= text_.size()) return 0;
  const std::string_view left = text_.substr(kvm_vfio::detail::convert<std::size_t>(offset), size);
  __builtin_memcpy(to, left.data(), left.size());
  return static_cast<int>(left.size());
}

KVM_VFIO_INLINE answer world::sysfs_file::read(void* to, std::size_t size) {
  const answer got = pread(to, size, __atomic_load_n(&position_, __ATOMIC_RELAXED));
  __atomic_fetch_add(&position_, static_cast<std::uint64_t>(got.value()), __ATOMIC_RELAXED);
  return got;
}

}  // namespace kvm_vfio::sim
