// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Texts that explain the error of a call. Each text also says what to do about the error. The
/// functions allocate nothing.

#include <kvm_vfio/errc.hpp>

#include <cstddef>

namespace kvm_vfio::native {

/// A call that can fail.
enum class operation : unsigned char {
  open_kvm,
  create_vm,
  create_device,
  file_add,
  file_del,
  set_spapr_tce,
  open_container,
  open_group,
  set_container,
  set_iommu,
  get_device,
  open_device,
  open_iommufd,
  bind_iommufd,
  attach_iommufd_pt,
  map_dma,
};

/// Returns the name of the operation for messages, for example "FILE_ADD".
[[nodiscard]] constexpr const char* name(operation what) noexcept {
  switch (what) {
    case operation::open_kvm: return "opening KVM";
    case operation::create_vm: return "KVM_CREATE_VM";
    case operation::create_device: return "KVM_CREATE_DEVICE of kvm-vfio";
    case operation::file_add: return "FILE_ADD";
    case operation::file_del: return "FILE_DEL";
    case operation::set_spapr_tce: return "GROUP_SET_SPAPR_TCE";
    case operation::open_container: return "opening a VFIO container";
    case operation::open_group: return "opening a VFIO group";
    case operation::set_container: return "VFIO_GROUP_SET_CONTAINER";
    case operation::set_iommu: return "VFIO_SET_IOMMU";
    case operation::get_device: return "VFIO_GROUP_GET_DEVICE_FD";
    case operation::open_device: return "opening a VFIO device";
    case operation::open_iommufd: return "opening an iommufd";
    case operation::bind_iommufd: return "VFIO_DEVICE_BIND_IOMMUFD";
    case operation::attach_iommufd_pt: return "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
    case operation::map_dma: return "mapping DMA";
  }
  return "an operation";
}

namespace detail {

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
     "the group does not exist, or no device of it is bound to a VFIO driver"},
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
     "another driver or VMM uses a device of the group (bind all its devices to VFIO or to no "
     "driver), or the host does not isolate interrupts (see allow_unsafe_interrupts)"},
    {operation::set_container, errc::busy,
     "the group is already attached to the IOMMU domain of "
     "another driver or VMM that uses one of its devices"},
    {operation::set_container, errc::inval,
     "the group is already in a container, or it does "
     "not fit the mappings or the IOMMU of this container"},
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
     "this IOMMU driver is not loaded: load the module vfio_iommu_type1"},
    {operation::set_iommu, errc::perm,
     "the host does not isolate interrupts (see allow_unsafe_interrupts)"},
    {operation::get_device, errc::nodev, "the group has no device with this name"},
    {operation::get_device, errc::inval,
     "first put the group into a container and choose the container's IOMMU driver"},
    {operation::get_device, errc::busy, "another driver or VMM uses the device or its resources"},
    {operation::get_device, errc::perm,
     "another driver or VMM uses a device of the group, or the host "
     "does not isolate interrupts (see allow_unsafe_interrupts)"},
    {operation::get_device, errc::access,
     "the device is a virtual function, and VFIO drives its physical function: add the VF token "
     "after the name"},
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
     "the device file is already bound, or it was obtained from a group"},
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
     "devices of its group are attached to another page table"},
    {operation::attach_iommufd_pt, errc::busy,
     "the group is already attached to the IOMMU domain of "
     "another driver or VMM that uses one of its devices"},
    {operation::attach_iommufd_pt, errc::addrinuse,
     "the address space has a mapping in a range that the IOMMU of the device reserves"},
    {operation::map_dma, errc::exists,
     "the range overlaps a range that is mapped: unmap that range first"},
    {operation::map_dma, errc::inval,
     "the address or the size is not a multiple of the page size or is not allowed here, or the "
     "container has no IOMMU driver yet"},
    {operation::map_dma, errc::nospc,
     "the limit on mappings is reached: raise dma_entry_limit of the module vfio_iommu_type1, or "
     "map larger ranges"},
    {operation::map_dma, errc::noent, "the iommufd has no object with this number"},
    {operation::map_dma, errc::overflow, "the range ends after the last possible address"},
    {operation::map_dma, errc::fault, "the memory is not mapped in this process"},
};

// Explains an error that has no text for its particular operation. The switch has no default, so
// that the compiler warns of a new error without a sentence.
constexpr const char* explain(errc why) noexcept {
  switch (why) {
    case errc::ok: return "success";
    case errc::badf: return "the descriptor is not open, or it was opened with O_PATH";
    case errc::fault: return "an address in the call cannot be read or written";
    case errc::io: return "input/output error";
    case errc::nodev: return "no such device, or its driver is not loaded";
    case errc::nxio: return "no such attribute, or no device behind the file";
    case errc::busy: return "this process or another one already uses it";
    case errc::nospc: return "a limit on the number of entries is reached";
    case errc::perm:
      return "not permitted: the process lacks a capability, or a cgroup or a security module "
             "forbids the call";
    case errc::access: return "no permission";
    case errc::nomem: return "there is not enough memory, or RLIMIT_MEMLOCK is reached";
    case errc::mfile: return "this process has no free descriptor: raise RLIMIT_NOFILE";
    case errc::nfile: return "the system has reached its limit of open files: raise fs.file-max";
    case errc::intr: return "a signal interrupted the call: call again";
    case errc::notdir: return "a part of the path is not a directory";
    case errc::isdir: return "the path is a directory: give the path of a device's file";
    case errc::nametoolong: return "the path is too long";
    case errc::loop: return "too many symbolic links in the path";
    case errc::rofs: return "the file system is read-only";
    case errc::nosys: return "this kernel has no such system call";
    case errc::opnotsupp:
      return "this kernel does not know one of the fields or flags that are set";
    case errc::toobig:
      return "the structure is longer than this kernel knows, and the part that it does not know "
             "is not zero";
    case errc::range: return "the range is outside the addresses that the IOMMU can translate";
    case errc::msgsize: return "the answer does not fit into the space that the caller gave";
    case errc::notty:
      return "the descriptor is another kind of file, or this kernel is too old to know the ioctl";
    case errc::noent: return "no object or file has this number or this path";
    case errc::srch: return "the device needs a VM: call FILE_ADD for its file first";
    case errc::again: return "the kernel cannot do this now: try again";
    case errc::exists: return "it exists already";
    case errc::inval:
      return "an argument is wrong, or the file is not in the state that the call needs";
    case errc::spipe: return "the file has no position: it cannot be read or written at an offset";
    case errc::proto: return "the kernel has another version of the interface than this library";
    case errc::overflow:
      return "the address plus the size is larger than the last possible address";
    case errc::badfd: return "a descriptor in the call is another kind of file than the call needs";
    case errc::addrinuse: return "a mapping lies at an address that the device cannot use";
  }
  return "this library has no explanation; the kernel's log may have one";
}

}  // namespace detail

/// Returns a text that explains the error of this call and says what to do. Never returns null.
[[nodiscard]] constexpr const char* explain(operation what, errc why) noexcept {
  for (const detail::explanation& e : detail::explanations)
    if (e.what == what && e.why == why) return e.text;
  return detail::explain(why);
}

/// Writes a message like "FILE_ADD of descriptor 7: EINVAL: the descriptor is not a VFIO file, …"
/// to a buffer. A message that is too long is cut. A null character ends it, unless `size` is 0.
/// \param buffer where the message is written; may be null if `size` is 0
/// \param size   the size of the buffer in bytes
/// \param what   the operation that failed
/// \param why    the error of the operation
/// \param fd     the descriptor to name in the message; a negative one is left out
/// \return the length of the whole message in bytes, without the null character, as snprintf
constexpr std::size_t explain(char* buffer, std::size_t size, operation what, errc why,
                              int fd = -1) noexcept {
  std::size_t length = 0;
  const auto put = [&](const char* text) {
    for (; *text; ++text, ++length)
      if (length + 1 < size) buffer[length] = *text;
  };
  const auto number = [&](int value) {
    char digits[12] = {};
    char* first = digits + sizeof digits - 1;
    auto rest = static_cast<unsigned>(value);
    do *--first = static_cast<char>('0' + rest % 10);
    while (rest /= 10);
    put(first);
  };
  put(name(what));
  if (fd >= 0) {
    put(" of descriptor ");
    number(fd);
  }
  put(": ");
  if (has_name(why)) {
    put(name(why));
  } else {
    put("error ");
    number(static_cast<int>(why));
  }
  put(": ");
  put(explain(what, why));
  if (size) buffer[length < size ? length : size - 1] = '\0';
  return length;
}

}  // namespace kvm_vfio::native
