// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Writes the folders /sys and /dev of a simulated host into a directory. Programs that read sysfs
/// (QEMU, libvirt, lspci, DPDK) find there the devices of a topology.

#include <kvm_vfio/sim/linux_release.hpp>
#include <kvm_vfio/sim/sysfs/device_node.hpp>  // IWYU pragma: export
#include <kvm_vfio/sim/topology/error.hpp>
#include <kvm_vfio/sim/topology_check.hpp>
#include <kvm_vfio/sim/world_options.hpp>

#include <filesystem>
#include <vector>

namespace kvm_vfio::sim {

/// The character devices that a `world` of this topology has, with their device numbers:
/// - /dev/vfio/vfio has 10:196, the numbers of a misc device that Linux gives to VFIO alone.
/// - /dev/iommu has 10:127, the first minor number that Linux 6.12 gives to misc devices without
///   numbers of their own. The node exists only if the release and the options have device files.
/// - /dev/vfio/N has major 511. The minor numbers are given out in the order of the groups.
/// - /dev/vfio/devices/vfioN has major 510 and minor N. The node exists only if the release and the
///   options have device files.
///
/// Linux gives out 511 and 510 when the major numbers from 234 to 254 are used up.
/// \param machine the host
/// \param release the release of Linux that runs on the host
/// \param options the settings of VFIO
/// \return the nodes: VFIO's container, /dev/iommu, the groups in the order of the topology, then
///         the devices in the order of the topology
[[nodiscard]] std::vector<device_node> device_nodes(const checked_topology& machine,
                                                    const linux_release& release,
                                                    const world_options& options = {});

/// Writes the folders `sys` and `dev` of a host. `topology_from_sysfs(directory / "sys")` reads the
/// devices, their drivers and the reserved regions back.
///
/// The tree has regular files, folders and relative symbolic links:
/// - PCI functions in /sys/devices/pciDDDD:BB, with links to them in /sys/bus/pci/devices. If a bus
///   can be reset (`pci_spec::bus_resets`), its functions are in the folder of a bridge. The
///   topology does not name bridges, so the tree gets a root port with an unused address, which is
///   in no group.
/// - mediated devices in /sys/devices/virtual/mdev. Other devices whose name is not the address of
///   a PCI function are in /sys/devices/platform, with the files of the PCI function that they
///   show.
/// - /sys/bus/BUS/drivers with vfio-pci, and with vfio_mdev and vfio-platform if a device is bound
///   to them. The driver "other" stands for each driver of the host that is not a VFIO driver.
/// - /sys/kernel/iommu_groups, and the IOMMUs in /sys/class/iommu. A '/' in the name of an IOMMU
///   becomes '!', as in each name that Linux shows in sysfs.
/// - the character devices in /sys/dev/char, /sys/class/vfio, /sys/class/vfio-dev and
///   /sys/class/misc. A file `dev` has the numbers that `device_nodes` returns.
/// - VFIO's modules with their parameters in /sys/module.
/// - the nodes below /dev, which are empty regular files.
///
/// `config` has the registers of the function before a process opens the device. A function that
/// vfio-pci drives sleeps then, as on Linux with power management. Files of BARs and ROMs have the
/// size of the block, and need no space on the disk. The host has one processor, because a topology
/// does not tell how many there are.
/// \param machine   the host
/// \param directory the folder in which `sys` and `dev` are made. If the folder does not exist, it
///                  is made in its parent folder.
/// \param release   the release of Linux that runs on the host
/// \param options   the settings of VFIO
/// \return the error; empty: the whole tree is written. After an error, all that the function made
///         is removed. The errors are:
///         - `sys` or `dev` exists in the directory.
///         - The system refuses a file, a folder or a link. The error has the path and the reason.
///         - The name of a device or of an IOMMU is "." or "..".
///         - A bus needs a bridge, and no address is free for the bridge.
[[nodiscard]] topology_errors write_sysfs_view(const checked_topology& machine,
                                               const std::filesystem::path& directory,
                                               const linux_release& release,
                                               const world_options& options = {});

}  // namespace kvm_vfio::sim

#ifndef KVM_VFIO_COMPILED
#include <kvm_vfio/sim/impl/sysfs_view.hpp>
#endif
