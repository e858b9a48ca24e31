// SPDX-License-Identifier: BSL-1.0
#pragma once
/// \file
/// Whether an emulator of user programs runs this one.

#include <sys/ioctl.h>
#include <cerrno>

/// qemu-user hands on those ioctls that it knows, which neither KVM's nor VFIO's are, and answers
/// the others in the kernel's place.
/// \return 0: the kernel answers · the error that an emulator (or a sandbox) answers
inline int emulated_ioctl() noexcept {
  errno = 0;
  return ::ioctl(-1, 0) == -1 && errno == EBADF ? 0 : errno;
}
