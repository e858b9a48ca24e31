// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// The error numbers of the kernel, as a type whose values must not be ignored.

#include <asm/errno.h>  // IWYU pragma: keep

namespace kvm_vfio {

// <cerrno> needs the C library, which a freestanding program does not have.
// NOLINTBEGIN(misc-include-cleaner)

/// The result of a call. The values are the kernel's error numbers. Every error that this library
/// itself returns has a name. An error of the operating system without a name here keeps its
/// number.
enum class [[nodiscard]] errc : int {
  ok = 0,                      ///< success
  perm = EPERM,                ///< another driver or VMM owns the DMA; no GET_DEVICE_ATTR exists
  noent = ENOENT,              ///< the file is not tracked; no such path or object
  srch = ESRCH,                ///< the device needs a VM, but FILE_ADD has not named one
  intr = EINTR,                ///< a signal interrupted the call
  io = EIO,                    ///< another address space, a dead VM; sPAPR: no IOMMU group
  nxio = ENXIO,                ///< no such attribute or attribute group
  toobig = E2BIG,              ///< a struct is longer than the kernel's, and not zero behind that
  badf = EBADF,                ///< the descriptor is not open, or is an O_PATH descriptor
  again = EAGAIN,              ///< locked memory is used up, or there is nothing to read yet
  nomem = ENOMEM,              ///< no memory, or a fixed capacity is used up
  access = EACCES,             ///< permission denied (opening /dev/kvm)
  fault = EFAULT,              ///< an address cannot be read or written
  busy = EBUSY,                ///< the VM has a kvm-vfio device already; the group is open already
  exists = EEXIST,             ///< the file is tracked already; the address is mapped already
  nodev = ENODEV,              ///< unknown device type; mmap is not supported
  notdir = ENOTDIR,            ///< a part of the path is not a directory
  isdir = EISDIR,              ///< the path is a directory
  inval = EINVAL,              ///< the file is not a VFIO file; an argument has no meaning
  nfile = ENFILE,              ///< the system has no free file
  mfile = EMFILE,              ///< the task has no free descriptor
  notty = ENOTTY,              ///< the file does not know the ioctl
  nospc = ENOSPC,              ///< the device type is past the end of the table; no free IOVA
  spipe = ESPIPE,              ///< lseek, pread or pwrite on a file without a position
  rofs = EROFS,                ///< the file system is read-only
  range = ERANGE,              ///< outside of the addresses that the IOMMU can translate
  nametoolong = ENAMETOOLONG,  ///< the path is too long
  nosys = ENOSYS,              ///< the kernel has no such system call
  loop = ELOOP,                ///< too many symbolic links
  proto = EPROTO,              ///< the kernel has another version of the interface
  overflow = EOVERFLOW,        ///< an address plus a size is too large
  badfd = EBADFD,              ///< the descriptor refers to the wrong kind of file
  msgsize = EMSGSIZE,          ///< the answer does not fit the space that was given
  opnotsupp = EOPNOTSUPP,      ///< a field or flag is set that the kernel does not know
  addrinuse = EADDRINUSE,      ///< a mapping lies where the device cannot use it
};
// NOLINTEND(misc-include-cleaner)

/// Makes an `errc` from an error number of the operating system. No other function makes an `errc`
/// from a number.
/// \param number the positive number that errno has, or 0 for success; a number that an int cannot
///               hold becomes the largest int, so that an error never becomes success
[[nodiscard]] constexpr errc to_errc(long number) noexcept {
  constexpr int largest = ~0U >> 1;
  const bool fits = number == static_cast<int>(number);
  return static_cast<errc>(fits ? static_cast<int>(number) : largest);
}

namespace detail {
// A name of its own, because two equal string literals need not be one object.
inline constexpr char no_name[] = "an error without a name";
}  // namespace detail

/// Returns the symbolic name of the error as in errno(3), for example "EBUSY". Returns "OK" for
/// success, and "an error without a name" for a number that has no name here. Never returns null.
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
  return detail::no_name;
}

/// Returns true if `name` knows the error.
[[nodiscard]] constexpr bool has_name(errc e) noexcept { return name(e) != detail::no_name; }

/// Returns the number that a function of the kernel returns for this result: 0, or the negative
/// error number. No other function negates error numbers.
[[nodiscard]] constexpr int kernel_return(errc e) noexcept { return -static_cast<int>(e); }

}  // namespace kvm_vfio
