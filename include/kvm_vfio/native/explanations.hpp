// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The text for each error of each call.

#include <kvm_vfio/errc.hpp>
#include <kvm_vfio/native/operation.hpp>  // IWYU pragma: export

#include <cerrno>

namespace kvm_vfio::native::detail {

struct explanation {
  operation what;
  errc why;
  const char* text;
};

inline constexpr explanation explanations[] = {
    {operation::open_kvm, errc::noent,
     "the file of KVM does not exist: load the module kvm_intel or kvm_amd"},
    {operation::open_kvm, errc::nodev,
     "the file exists, but KVM is not running: load the module kvm_intel or kvm_amd, and check "
     "that the firmware enables virtualization"},
    {operation::open_kvm, errc::nxio,
     "the file exists, but it belongs to no device: load the module kvm_intel or kvm_amd"},
    {operation::open_kvm, errc::access,
     "no permission: your user must be in the group that owns /dev/kvm"},
    {operation::open_kvm, errc::perm,
     "a device cgroup or a security module forbids access to /dev/kvm"},
    {operation::open_kvm, errc::notty, "the file is not KVM: give the path /dev/kvm"},
    {operation::open_kvm, errc::proto, "KVM has another API version than this library expects"},
    {operation::create_vm, errc::inval, "KVM does not know this machine type: use type 0"},
    {operation::create_vm, errc::busy,
     "another hypervisor already uses the processor's virtualization"},
    {operation::create_device, errc::busy,
     "this VM already has a kvm-vfio device: use that one, because a VM can have only one"},
    {operation::create_device, errc::io,
     "the VM belongs to another process (for example after a fork), or the VM is dead"},
    {operation::create_device, errc::nodev,
     "this kernel has no kvm-vfio: it must be built with CONFIG_KVM_VFIO"},
    {operation::file_add, errc::inval,
     "the descriptor is not a VFIO file, or VFIO is not loaded; before Linux 6.6 only the file of "
     "a group is accepted"},
    {operation::file_add, errc::io,
     "the VM belongs to another process (for example after a fork), or the VM is dead"},
    {operation::file_add, errc::exists,
     "the file is already tracked, perhaps through another descriptor: there is nothing to do"},
    {operation::file_del, errc::noent, "the file is not tracked: there is nothing to undo"},
    {operation::file_del, errc::io,
     "the VM belongs to another process (for example after a fork), or the VM is dead"},
    {operation::set_spapr_tce, errc::nxio,
     "this attribute exists only in POWER kernels with the sPAPR TCE IOMMU driver"},
    {operation::set_spapr_tce, errc::noent, "the group is not tracked: call FILE_ADD for it first"},
    {operation::set_spapr_tce, errc::io,
     "the file has no IOMMU group: give the file of a group, not of a device"},
    {operation::set_spapr_tce, errc::inval,
     "the descriptor is not a TCE table of this VM, or "
     "no hardware table of the group fits this TCE table"},
    {operation::open_container, errc::noent, "VFIO is not loaded: load the module vfio_pci"},
    {operation::open_container, errc::nodev,
     "the file exists, but VFIO does not serve it: load the module vfio_pci; the kernel must be "
     "built with CONFIG_VFIO_CONTAINER"},
    {operation::open_container, errc::access, "no permission to open /dev/vfio/vfio"},
    {operation::open_container, errc::notty, "the file is not a VFIO container"},
    {operation::open_container, errc::proto,
     "VFIO has another API version than this library expects"},
    {operation::open_group, errc::noent,
     "the group does not exist, or no device of it is bound to a VFIO driver; the file of a group "
     "without an IOMMU is /dev/vfio/noiommu-N"},
    {operation::open_group, errc::nodev,
     "no device of the group is bound to a VFIO driver any more"},
    {operation::open_group, errc::nxio,
     "the file is out of date: no VFIO group has its device number"},
    {operation::open_group, errc::access,
     "no permission: the user of the VMM needs access to the group's file"},
    {operation::open_group, errc::busy,
     "the group is already open, or a kvm-vfio device still tracks it (call FILE_DEL, or close the "
     "kvm-vfio device), or a device of it is bound to an iommufd"},
    {operation::open_group, errc::perm,
     "to open a group without an IOMMU, the process needs CAP_SYS_RAWIO"},
    {operation::set_container, errc::perm,
     "a device has another driver or user (bind all of the group to VFIO or to no driver), the "
     "host does not isolate interrupts (allow_unsafe_interrupts), the firmware claims a device, or "
     "only some groups have an IOMMU"},
    {operation::set_container, errc::busy,
     "the group is already attached to the IOMMU domain of another driver or VMM that uses one of "
     "its devices, or a mapping of the container waits for a new address"},
    {operation::set_container, errc::inval,
     "the group is already in a container, or it does not fit the mappings or the IOMMU of this "
     "container, or the firmware claims a device of the group (the kernel's log tells it)"},
    {operation::set_container, errc::nodev,
     "no device of the group is bound to a VFIO driver any more"},
    {operation::set_container, errc::badf, "the descriptor given as the container is not open"},
    {operation::set_container, errc::badfd,
     "the descriptor given as the container is another kind of file"},
    {operation::set_iommu, errc::inval,
     "the container has no group yet, or it already has an IOMMU driver"},
    {operation::set_iommu, errc::busy,
     "a group is already attached to the IOMMU domain of "
     "another driver or VMM that uses one of its devices"},
    {operation::set_iommu, errc::nodev,
     "this IOMMU driver is not loaded: load the module vfio_iommu_type1; a group without an IOMMU "
     "takes VFIO_NOIOMMU_IOMMU only; if an iommufd is the container, first put a group into it"},
    {operation::set_iommu, errc::perm,
     "the host does not isolate interrupts (see allow_unsafe_interrupts), or the group has no "
     "IOMMU and the process lacks CAP_SYS_RAWIO"},
    {operation::get_device, errc::nodev, "the group has no device with this name"},
    {operation::get_device, errc::inval,
     "first put the group into a container and choose the container's IOMMU driver; or the text "
     "behind the name is wrong: a device that needs no VF token takes none"},
    {operation::get_device, errc::busy, "another driver or VMM uses the device or its resources"},
    {operation::get_device, errc::perm,
     "another driver or VMM uses a device of the group, or the host does not isolate interrupts "
     "(see allow_unsafe_interrupts), or the group has no IOMMU and the process lacks "
     "CAP_SYS_RAWIO"},
    {operation::get_device, errc::access,
     "the device is a virtual function whose physical function VFIO drives, or a physical function "
     "whose virtual functions are in use: add \" vf_token=UUID\" with the right token after the "
     "name"},
    {operation::get_device, errc::again, "another task holds the lock of the device: try again"},
    {operation::get_device, errc::srch,
     "the driver of the device needs a VM: call FILE_ADD for the group first"},
    {operation::get_device, errc::io, "the device does not respond: it may need a reset"},
    {operation::open_device, errc::noent,
     "the device does not exist, or this kernel is built "
     "without CONFIG_VFIO_DEVICE_CDEV: use the group instead"},
    {operation::open_device, errc::nodev, "the device is not bound to a VFIO driver any more"},
    {operation::open_device, errc::nxio,
     "the file is out of date: no VFIO device has its device number"},
    {operation::open_device, errc::access, "no permission to open the device's file"},
    {operation::open_iommufd, errc::noent, "this kernel has no iommufd: use a container"},
    {operation::open_iommufd, errc::nodev,
     "the file exists, but iommufd does not serve it: load the module iommufd, or use a container"},
    {operation::open_iommufd, errc::nxio,
     "the file exists, but it belongs to no device: load the module iommufd"},
    {operation::open_iommufd, errc::access, "no permission to open /dev/iommu"},
    {operation::bind_iommufd, errc::inval,
     "the device file is already bound, or it was obtained from a group, or the firmware claims "
     "the device (the kernel's log tells it)"},
    {operation::bind_iommufd, errc::badf, "the descriptor given as the iommufd is not open"},
    {operation::bind_iommufd, errc::busy,
     "the group of the device is open (use the group or the device file, not both), or another "
     "driver or VMM uses a device of the group"},
    {operation::bind_iommufd, errc::perm,
     "another driver or VMM uses a device of the group, or the host "
     "does not isolate interrupts (see allow_unsafe_interrupts)"},
    {operation::bind_iommufd, errc::nodev, "the device is not bound to a VFIO driver any more"},
    {operation::bind_iommufd, errc::badfd,
     "the descriptor given as the iommufd is another kind of file"},
    {operation::bind_iommufd, errc::srch,
     "the driver of the device needs a VM: call FILE_ADD for the device file first"},
    {operation::attach_iommufd_pt, errc::noent, "the iommufd has no object with this number"},
    {operation::attach_iommufd_pt, errc::inval,
     "the device is not bound to an iommufd, or other "
     "devices of its group are attached to another page table, or the address space maps a file "
     "that is not in memory, or that does not have the whole range"},
    {operation::attach_iommufd_pt, errc::busy,
     "the group is already attached to the IOMMU domain of "
     "another driver or VMM that uses one of its devices"},
    {operation::attach_iommufd_pt, errc::addrinuse,
     "the address space has a mapping in a range that the IOMMU of the device reserves"},
    {operation::attach_iommufd_pt, errc::fault,
     "the memory of a mapping of the address space is not there, or not for the access that the "
     "mapping allows, or it is the BAR of a device: unmap this mapping first"},
    {operation::attach_iommufd_pt, errc::nomem,
     "there is not enough memory, or the mappings of the address space, which count from now on, "
     "reach RLIMIT_MEMLOCK: raise the limit"},
    {operation::map_dma, errc::exists,
     "the range overlaps a range that is mapped: unmap that range first"},
    {operation::map_dma, errc::inval,
     "the range is not aligned to pages, or not in the ranges of the IOMMU (x86 reserves "
     "0xfee00000 to 0xfeefffff), or the container has no IOMMU driver yet, or a mapped file is "
     "not in memory or too short"},
    {operation::map_dma, errc::nospc,
     "the limit on mappings is reached: raise dma_entry_limit of the module vfio_iommu_type1, or "
     "map larger ranges"},
    {operation::map_dma, errc::noent, "the iommufd has no object with this number"},
    {operation::map_dma, errc::overflow, "the range ends after the last possible address"},
    {operation::map_dma, errc::fault,
     "the memory is not mapped in this process, or not for the access that the flags allow; an "
     "iommufd cannot map the BAR of a device"},
    {operation::map_dma, errc::busy,
     "devices wait for a new address of a mapping (VFIO_DMA_MAP_FLAG_VADDR): give it first"},
    {operation::map_dma, errc::perm,
     "the memory cannot be pinned: it is a file or a device that the kernel does not lend to "
     "devices"},
    {operation::map_dma, errc::nomem,
     "there is not enough memory, or the locked memory of the process reaches RLIMIT_MEMLOCK: "
     "raise the limit (containers count the memory of each container anew)"},
    {operation::map_dma, errc::notty,
     "the groups of the container have no IOMMU, so nothing can be mapped; or the descriptor is "
     "another kind of file, or this kernel is too old to know the ioctl"},
    {operation::unset_container, errc::inval, "the group is in no container"},
    {operation::unset_container, errc::busy,
     "a device of the group is still open: munmap its BARs, and close each descriptor of it, also "
     "dups and those of child processes; then call again"},
    {operation::get_group_status, errc::nodev,
     "no device of the group is bound to a VFIO driver any more"},
    {operation::get_group_status, errc::inval, "`argsz` is too small for the answer"},
    {operation::check_extension, errc::inval,
     "the container has no IOMMU driver that knows this extension"},
    {operation::get_iommu_info, errc::inval,
     "the container has no IOMMU driver yet (call VFIO_SET_IOMMU), or `argsz` is too small for the "
     "answer"},
    {operation::get_iommu_info, errc::notty,
     "the groups of the container have no IOMMU, or the descriptor is another kind of file"},
    {operation::unmap_dma, errc::notty,
     "the groups of the container have no IOMMU, so nothing is mapped; or the descriptor is "
     "another kind of file"},
    {operation::unmap_dma, errc::inval,
     "the range is not aligned to pages, or it cuts a mapping (version 2 of type 1 unmaps only "
     "whole ones), or the container has no IOMMU driver: driver and mappings go with the last "
     "group"},
    {operation::unmap_dma, errc::noent,
     "the range has no mapping, or it cuts one (iommufd unmaps only whole mappings), or the "
     "iommufd has no object with this number"},
    {operation::unmap_dma, errc::overflow, "the range ends after the last possible address"},
    {operation::unmap_dma, errc::busy,
     "a mediated device uses the memory, or the address of a mapping cannot be taken away now"},
    {operation::unmap_dma, to_errc(EDEADLK),
     "a driver still uses the memory: stop the device, then unmap again"},
    {operation::alloc_ioas, errc::inval, "the struct is too short for this kernel"},
    {operation::alloc_ioas, errc::nomem, "there is not enough memory for the address space"},
    {operation::get_iova_ranges, errc::noent, "the iommufd has no address space with this number"},
    {operation::get_iova_ranges, errc::msgsize,
     "there are more ranges than the array can hold: ask again with a larger array"},
    {operation::destroy_object, errc::busy,
     "the object is in use: first detach each device, and destroy the page tables on the address "
     "space"},
    {operation::destroy_object, errc::noent, "the iommufd has no object with this number"},
    {operation::get_hw_info, errc::noent,
     "the iommufd has no device with this number, or the device is a mediated device, which has no "
     "IOMMU of its own"},
    {operation::get_hw_info, errc::notty,
     "the kernel is older than Linux 6.6, or the descriptor is not an iommufd"},
    {operation::detach_iommufd_pt, errc::inval, "the device is not bound to an iommufd"},
    {operation::detach_iommufd_pt, errc::notty,
     "the device was obtained from a group, which has no page table of its own, or the kernel is "
     "older than Linux 6.6"},
    {operation::detach_iommufd_pt, errc::nodev,
     "the device is not bound to a VFIO driver any more"},
    {operation::attach_iommufd_pt, to_errc(EMEDIUMTYPE),
     "the page table is made for another IOMMU than the one of the device: give an address space "
     "instead, or a page table that was made for this device"},
    {operation::attach_iommufd_pt, errc::notty,
     "the device was obtained from a group: put the group into a container instead, or open the "
     "device file"},
    {operation::attach_iommufd_pt, errc::nodev,
     "the device is not bound to a VFIO driver any more, or the page table has a fault queue and "
     "the device cannot report faults"},
    {operation::bind_iommufd, errc::notty,
     "the device was obtained from a group: open the device file instead"},
    {operation::bind_iommufd, errc::access,
     "the device is a virtual function whose physical function VFIO drives, or a physical function "
     "whose virtual functions are in use: give the right token (VFIO_DEVICE_BIND_FLAG_TOKEN)"},
    {operation::bind_iommufd, errc::io, "the device does not respond: it may need a reset"},
    {operation::get_device_info, errc::inval, "the device file is not bound to an iommufd yet"},
    {operation::get_region_info, errc::inval,
     "the device has no region with this number, or the device file is not bound to an iommufd "
     "yet"},
    {operation::get_region_info, errc::msgsize,
     "the answer has more capabilities than this library has space for"},
    {operation::get_region_info, errc::proto,
     "the capabilities in the answer contradict each other"},
    {operation::get_irq_info, errc::inval,
     "the device has no interrupts with this index, or the device file is not bound to an iommufd "
     "yet"},
    {operation::set_irqs, errc::inval,
     "the device lacks these vectors, or they are not armed, or another kind of interrupts is "
     "armed (disarm it first), or a descriptor is not an eventfd, or the device file is not bound "
     "to an iommufd yet"},
    {operation::set_irqs, errc::badf, "an eventfd in the call is not open"},
    {operation::set_irqs, errc::nospc,
     "the host has not so many free interrupt vectors: arm fewer (without interrupt remapping MSI "
     "has one)"},
    {operation::set_irqs, errc::range,
     "the call arms no vector, because its count is 0: to arm vectors, give their number; to "
     "disarm them, set the flag DATA_NONE"},
    {operation::set_irqs, errc::nomem, "there is not enough memory for the interrupts"},
    {operation::set_irqs, errc::busy,
     "another driver uses the interrupt line, and the device cannot share it; or INTx has an "
     "eventfd for UNMASK already: first pass the descriptor -1"},
    {operation::set_irqs, errc::notty, "vectors of this index cannot be masked or unmasked"},
    {operation::set_irqs, errc::fault, "the eventfds that follow the struct cannot be read"},
    {operation::reset_device, errc::inval,
     "the device cannot be reset alone (use a hot reset), or the device file is not bound to an "
     "iommufd yet"},
    {operation::reset_device, errc::again, "another task holds the lock of the device: try again"},
    {operation::reset_device, errc::notty, "the driver of the device has no reset"},
    {operation::reset_device, errc::io, "the device does not respond after the reset"},
    {operation::get_hot_reset_info, errc::nospc,
     "the array is too small: ask again with space for the number of devices in the answer"},
    {operation::get_hot_reset_info, errc::nodev,
     "the slot and the bus of the device have no hot reset"},
    {operation::get_hot_reset_info, errc::inval, "the device file is not bound to an iommufd yet"},
    {operation::get_hot_reset_info, errc::notty, "the device is not a PCI device"},
    {operation::get_hot_reset_info, errc::proto,
     "the kernel counts more devices than the answer can hold"},
    {operation::hot_reset, errc::inval,
     "an affected device is not bound to VFIO, or its group is missing (get_hot_reset_info names "
     "all), or a descriptor is no group; a device file takes no groups, and needs all affected "
     "devices in its iommufd"},
    {operation::hot_reset, errc::badf, "a descriptor in the call is not open"},
    {operation::hot_reset, errc::nodev, "the slot and the bus of the device have no hot reset"},
    {operation::hot_reset, errc::again,
     "another task holds the lock of an affected device: try again"},
    {operation::hot_reset, errc::notty, "the device is not a PCI device"},
    {operation::hot_reset, errc::toobig,
     "there are more groups than the slot or the bus has devices"},
    {operation::read_region, errc::inval,
     "the bytes are not all in the region, or the region cannot be read, or the device file is not "
     "bound to an iommufd yet"},
    {operation::read_region, errc::io,
     "the device read fewer bytes, or its memory is disabled or in low power: set Memory Space in "
     "the command register"},
    {operation::read_region, errc::fault, "the memory that receives the bytes cannot be written"},
    {operation::write_region, errc::inval,
     "the bytes are not all in the region, or the region cannot be written, or the device file is "
     "not bound to an iommufd yet"},
    {operation::write_region, errc::io,
     "the device wrote fewer bytes, or its memory is disabled or in low power: set Memory Space in "
     "the command register"},
    {operation::write_region, errc::fault, "the memory that has the bytes cannot be read"},
    {operation::map_region, errc::inval,
     "the range is empty, not aligned to pages or not all in the region; or the region cannot be "
     "mapped (see the flag MMAP and the sparse areas of the region)"},
    {operation::map_region, errc::nodev,
     "the file cannot be mapped: give the descriptor of the device"},
    {operation::map_region, errc::nomem,
     "the process has no free addresses, or too many mappings (vm.max_map_count)"},
    {operation::has_attribute, errc::nxio, "this kernel does not have the attribute"},
    {operation::has_attribute, errc::io,
     "the VM belongs to another process (for example after a fork), or the VM is dead"},
    {operation::set_irqfd, errc::busy, "the eventfd is connected to an interrupt of a VM already"},
    {operation::set_irqfd, errc::again, "the VM has no interrupt controller yet: create it first"},
    {operation::set_irqfd, errc::inval,
     "a descriptor is not an eventfd, or the VM has no interrupt controller: create it first "
     "(KVM_CREATE_IRQCHIP)"},
    {operation::set_irqfd, errc::badf, "the eventfd is not open"},
    {operation::set_irqfd, errc::nomem, "there is not enough memory for the connection"},
    {operation::set_irqfd, errc::opnotsupp,
     "KVM has no resampling irqfds (KVM_CAP_IRQFD_RESAMPLE)"},
    {operation::set_irqfd, errc::io,
     "the VM belongs to another process (for example after a fork), or the VM is dead"},
};

}  // namespace kvm_vfio::native::detail
