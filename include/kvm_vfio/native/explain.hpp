// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Texts that explain the error of a call and say what to do about it. Allocates nothing.

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
    {operation::open_kvm, errc::noent, "no KVM here: load kvm_intel or kvm_amd"},
    {operation::open_kvm, errc::nodev,
     "the file is there, but no KVM behind it: load kvm_intel or kvm_amd; is virtualization "
     "enabled?"},
    {operation::open_kvm, errc::nxio, "no device behind the file: load kvm_intel or kvm_amd"},
    {operation::open_kvm, errc::access, "no permission: join the group that owns /dev/kvm"},
    {operation::open_kvm, errc::perm, "a device cgroup or a security module forbids /dev/kvm"},
    {operation::open_kvm, errc::notty, "the file is not KVM's; give the path of /dev/kvm"},
    {operation::open_kvm, errc::proto, "KVM speaks another API version than this library"},
    {operation::create_vm, errc::inval, "KVM does not know this machine type; use 0"},
    {operation::create_vm, errc::busy, "another hypervisor has the processor's virtualization"},
    {operation::create_device, errc::busy,
     "this VM has a kvm-vfio device already; reuse it, a VM has one at the most"},
    {operation::create_device, errc::io, "the VM is another process's (a fork?), or dead"},
    {operation::create_device, errc::nodev,
     "this kernel has no kvm-vfio; it needs CONFIG_KVM_VFIO"},
    {operation::file_add, errc::inval,
     "not a VFIO file, or VFIO is not loaded; before Linux 6.6 it must be a group's"},
    {operation::file_add, errc::io, "the VM is another process's (a fork?), or dead"},
    {operation::file_add, errc::exists,
     "tracked already, perhaps through another descriptor; there is nothing to do"},
    {operation::file_del, errc::noent, "the file is not tracked; there is nothing to undo"},
    {operation::file_del, errc::io, "the VM is another process's (a fork?), or dead"},
    {operation::set_spapr_tce, errc::nxio, "only POWER kernels with sPAPR TCE IOMMU know this"},
    {operation::set_spapr_tce, errc::noent, "the group is not tracked; FILE_ADD it first"},
    {operation::set_spapr_tce, errc::io,
     "the file has no IOMMU group; give a group's file, not a device's"},
    {operation::set_spapr_tce, errc::inval,
     "not a TCE table of this VM, or none of the group's hardware tables fits it"},
    {operation::open_container, errc::noent, "VFIO is not loaded: load vfio_pci"},
    {operation::open_container, errc::nodev,
     "the file is there, but no VFIO behind it: load vfio_pci; or VFIO_CONTAINER is not built in"},
    {operation::open_container, errc::access, "no permission for /dev/vfio/vfio"},
    {operation::open_container, errc::notty, "the file is not a VFIO container"},
    {operation::open_container, errc::proto, "VFIO speaks another API version"},
    {operation::open_group, errc::noent,
     "no such group, or none of its devices is bound to a VFIO driver"},
    {operation::open_group, errc::nodev,
     "none of the group's devices is bound to a VFIO driver any more"},
    {operation::open_group, errc::nxio, "the file is stale: no VFIO group has its number"},
    {operation::open_group, errc::access, "no permission: give the VMM's user the group's file"},
    {operation::open_group, errc::busy,
     "the group is open already, a kvm-vfio device still tracks it (FILE_DEL it or close that), or "
     "a "
     "device of it is bound to an iommufd"},
    {operation::open_group, errc::perm, "a group without IOMMU needs CAP_SYS_RAWIO"},
    {operation::set_container, errc::perm,
     "somebody else owns the group's DMA: another driver has a device of it (bind all of them to "
     "VFIO, or to no driver), or another VMM; or the platform does not isolate interrupts"},
    {operation::set_container, errc::busy,
     "somebody else translates the group's DMA: another driver or VMM uses a device of it"},
    {operation::set_container, errc::inval,
     "the group has a container already, or does not fit this one's mappings or IOMMU"},
    {operation::set_container, errc::nodev,
     "none of the group's devices is bound to a VFIO driver any more"},
    {operation::set_container, errc::badf, "the container's descriptor is not open"},
    {operation::set_container, errc::badfd, "the descriptor is not a container's"},
    {operation::set_iommu, errc::inval,
     "the container has no group yet, or its IOMMU is set already"},
    {operation::set_iommu, errc::busy,
     "somebody else translates a group's DMA: another driver or VMM uses a device of it"},
    {operation::set_iommu, errc::nodev, "no such IOMMU driver: load vfio_iommu_type1"},
    {operation::set_iommu, errc::perm,
     "the platform does not isolate interrupts; see allow_unsafe_interrupts"},
    {operation::get_device, errc::nodev, "no device of this name is in the group"},
    {operation::get_device, errc::inval, "put the group into a container and set its IOMMU first"},
    {operation::get_device, errc::busy,
     "somebody else has the device or its resources: another driver or VMM"},
    {operation::get_device, errc::perm,
     "somebody else owns the group's DMA, or the platform does not isolate interrupts"},
    {operation::get_device, errc::access,
     "a virtual function whose physical function is VFIO's needs its token behind the name"},
    {operation::get_device, errc::again, "somebody else holds the device's lock; try again"},
    {operation::get_device, errc::srch, "the device needs a VM: FILE_ADD its group first"},
    {operation::get_device, errc::io, "the device does not answer; it may need a reset"},
    {operation::open_device, errc::noent,
     "no such device, or this kernel has no VFIO_DEVICE_CDEV; use its group"},
    {operation::open_device, errc::nodev, "the device is not bound to a VFIO driver any more"},
    {operation::open_device, errc::nxio, "the file is stale: no VFIO device has its number"},
    {operation::open_device, errc::access, "no permission for the device's file"},
    {operation::open_iommufd, errc::noent, "this kernel has no iommufd; use a container"},
    {operation::open_iommufd, errc::nodev,
     "the file is there, but no iommufd behind it: load iommufd, or use a container"},
    {operation::open_iommufd, errc::nxio, "no device behind the file: load iommufd"},
    {operation::open_iommufd, errc::access, "no permission for /dev/iommu"},
    {operation::bind_iommufd, errc::inval, "bound already, or a device that a group handed out"},
    {operation::bind_iommufd, errc::badf, "the iommufd's descriptor is not open"},
    {operation::bind_iommufd, errc::busy,
     "the device's group is open (use the group or the device file, not both), or another driver "
     "or VMM uses a device of it"},
    {operation::bind_iommufd, errc::perm,
     "somebody else owns the group's DMA: another driver or VMM uses a device of it; or the "
     "platform does not isolate interrupts"},
    {operation::bind_iommufd, errc::nodev, "the device is not bound to a VFIO driver any more"},
    {operation::bind_iommufd, errc::badfd, "the descriptor is not an iommufd's"},
    {operation::bind_iommufd, errc::srch, "the device needs a VM: FILE_ADD it first"},
    {operation::attach_iommufd_pt, errc::noent, "the iommufd has no such address space"},
    {operation::attach_iommufd_pt, errc::inval,
     "the device is not bound to an iommufd, or its group's other devices are attached elsewhere"},
    {operation::attach_iommufd_pt, errc::busy,
     "somebody else translates the group's DMA: another driver or VMM uses a device of it"},
    {operation::attach_iommufd_pt, errc::addrinuse,
     "the address space maps something where the device's IOMMU reserves addresses"},
    {operation::map_dma, errc::exists, "the range overlaps one that is mapped; unmap it first"},
    {operation::map_dma, errc::inval,
     "address or size is not a multiple of the page size or not allowed here, or the container has "
     "no IOMMU yet"},
    {operation::map_dma, errc::nospc,
     "as many mappings as allowed: raise vfio_iommu_type1's dma_entry_limit, or map larger pieces"},
    {operation::map_dma, errc::noent, "the iommufd has no such address space"},
    {operation::map_dma, errc::overflow, "the range ends past the last address"},
    {operation::map_dma, errc::fault, "the memory is not mapped in this process"},
};

// Explains an error that has no text for its particular operation.
constexpr const char* explain(errc why) noexcept {
  switch (why) {
    case errc::ok: return "success";
    case errc::badf: return "a descriptor that is not open, or was opened with O_PATH";
    case errc::fault: return "an address that cannot be read or written";
    case errc::io: return "input/output error";
    case errc::nodev: return "no such device, or its driver is not loaded";
    case errc::nxio: return "no such attribute, or no device behind the file";
    case errc::busy: return "in use, by this process or by another";
    case errc::nospc: return "a limit on the number of entries is reached";
    case errc::perm:
      return "not permitted: a capability is missing, or a cgroup or a security module forbids it";
    case errc::access: return "no permission";
    case errc::nomem: return "out of memory, or past RLIMIT_MEMLOCK";
    case errc::mfile: return "this process has no free descriptor; raise RLIMIT_NOFILE";
    case errc::nfile: return "the system has no free file; raise fs.file-max";
    case errc::intr: return "a signal came first; call again";
    case errc::notdir: return "a part of the path is not a directory";
    case errc::isdir: return "the path is a directory; give the path of a device's file";
    case errc::nametoolong: return "the path is too long";
    case errc::loop: return "too many symbolic links in the path";
    case errc::rofs: return "the file system cannot be written";
    case errc::nosys: return "this kernel has no such system call";
    case errc::opnotsupp:
      return "this kernel does not know one of the fields or flags that are set";
    case errc::toobig: return "the structure is longer than this kernel knows, and not zero there";
    case errc::range: return "outside of the addresses that the IOMMU reaches";
    case errc::msgsize: return "there is more to tell than there is room for";
    case errc::notty: return "the descriptor is of another kind, or its kernel is too old";
    default: return "no explanation here; the kernel's log may have one";
  }
}

}  // namespace detail

/// Returns a text that explains the error of this call and says what to do. Never returns null.
[[nodiscard]] constexpr const char* explain(operation what, errc why) noexcept {
  for (const detail::explanation& e : detail::explanations)
    if (e.what == what && e.why == why) return e.text;
  return detail::explain(why);
}

/// Writes a message like "FILE_ADD of descriptor 7: EINVAL: not a VFIO file, …" to a buffer. A
/// message that is too long is cut. A null character ends it, unless `size` is 0.
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
