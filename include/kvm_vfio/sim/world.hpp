// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated VFIO: a topology brought to life, with its device nodes.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/sim/group_file.hpp>
#include <kvm_vfio/sim/topology_check.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio::sim {

/// One machine's VFIO. Opens /dev/vfio/vfio, /dev/vfio/N, /dev/vfio/devices/vfioN and /dev/iommu.
/// Must outlive every file that came of it.
class world final : public filesystem {
 public:
  /// \param machine the host; a wrong topology does not become a `checked_topology`
  /// \param release which Linux's VFIO (`generation_of<linux_7_3>()`)
  explicit world(const checked_topology& machine,
                 const generation& release = generation_of<linux_7_3>(),
                 const world_options& options = {})
      : system_{.release = release, .options = options}, iommus_(machine.get().iommus) {
    if (!release.device_files) system_.options.device_files = false;
    reserve_numbers(machine.get());
    int free_number = 0;
    for (const group_spec& spec : machine.get().groups) {
      auto g = std::make_unique<vfio_group>(spec, iommu(spec.iommu));
      if (options.iommu == iommu_kind::spapr) g->windows.assign(1, default_window);
      for (const device_spec& d : spec.devices) {
        const int number = d.bound == driver::vfio ? number_of(d, free_number) : -1;
        g->devices.push_back(std::make_unique<vfio_device>(d, *g, number, release));
        if (number >= 0) by_number_[number] = g->devices.back().get();
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
  // Takes the device files' numbers that the topology names out of those that are free.
  void reserve_numbers(const topology& machine) {
    for (const group_spec& g : machine.groups)
      for (const device_spec& d : g.devices)
        if (d.file_number >= 0) by_number_[d.file_number] = nullptr;
  }
  int number_of(const device_spec& d, int& free_number) const noexcept {
    if (d.file_number >= 0) return d.file_number;
    while (by_number_.contains(free_number)) ++free_number;
    return free_number;
  }
  // A checked topology has it.
  [[nodiscard]] const iommu_spec& iommu(const std::string& name) const noexcept {
    std::size_t i = 0;
    while (iommus_[i].name != name) ++i;
    return iommus_[i];
  }
  // -1: the path is not the prefix and a number as Linux writes it in a node's name.
  static int number_after(std::string_view path, std::string_view prefix) noexcept {
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
