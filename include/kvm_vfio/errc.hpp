// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The error vocabulary: the kernel's error numbers, as a type that cannot be ignored.

#include <asm/errno.h>

namespace kvm_vfio {

/// An answer of the kvm-vfio device or of what surrounds it. The values are the kernel's error
/// numbers. Each that this library returns of its own has a name; an error of the operating system
/// that has none here keeps its number.
enum class [[nodiscard]] errc : int {
  ok = 0,            ///< success
  perm = EPERM,      ///< somebody else owns the DMA; no such operation (KVM_GET_DEVICE_ATTR)
  noent = ENOENT,    ///< the file is not tracked; no such path or object
  srch = ESRCH,      ///< the notifier already has this event file
  intr = EINTR,      ///< a signal came first
  io = EIO,          ///< another address space, a dead VM; sPAPR: the file has no IOMMU group
  nxio = ENXIO,      ///< no such attribute or attribute group
  toobig = E2BIG,    ///< a longer struct than the kernel knows, not zero behind its end
  badf = EBADF,      ///< not an open descriptor, or an O_PATH one
  again = EAGAIN,    ///< try again: locked memory is used up, or nothing to read yet
  nomem = ENOMEM,    ///< no memory, or a fixed capacity is used up
  access = EACCES,   ///< permission denied (opening /dev/kvm)
  fault = EFAULT,    ///< an address that cannot be read or written
  busy = EBUSY,      ///< the VM has a kvm-vfio device already; the group is open already
  exists = EEXIST,   ///< the file is tracked already; the address is mapped already
  nodev = ENODEV,    ///< unknown device type; mmap of a device descriptor
  notdir = ENOTDIR,  ///< a part of the path is not a directory
  isdir = EISDIR,    ///< the path is a directory
  inval = EINVAL,    ///< not a VFIO file; an argument that makes no sense
  nfile = ENFILE,    ///< the system has no free file
  mfile = EMFILE,    ///< the process has no free descriptor
  notty = ENOTTY,    ///< unknown ioctl
  nospc = ENOSPC,    ///< a device type past the end of the table; no free range of addresses
  spipe = ESPIPE,    ///< lseek, pread or pwrite on a file that has no position
  rofs = EROFS,      ///< the file system cannot be written
  range = ERANGE,    ///< outside of what the IOMMU can address
  nametoolong = ENAMETOOLONG,  ///< the path is too long
  nosys = ENOSYS,              ///< the kernel has no such system call
  loop = ELOOP,                ///< too many symbolic links
  proto = EPROTO,              ///< the kernel speaks another version of the interface
  overflow = EOVERFLOW,        ///< an address and a size that wrap around
  badfd = EBADFD,              ///< the descriptor does not name what the call wants
  msgsize = EMSGSIZE,          ///< there is more to tell than there is room for
  opnotsupp = EOPNOTSUPP,      ///< a field is set that the kernel gives no meaning
  addrinuse = EADDRINUSE,      ///< a mapping is where the device cannot reach
};

/// An error number of the operating system's as an `errc`. The only way to make one of a number.
/// \param number as errno has it, positive; 0 is success
[[nodiscard]] constexpr errc to_errc(long number) noexcept {
  return static_cast<errc>(static_cast<int>(number));
}

/// The error's symbolic name, as errno(3) has it ("EBUSY"); "OK" for success; "an error without a
/// name" for a number that has no name here. Never null, never allocates.
[[nodiscard]] constexpr const char* name(errc e) noexcept {
  switch (e) {
    case errc::ok: return "OK";
    case errc::perm: return "EPERM";
    case errc::noent: return "ENOENT";
    case errc::srch: return "ESRCH";
    case errc::intr: return "EINTR";
    case errc::io: return "EIO";
    case errc::nxio: return "ENXIO";
    case errc::toobig: return "E2BIG";
    case errc::badf: return "EBADF";
    case errc::again: return "EAGAIN";
    case errc::nomem: return "ENOMEM";
    case errc::access: return "EACCES";
    case errc::fault: return "EFAULT";
    case errc::busy: return "EBUSY";
    case errc::exists: return "EEXIST";
    case errc::nodev: return "ENODEV";
    case errc::notdir: return "ENOTDIR";
    case errc::isdir: return "EISDIR";
    case errc::inval: return "EINVAL";
    case errc::nfile: return "ENFILE";
    case errc::mfile: return "EMFILE";
    case errc::notty: return "ENOTTY";
    case errc::nospc: return "ENOSPC";
    case errc::spipe: return "ESPIPE";
    case errc::rofs: return "EROFS";
    case errc::range: return "ERANGE";
    case errc::nametoolong: return "ENAMETOOLONG";
    case errc::nosys: return "ENOSYS";
    case errc::loop: return "ELOOP";
    case errc::proto: return "EPROTO";
    case errc::overflow: return "EOVERFLOW";
    case errc::badfd: return "EBADFD";
    case errc::msgsize: return "EMSGSIZE";
    case errc::opnotsupp: return "EOPNOTSUPP";
    case errc::addrinuse: return "EADDRINUSE";
  }
  return "an error without a name";
}

/// Whether `name` knows the error.
[[nodiscard]] constexpr bool has_name(errc e) noexcept { return name(e) != name(to_errc(-1)); }

/// The answer as a kernel's function returns it: 0, or the error number negated. The only place
/// that negates.
[[nodiscard]] constexpr int kernel_return(errc e) noexcept { return -static_cast<int>(e); }

}  // namespace kvm_vfio
