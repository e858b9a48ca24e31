// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// A simulated VFIO that runs on a topology, with its device nodes below /dev/vfio.
/// \see [The words of VFIO and KVM](docs/words.md)

#include <kvm_vfio/profile.hpp>
#include <kvm_vfio/result.hpp>
#include <kvm_vfio/sim/iommufd/iommufd_file.hpp>
#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/system/file.hpp>
#include <kvm_vfio/sim/system/filesystem.hpp>
#include <kvm_vfio/sim/system/vm_base.hpp>
#include <kvm_vfio/sim/topology.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/vfio/vfio_device.hpp>
#include <kvm_vfio/sim/vfio/vfio_group.hpp>
#include <kvm_vfio/sim/vfio/vfio_state.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kvm_vfio::sim {

/// The VFIO of one simulated host. A world opens the paths /dev/vfio/vfio, /dev/vfio/N,
/// /dev/vfio/devices/vfioN and /dev/iommu, their variants for devices without an IOMMU
/// (/dev/vfio/noiommu-N and /dev/vfio/devices/noiommu-vfioN), and two entries of sysfs for a device
/// with a device file: the register ecap of Intel's IOMMU, and mdev_type of a mediated device. Any
/// thread may open and use the files: the world has one lock for all of its state. The world must
/// outlive every file that it opened.
class world : public filesystem {
 public:
  /// Makes the groups and the devices of a topology. Every group is closed and in no container.
  /// \param machine the host. If the caller passes a `topology`, `checked_topology` checks it and
  ///                throws `invalid_topology` if it is wrong.
  /// \param release the Linux release whose VFIO is simulated
  /// \param options the settings that are not part of the topology
  explicit world(const checked_topology& machine,
                 const linux_release& release = release_of<linux_7_3>(),
                 const world_options& options = {});
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  virtual ~world();

  /// Opens a device node. Takes the world's lock.
  /// \param path  the path of the node
  /// \param flags the flags of open(2); only O_PATH makes a difference, and for a folder whether
  ///              they ask to write
  /// \return a new open file, with one reference for the caller
  /// \par Errors
  /// - `errc::noent`: the world has no node with this path, or it is a folder that is opened only
  ///   for reading. Linux opens such a folder, but a world has no files for folders.
  /// - `errc::isdir`: a folder is opened for writing
  /// - `errc::notdir`: a part of the path is a node
  /// - `errc::busy`: `path` names a group that is open already, or one of whose devices is bound to
  ///   an iommufd. With O_PATH in `flags` this error does not occur.
  /// - `errc::perm`: `path` names a group or a device without an IOMMU, and the process that makes
  ///   the call has no CAP_SYS_RAWIO. With O_PATH in `flags` this error does not occur.
  result<file*> open(const char* path, int flags) override;
  [[nodiscard]] bool exact_eventfds() const noexcept override { return release().exact_eventfds; }

  /// Returns the group with a number. Null: no group has this number.
  [[nodiscard]] vfio_group* find_group(int number) const noexcept;
  /// Returns the device with a name, which is its address on the bus, for example "0000:aa:00.0".
  /// Null: no device has this name.
  [[nodiscard]] vfio_device* find_device(std::string_view name) const noexcept;
  /// Returns all groups. The key of each group is its number.
  [[nodiscard]] const std::map<int, std::unique_ptr<vfio_group>>& groups() const noexcept;
  /// The Linux release whose VFIO is simulated.
  [[nodiscard]] const linux_release& release() const noexcept { return state_.release; }
  /// The lock that guards groups, devices, containers and iommufds. A caller that reads the state
  /// of one of them directly takes this lock first.
  [[nodiscard]] mutex& lock() noexcept { return state_.lock; }
  /// A number that grows when a group joins or leaves a container, and when a container gets its
  /// IOMMU driver. This function does not take the lock.
  [[nodiscard]] std::uint64_t container_changes() const noexcept;
  /// The number of containers that exist. A container exists while its file is open or a group is
  /// in it. Takes the world's lock.
  [[nodiscard]] int containers() const noexcept;
  /// The containers that exist, in the order of creation. Read the list with the lock held.
  [[nodiscard]] const std::vector<const container*>& all_containers() const noexcept {
    return state_.containers;
  }
  /// The number of iommufds that exist. An iommufd exists while its file is open or a device is
  /// bound to it. Takes the world's lock.
  [[nodiscard]] int iommufds() const noexcept;
  /// The iommufds that exist, in the order of creation. Read the list with the lock held.
  [[nodiscard]] const std::vector<const iommufd_file*>& all_iommufds() const noexcept {
    return iommufds_.files;
  }

  /// Raises an interrupt of a device, as its hardware would. Takes the world's lock.
  /// \param device the device
  /// \param index  the kind of interrupt (VFIO_PCI_*_IRQ_INDEX)
  /// \param vector the number of the interrupt in this kind, counted from 0
  /// \return whether an eventfd was signalled
  bool raise(vfio_device& device, std::uint32_t index, std::uint32_t vector = 0);

  /// Removes mappings of iommufds. A kernel and a world call this function at their end: if a
  /// mapping is of the memory of its own iommufd, or of a device that is bound to the iommufd, the
  /// iommufd stays open after the last process, as in Linux. Takes the world's lock.
  /// \param of_kvm whether only mappings of files of KVM are removed, which end before a world that
  ///               kernels share
  void unmap_files(bool of_kvm) noexcept;
  /// Removes a VM from each group, device and device file that knows it. A kernel calls this
  /// function before it deletes the VM. Takes the world's lock.
  void forget(const vm_base& vm) noexcept;
  /// Whether a group, a device or a device file knows a VM. A VM can be destroyed and still be
  /// known, if the release keeps no reference on the VM. Takes the world's lock.
  [[nodiscard]] bool knows(const vm_base& vm) const noexcept;

 private:
  static constexpr std::string_view group_folder = "/dev/vfio/";
  static constexpr std::string_view device_folder = "/dev/vfio/devices/";
  static constexpr std::string_view class_folder = "/sys/class/vfio-dev/";
  static constexpr std::string_view noiommu = "noiommu-";

  // The open file of an open(2) with O_PATH. It knows only the path, and the node is not opened.
  class path_file final : public file {
   public:
    explicit path_file(const char* path) : file(file_kind::other), path_(path) {}
    [[nodiscard]] const char* name() const noexcept override { return path_.c_str(); }

   private:
    std::string path_;
  };
  // An open file of sysfs. Reading it advances the position.
  class sysfs_file final : public file {
   public:
    sysfs_file(const char* path, const char* text)
        : file(file_kind::other), path_(path), text_(text) {}
    [[nodiscard]] const char* name() const noexcept override { return path_.c_str(); }
    answer pread(void* to, std::size_t size, std::uint64_t offset) override;
    answer read(void* to, std::size_t size) override;
    void move_back(std::uint64_t bytes) noexcept override {
      __atomic_fetch_sub(&position_, bytes, __ATOMIC_RELAXED);
    }

   private:
    std::string path_;
    std::string_view text_;
    std::uint64_t position_ = 0;
  };
  [[nodiscard]] bool exists(std::string_view p) const noexcept;
  [[nodiscard]] bool is_folder(std::string_view p) const noexcept;
  // Reserves each number of a device file that the topology names. So no other device gets it.
  void reserve_numbers(const topology& machine);
  int number_of(const device_spec& d, int& free_number) const noexcept;
  // Returns the IOMMU with a name. A checked topology has an IOMMU for each name in it.
  // The empty name stands for no IOMMU.
  [[nodiscard]] const iommu_spec& iommu(const std::string& name) const noexcept;
  // Adds the functions of a bus ("0000:02:") that a hot reset names, and those behind its bridges.
  void add_bus(std::string_view bus, std::vector<vfio_device*>& to) const;
  // Returns the group or the device that has a path below /dev/vfio. Null: no node has this path.
  [[nodiscard]] vfio_group* group_at(std::string_view path) const noexcept;
  [[nodiscard]] vfio_device* device_at(std::string_view path) const noexcept;
  // Returns the device whose name (vfioN) stands in `path` behind `folder`. Null: there is none.
  [[nodiscard]] vfio_device* numbered(std::string_view path,
                                      std::string_view folder) const noexcept;
  // Returns the number that follows `prefix` in `path`. Returns -1 unless `path` is `prefix` and a
  // decimal number without leading zeros.
  static int number_after(std::string_view path, std::string_view prefix) noexcept;
  result<file*> open_group(vfio_group& g);
  result<file*> open_device(vfio_device& d);
  // Whether the process that makes the call has CAP_SYS_RAWIO.
  static bool may_use_raw_io() noexcept;
  // Opens an entry of sysfs below /sys/class/vfio-dev/vfioN.
  result<file*> open_class(const char* path);

  vfio_state state_;
  iommufd_shared iommufds_{
      .lock = state_.lock, .options = state_.options, .release = state_.release};
  std::vector<iommu_spec> iommus_;
  std::map<int, std::unique_ptr<vfio_group>> groups_;
  std::map<int, vfio_device*> by_number_;
  // <map> declares std::less. Including <functional> would cost each test compile time.
  std::map<std::string, vfio_device*, std::less<>> by_name_;  // NOLINT(misc-include-cleaner)
};

/// The exception that `world_of` throws for a release of another profile.
class unfit_release : public std::invalid_argument {
 public:
  /// \param release the name of the release
  /// \param profile the name of the profile
  unfit_release(std::string_view release, std::string_view profile);
};

namespace detail {
[[noreturn]] void refuse_release(std::string_view release, std::string_view profile);

// Returns the release if it fits the profile. Throws `unfit_release` if it does not.
template <profile Profile>
linux_release fitting(const linux_release& release) {
  const std::string_view name = release.name;
  if (name != Profile::name && name != release_of<Profile>().name)
    refuse_release(name, Profile::name);
  return release;
}
}  // namespace detail

/// The VFIO of one simulated host, with the Linux release of a profile. The type tells the release,
/// so that a `kernel` of another profile is refused at compile time.
/// \tparam Profile the Linux release whose VFIO is simulated
template <profile Profile>
class world_of final : public world {
 public:
  /// Makes a world with the VFIO of the profile (`release_of`).
  /// \param machine the host. If the caller passes a `topology`, `checked_topology` checks it and
  ///                throws `invalid_topology` if it is wrong.
  /// \param options the settings that are not part of the topology
  explicit world_of(const checked_topology& machine, const world_options& options = {})
      : world(machine, release_of<Profile>(), options) {}
  /// Makes a world with a release that is known only at run time, or with a VFIO of your own.
  /// \throw unfit_release the name of the release is neither the name of the profile nor the name
  ///        of `release_of<Profile>()`. A program that is compiled without exceptions
  ///        prints the error and ends (std::abort).
  world_of(const checked_topology& machine, const linux_release& release,
           const world_options& options = {})
      : world(machine, detail::fitting<Profile>(release), options) {}
};

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/world.hpp>
#endif
