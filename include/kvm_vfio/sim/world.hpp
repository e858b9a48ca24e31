// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated VFIO: a topology brought to life, with its device nodes.

#include <kvm_vfio/sim/group_file.hpp>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace kvm_vfio::sim {

/// One machine's VFIO. Opens /dev/vfio/vfio, /dev/vfio/N, /dev/vfio/devices/vfioN and /dev/iommu.
/// Must outlive every file that came of it.
class world final : public filesystem {
 public:
  /// \param of    the machine; a group that names an unknown IOMMU gets the first
  /// \param release which Linux's VFIO (`generation_of<linux_7_3>()`)
  explicit world(const topology& of, const generation& release = generation_of<linux_7_3>(),
                 const world_options& options = {})
      : system_{.release = release, .options = options}, iommus_(of.iommus) {
    if (!release.device_files) system_.options.device_files = false;
    if (iommus_.empty()) iommus_.emplace_back();
    int number = 0;
    for (const group_spec& spec : of.groups) {
      auto g = std::make_unique<vfio_group>(spec, iommu(spec.iommu));
      if (options.iommu == iommu_kind::spapr) g->windows.assign(1, default_window);
      for (const device_spec& d : spec.devices) {
        const bool vfio = d.bound == driver::vfio;
        if (vfio && d.file_number >= 0) number = d.file_number;
        g->devices.push_back(std::make_unique<vfio_device>(d, *g, vfio ? number : -1, release));
        if (vfio) by_number_[number++] = g->devices.back().get();
        by_name_[d.name] = g->devices.back().get();
      }
      groups_[spec.number] = std::move(g);
    }
  }

  /// \return noent: no such node · busy: the group is open, or one of its devices is bound
  result<file*> open(const char* path, int flags) override {
    const guard held(system_.lock);
    const std::string_view p = path;
    if (flags & O_PATH) return exists(p) ? result<file*>(new path_file(path)) : errc::noent;
    if (p == "/dev/vfio/vfio") return static_cast<file*>(new container_file(system_));
    if (p == "/dev/iommu" && system_.options.device_files)
      return static_cast<file*>(new iommufd_file(system_));
    if (const int n = number_after(p, device_prefix); n >= 0) return open_device(n);
    if (const int n = number_after(p, group_prefix); n >= 0) return open_group(n);
    return errc::noent;
  }

  /// By its number; null: there is none.
  [[nodiscard]] vfio_group* find_group(int number) const noexcept {
    const auto found = groups_.find(number);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  /// By its address on the bus; null: there is none.
  [[nodiscard]] vfio_device* find_device(std::string_view name) const noexcept {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }
  /// In the order of their numbers.
  [[nodiscard]] const std::map<int, std::unique_ptr<vfio_group>>& groups() const noexcept {
    return groups_;
  }
  /// Which Linux it is.
  [[nodiscard]] const generation& release() const noexcept { return system_.release; }
  /// What guards everything: for those who look on.
  [[nodiscard]] mutex& lock() noexcept { return system_.lock; }
  /// Changes, after it happened, whenever a group joins or leaves a container or a container gets
  /// its IOMMU. Without the lock.
  [[nodiscard]] std::uint64_t container_changes() const noexcept {
    return __atomic_load_n(&system_.container_changes, __ATOMIC_ACQUIRE);
  }
  /// Containers that exist, opened by descriptors or kept by what is in them.
  [[nodiscard]] int containers() const noexcept { return system_.open_containers; }
  /// Iommufds that exist, likewise.
  [[nodiscard]] int iommufds() const noexcept { return system_.open_iommufds; }

  /// The device raises an interrupt. \return whether an event was signalled
  bool raise(vfio_device& device, std::uint32_t index, std::uint32_t vector = 0) {
    const guard held(system_.lock);
    return device.pci.irqs.raise(index, vector);
  }

 private:
  static constexpr std::string_view group_prefix = "/dev/vfio/";
  static constexpr std::string_view device_prefix = "/dev/vfio/devices/vfio";

  // O_PATH: a place, which nothing was done to.
  class path_file final : public file {
   public:
    explicit path_file(const char* path) : file(file_kind::other), path_(path) {}
    [[nodiscard]] const char* name() const noexcept override { return path_.c_str(); }

   private:
    std::string path_;
  };
  [[nodiscard]] bool exists(std::string_view p) const noexcept {
    if (p == "/dev/vfio/vfio") return true;
    if (system_.options.device_files &&
        (p == "/dev/iommu" || by_number_.contains(number_after(p, device_prefix))))
      return true;
    const vfio_group* const g = find_group(number_after(p, group_prefix));
    return g && g->exists();
  }
  [[nodiscard]] const iommu_spec& iommu(const std::string& name) const noexcept {
    for (const iommu_spec& i : iommus_)
      if (i.name == name) return i;
    return iommus_.front();
  }
  // -1: the path is not the prefix and a decimal number.
  static int number_after(std::string_view path, std::string_view prefix) noexcept {
    if (path.substr(0, prefix.size()) != prefix) return -1;
    path.remove_prefix(prefix.size());
    if (path.empty() || path.size() > 8) return -1;
    int n = 0;
    for (const char c : path) {
      if (c < '0' || c > '9') return -1;
      n = n * 10 + (c - '0');
    }
    return n;
  }
  result<file*> open_group(int number) {
    vfio_group* const g = find_group(number);
    if (!g || !g->exists()) return errc::noent;
    if (g->opened || g->bound_devices != 0) return errc::busy;
    return static_cast<file*>(new group_file(system_, *g));
  }
  result<file*> open_device(int number) {
    const auto found = by_number_.find(number);
    if (!system_.options.device_files || found == by_number_.end()) return errc::noent;
    return static_cast<file*>(new device_file(system_, *found->second, nullptr));
  }

  vfio_system system_;
  std::vector<iommu_spec> iommus_;
  std::map<int, std::unique_ptr<vfio_group>> groups_;
  std::map<int, vfio_device*> by_number_;
  std::map<std::string, vfio_device*, std::less<>> by_name_;
};

}  // namespace kvm_vfio::sim
