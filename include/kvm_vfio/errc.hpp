// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The error vocabulary: the kernel's error numbers, as a type that cannot be ignored.

#include <asm/errno.h>

namespace kvm_vfio {

/// An answer of the kvm-vfio device or of what surrounds it. The values are the kernel's error
/// numbers, so an error of the operating system that has no name here is kept as it is.
enum class [[nodiscard]] errc : int {
  ok = 0,           ///< success
  perm = EPERM,     ///< the device has no such operation (KVM_GET_DEVICE_ATTR)
  noent = ENOENT,   ///< the file is not tracked
  io = EIO,         ///< another address space, a dead VM; sPAPR: the file has no IOMMU group
  nxio = ENXIO,     ///< no such attribute or attribute group
  badf = EBADF,     ///< not an open descriptor, or an O_PATH one
  nomem = ENOMEM,   ///< no memory, or a fixed capacity is used up
  access = EACCES,  ///< permission denied (opening /dev/kvm)
  fault = EFAULT,   ///< an address that cannot be read or written
  busy = EBUSY,     ///< the VM has a kvm-vfio device already
  exists = EEXIST,  ///< the file is tracked already; a device type's slot is taken
  nodev = ENODEV,   ///< unknown device type; mmap of a device descriptor
  inval = EINVAL,   ///< not a VFIO file; sPAPR: the table does not fit
  nfile = ENFILE,   ///< the system has no free file
  mfile = EMFILE,   ///< the process has no free descriptor
  notty = ENOTTY,   ///< unknown ioctl
  nospc = ENOSPC,   ///< a device type past the end of the table
  spipe = ESPIPE,   ///< lseek on a device descriptor
};

/// The error's symbolic name, as errno(3) has it ("EBUSY"); "OK" for success; null for a number
/// that has no name here. Never allocates.
[[nodiscard]] constexpr const char* name(errc e) noexcept {
  switch (e) {
    case errc::ok: return "OK";
    case errc::perm: return "EPERM";
    case errc::noent: return "ENOENT";
    case errc::io: return "EIO";
    case errc::nxio: return "ENXIO";
    case errc::badf: return "EBADF";
    case errc::nomem: return "ENOMEM";
    case errc::access: return "EACCES";
    case errc::fault: return "EFAULT";
    case errc::busy: return "EBUSY";
    case errc::exists: return "EEXIST";
    case errc::nodev: return "ENODEV";
    case errc::inval: return "EINVAL";
    case errc::nfile: return "ENFILE";
    case errc::mfile: return "EMFILE";
    case errc::notty: return "ENOTTY";
    case errc::nospc: return "ENOSPC";
    case errc::spipe: return "ESPIPE";
  }
  return nullptr;
}

/// The answer as a kernel's function returns it: 0, or the error number negated. The only place
/// that negates.
[[nodiscard]] constexpr int kernel_return(errc e) noexcept { return -static_cast<int>(e); }

}  // namespace kvm_vfio
