// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Folders like Linux's /sys, made by the tests.

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

/// A sysfs of the test's making, gone with the object.
class sysfs_tree {
 public:
  /// A function's files.
  struct function {
    int group = 0;
    std::string name{};
    std::string driver{};  ///< empty: none
    std::string vendor = "0x8086";
    std::string device = "0x10d3";
    std::string class_code = "0x020000";
    /// The lines of `resource`; what is left out has zeros.
    std::vector<std::string> resource{};
    std::string config{};
    int vfio_number = -1;  ///< of `vfio-dev/vfioN`; -1: there is none
  };

  sysfs_tree() {
    char name[] = "/tmp/kvm_vfio_sysfs_XXXXXX";
    root_ = ::mkdtemp(name);
  }
  sysfs_tree(const sysfs_tree&) = delete;
  sysfs_tree& operator=(const sysfs_tree&) = delete;
  ~sysfs_tree() { std::filesystem::remove_all(root_); }
  [[nodiscard]] const std::filesystem::path& root() const noexcept { return root_; }

  void write(const std::filesystem::path& where, const std::string& what) const {
    std::filesystem::create_directories((root_ / where).parent_path());
    std::ofstream(root_ / where, std::ios::binary) << what;
  }
  void add(const function& f) const {
    namespace fs = std::filesystem;
    const fs::path at = fs::path("devices/pci0000:00") / f.name;
    write(at / "vendor", f.vendor + "\n");
    write(at / "device", f.device + "\n");
    write(at / "class", f.class_code + "\n");
    write(at / "revision", "0x02\n");
    write(at / "subsystem_vendor", "0x1af4\n");
    write(at / "subsystem_device", "0x1100\n");
    write(at / "reset", "");
    write(at / "config", f.config);
    std::string resource;
    for (std::size_t i = 0; i < 13; ++i)
      resource += (i < f.resource.size() ? f.resource[i] : no_resource()) + "\n";
    write(at / "resource", resource);
    if (f.vfio_number >= 0)
      fs::create_directories(root_ / at / "vfio-dev" / ("vfio" + std::to_string(f.vfio_number)));
    const fs::path g = root_ / "kernel/iommu_groups" / std::to_string(f.group);
    fs::create_directories(g / "devices");
    fs::create_symlink(root_ / at, g / "devices" / f.name);
    if (f.driver.empty()) return;
    fs::create_directories(root_ / "bus/pci/drivers" / f.driver);
    fs::create_symlink(root_ / "bus/pci/drivers" / f.driver, root_ / at / "driver");
  }
  static std::string no_resource() {
    return "0x0000000000000000 0x0000000000000000 0x0000000000000000";
  }
  /// A line of `resource`.
  static std::string resource(std::uint64_t first, std::uint64_t size, std::uint64_t flags) {
    char line[64];
    std::snprintf(
        line, sizeof line, "0x%016llx 0x%016llx 0x%016llx", static_cast<unsigned long long>(first),
        static_cast<unsigned long long>(first + size - 1), static_cast<unsigned long long>(flags));
    return line;
  }
  /// Writes bytes into a configuration space.
  static void put(std::string& config, std::size_t at, const std::vector<unsigned>& bytes) {
    for (const unsigned b : bytes) config.at(at++) = static_cast<char>(b);
  }

 private:
  std::filesystem::path root_;
};
