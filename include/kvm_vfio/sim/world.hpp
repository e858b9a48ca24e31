// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated VFIO: a topology brought to life, with its device nodes.

#include <kvm_vfio/sim/group_file.hpp>

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
        g->devices.push_back(
            std::make_unique<vfio_device>(d, *g, number++, release.always_error_irq));
        by_number_.push_back(g->devices.back().get());
        by_name_[d.name] = g->devices.back().get();
      }
      groups_[spec.number] = std::move(g);
    }
  }

  /// \return noent: no such node · busy: the group is open, or one of its devices is bound
  result<file*> open(const char* path, int /*flags*/) override {
    const guard held(system_.lock);
    const std::string_view p = path;
    constexpr std::string_view group = "/dev/vfio/";
    constexpr std::string_view device = "/dev/vfio/devices/vfio";
    if (p == "/dev/vfio/vfio") return static_cast<file*>(new container_file(system_));
    if (p == "/dev/iommu" && system_.options.device_files)
      return static_cast<file*>(new iommufd_file(system_));
    if (const int n = number_after(p, device); n >= 0) return open_device(n);
    if (const int n = number_after(p, group); n >= 0) return open_group(n);
    return errc::noent;
  }

  /// Null: there is none.
  [[nodiscard]] vfio_group* find_group(int number) const noexcept {
    const auto found = groups_.find(number);
    return found == groups_.end() ? nullptr : found->second.get();
  }
  [[nodiscard]] vfio_device* find_device(std::string_view name) const noexcept {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }
  /// In the order of their numbers.
  [[nodiscard]] const std::map<int, std::unique_ptr<vfio_group>>& groups() const noexcept {
    return groups_;
  }
  [[nodiscard]] const generation& release() const noexcept { return system_.release; }
  /// What guards everything: for those who look on.
  [[nodiscard]] mutex& lock() noexcept { return system_.lock; }
  /// Containers and iommufds that exist, opened by descriptors or kept by what is in them.
  [[nodiscard]] int containers() const noexcept { return system_.open_containers; }
  [[nodiscard]] int iommufds() const noexcept { return system_.open_iommufds; }

  /// The device raises an interrupt. \return whether an event was signalled
  bool raise(vfio_device& device, std::uint32_t index, std::uint32_t vector = 0) {
    const guard held(system_.lock);
    return device.pci.irqs.raise(index, vector);
  }

 private:
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
    const auto i = static_cast<std::size_t>(number);
    if (!system_.options.device_files || i >= by_number_.size() ||
        by_number_[i]->spec().bound != driver::vfio)
      return errc::noent;
    return static_cast<file*>(new device_file(system_, *by_number_[i], nullptr));
  }

  vfio_system system_;
  std::vector<iommu_spec> iommus_;
  std::map<int, std::unique_ptr<vfio_group>> groups_;
  std::vector<vfio_device*> by_number_;
  std::map<std::string, vfio_device*, std::less<>> by_name_;
};

}  // namespace kvm_vfio::sim
