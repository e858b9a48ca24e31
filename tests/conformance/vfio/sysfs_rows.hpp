// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Where the simulator's view of /sys may differ from a running kernel's, and why.

namespace vfio_lockstep {

/// How an entry differs.
enum class sysfs_side {
  linux_only,  ///< Linux has the entry, and the view does not
  view_only,   ///< the view has the entry, and Linux does not
  content      ///< both have the entry, with other contents
};

/// Entries that may differ.
struct sysfs_row {
  /// The pattern of the entry's name, as of fnmatch. It starts with the kind of its folder.
  const char* entry;
  sysfs_side side;
  /// Patterns of the kernels, with blanks between. A kernel is its profile, with "-modules" behind
  /// it if VFIO is in modules, or "-built" (with iommufd), or "-power". A row must allow a
  /// difference on each of these kernels, unless the first pattern starts with '*'.
  const char* kernels;
  const char* reason;
};

inline constexpr sysfs_row sysfs_rows[]{
    {"*/power/*", sysfs_side::linux_only, "*-modules",
     "details of power management, which no program of VFIO reads"},
    {"device/aer_dev_*", sysfs_side::linux_only, "*-modules",
     "counters of errors on PCI Express, which change"},
    {"device/aer", sysfs_side::linux_only, "7.3-modules",
     "counters of errors on PCI Express, which change"},
    {"device/wakeup", sysfs_side::linux_only, "7.3-modules",
     "how a device wakes the host up; VFIO does not use it"},
    {"device/firmware_node", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "ACPI, of which a topology tells nothing"},
    {"device/link", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "the settings of the link's power management"},
    {"device/serial_number", sysfs_side::linux_only, "7.3-modules 7.3-built",
     "new in Linux 7.3; the number is in the capabilities, too"},
    {"device/reset", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "Linux found this function first, and so it allows a reset of the bus; VFIO_DEVICE_RESET does "
     "not"},
    {"device/reset_method", sysfs_side::linux_only, "6* 7.3-modules 7.3-built", "the same"},
    {"iommu/devices/*", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "the topology of a running kernel has one IOMMU for each group"},
    {"iommu/intel-iommu/address", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "registers of the IOMMU, which the simulator does not have"},
    {"iommu/intel-iommu/version", sysfs_side::linux_only, "6* 7.3-modules 7.3-built", "the same"},
    {"iommu/intel-iommu/domains_*", sysfs_side::linux_only, "6* 7.3-modules 7.3-built",
     "how many domains the IOMMU has"},
    {"mediated/vendor", sysfs_side::linux_only, "7.3-built", "files of the vendor's driver"},
    {"module/coresize", sysfs_side::linux_only, "*-modules", "the binary of a module"},
    {"module/initsize", sysfs_side::linux_only, "*-modules", "the binary of a module"},
    {"module/notes", sysfs_side::linux_only, "*-modules", "the binary of a module"},
    {"module/sections", sysfs_side::linux_only, "*-modules", "the binary of a module"},
    {"module/srcversion", sysfs_side::linux_only, "*-modules", "the binary of a module"},
    {"module/uevent", sysfs_side::linux_only, "*",
     "no program of VFIO reads the uevent of a module"},
    {"module/version", sysfs_side::linux_only, "*", "the binary of a module"},
    {"module/import_ns", sysfs_side::linux_only, "7.3-modules", "the binary of a module"},
    {"module/holders/*", sysfs_side::linux_only, "*-modules",
     "which module uses which other; no program of VFIO reads it"},
    {"module/parameters", sysfs_side::linux_only, "7.3-built",
     "this kernel has no modules; some parameters have another place"},
    {"module/parameters", sysfs_side::view_only, "*",
     "the parameter of a mode without an IOMMU, with which these kernels are not built"},
    {"module", sysfs_side::view_only, "7.3-built",
     "VFIO is built in, and a part without parameters has no folder"},
    {"module/drivers", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"module/holders", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"module/initstate", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"module/refcnt", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"module/taint", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"module/parameters/disable_vga", sysfs_side::view_only, "7.3-built",
     "this kernel is built without VGA of VFIO"},
    {"module/parameters/enable_sriov", sysfs_side::view_only, "7.3-built",
     "this kernel is built without virtual functions"},
    {"driver/module", sysfs_side::view_only, "7.3-built", "VFIO is built in"},
    {"*/power", sysfs_side::view_only, "7.3-built",
     "this kernel is built without power management"},
    {"device/d3cold_allowed", sysfs_side::view_only, "7.3-built",
     "this kernel is built without power management"},
    {"device/numa_node", sysfs_side::view_only, "7.3-built", "this kernel is built without NUMA"},
    {"device/resource[0-5]_wc", sysfs_side::view_only, "7.3-built",
     "this kernel is built without PAT"},
    {"device/config", sysfs_side::content, "7.3-built",
     "without power management devices stay awake"},
    {"device/power_state", sysfs_side::content, "7.3-built",
     "without power management devices stay awake"},
    {"device/irq", sysfs_side::content, "6* 7.3-modules",
     "ACPI routes the interrupt, of which a topology tells nothing"},
    {"module/refcnt", sysfs_side::content, "*-modules", "which module uses which other"},
    {"mediated/driver", sysfs_side::content, "7.3-built",
     "the topology does not name the vendor's driver"},
    {"mediated/uevent", sysfs_side::content, "7.3-built",
     "the topology does not name the vendor's driver"},
    {"mediated/mdev_type", sysfs_side::content, "7.3-built", "the topology does not name the type"},
};

}  // namespace vfio_lockstep
