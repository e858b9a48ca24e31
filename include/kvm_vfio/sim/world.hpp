// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated VFIO: a topology brought to life, with its device nodes.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/detail/compiled.hpp>
#include <kvm_vfio/sim/group_file.hpp>
#include <kvm_vfio/sim/topology_check.hpp>

#include <cstdint>
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
  /// \param release which Linux's VFIO (`release_of<linux_7_3>()`)
  explicit world(const checked_topology& machine,
                 const linux_release& release = release_of<linux_7_3>(),
                 const world_options& options = {});
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world();

  /// \return noent: no such node · busy: the group is open, or one of its devices is bound
  result<file*> open(const char* path, int flags) override;

  /// By its number; null: there is none.
  [[nodiscard]] vfio_group* find_group(int number) const noexcept;
  /// By its address on the bus; null: there is none.
  [[nodiscard]] vfio_device* find_device(std::string_view name) const noexcept;
  /// In the order of their numbers.
  [[nodiscard]] const std::map<int, std::unique_ptr<vfio_group>>& groups() const noexcept;
  /// Which Linux it is.
  [[nodiscard]] const linux_release& release() const noexcept { return state_.release; }
  /// What guards everything: for those who look on.
  [[nodiscard]] mutex& lock() noexcept { return state_.lock; }
  /// Changes, after it happened, whenever a group joins or leaves a container or a container gets
  /// its IOMMU. Without the lock.
  [[nodiscard]] std::uint64_t container_changes() const noexcept;
  /// Containers that exist, opened by descriptors or kept by what is in them.
  [[nodiscard]] int containers() const noexcept { return state_.open_containers; }
  /// Iommufds that exist, likewise.
  [[nodiscard]] int iommufds() const noexcept { return state_.open_iommufds; }

  /// The device raises an interrupt. \return whether an event was signalled
  bool raise(vfio_device& device, std::uint32_t index, std::uint32_t vector = 0);

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
  [[nodiscard]] bool exists(std::string_view p) const noexcept;
  // Takes the device files' numbers that the topology names out of those that are free.
  void reserve_numbers(const topology& machine);
  int number_of(const device_spec& d, int& free_number) const noexcept;
  // A checked topology has it.
  [[nodiscard]] const iommu_spec& iommu(const std::string& name) const noexcept;
  // -1: the path is not the prefix and a number as Linux writes it in a node's name.
  static int number_after(std::string_view path, std::string_view prefix) noexcept;
  result<file*> open_group(int number);
  result<file*> open_device(int number);

  vfio_state state_;
  std::vector<iommu_spec> iommus_;
  std::map<int, std::unique_ptr<vfio_group>> groups_;
  std::map<int, vfio_device*> by_number_;
  std::map<std::string, vfio_device*, std::less<>> by_name_;
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/world.hpp>
#endif
